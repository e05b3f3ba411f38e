/** Condition `applications`: by `id` or `appId`, or all of them. */

import type { ConditionSet } from '#infra/contracts/conditional-access/conditions.ts'
import type { Condition, SignIn, Test } from './condition.ts'

export const applications: Condition = {
  reasons: { met: 'application-in-scope', unmet: 'application-not-in-scope' },
  analysis: 'application',
  compile({ applications: { includeApplications, excludeApplications } }) {
    const isAll = namesAll(includeApplications)
    const included = idsOf(includeApplications)
    const excluded = idsOf(excludeApplications)
    if (isAll && excluded.size === 0) return undefined
    return signIn => (isAll || has(included, signIn)) && !has(excluded, signIn)
  },
}

/** Whether an application that is included is not excluded; undefined when none is. */
export function notExcluded({ applications }: ConditionSet): Test | undefined {
  const excluded = idsOf(applications.excludeApplications)
  return excluded.size === 0 ? undefined : signIn => !has(excluded, signIn)
}

export function namesAll(names: readonly string[]): boolean {
  return names.some(name => name.toLowerCase() === 'all')
}

/** Ids compare without case: ours are in lower case, GUIDs may be written either way. */
export function idsOf(names: readonly string[]): ReadonlySet<string> {
  return new Set(names.map(name => name.toLowerCase()))
}

function has(ids: ReadonlySet<string>, { application: { id, appId } }: SignIn): boolean {
  return ids.has(id) || ids.has(appId)
}

/** Whose decisions a change touches: as few as can be told from the change itself, all when it cannot. */

import type { Signal } from '#infra/contracts/conditional-access/signals.ts'
import type { Reevaluation } from '#infra/contracts/policy.ts'
import type { Change } from '#infra/snapshot.ts'
import { idsOf, namesAll } from './conditions/applications.ts'
import type { FollowedEntry } from './followed-state.ts'

type Touches = Reevaluation['touches']

/** More applications than this are not named one by one. */
const maxNamed = 1_000

/** A policy touches its applications; a location touches whatever names it, which may be anything. */
export function touchedByPolicies(changes: readonly Change<FollowedEntry>[]): Touches {
  const applications = new Set<string>()
  for (const { before, after } of changes) {
    for (const entry of [before, after]) {
      if (entry === undefined) continue
      if (entry.kind !== 'policy') return 'all'
      if (entry.policy.state === 'disabled') continue
      const { includeApplications } = entry.policy.conditions.applications
      if (namesAll(includeApplications)) return 'all'
      for (const id of idsOf(includeApplications)) applications.add(id)
    }
  }
  if (applications.size > maxNamed) return 'all'
  return { applications: [...applications], users: [], sessions: [] }
}

/**
 * What is said of a device touches the sessions that use it: those that this service has decided for. Every policy
 * service tells of its own.
 */
export function touchedBySignals(
  changes: readonly Change<Signal>[],
  sessionsOn: (deviceId: string) => Iterable<string>,
): Touches {
  const touched = { applications: [] as string[], users: [] as string[], sessions: [] as string[] }
  for (const { before, after } of changes) {
    const signal = after ?? before
    if (!signal || isSame(before, after)) continue
    const { scope, id } = signal
    if (scope === 'everything') return 'all'
    if (scope === 'device') {
      touched.sessions.push(...sessionsOn(id))
      continue
    }
    const list = { application: 'applications', user: 'users', session: 'sessions' } as const
    touched[list[scope]].push(id)
  }
  const { applications, users, sessions } = touched
  return applications.length + users.length + sessions.length > maxNamed ? 'all' : touched
}

/** Said once more, as systems do that repeat what they know. */
function isSame(before: Signal | undefined, after: Signal | undefined): boolean {
  return said(before) === said(after)
}

function said(signal: Signal | undefined): string | undefined {
  if (!signal) return undefined
  const { kind, expiresDateTime } = signal
  const value = kind === 'risk' ? signal.level : kind === 'fact' ? signal.value : signal.groups
  return JSON.stringify([kind, value, expiresDateTime])
}

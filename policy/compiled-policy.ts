/**
 * One policy, compiled: its conditions as tests, cheap ones first, and its controls as one check. Compiled once for each
 * version of a policy, whatever else changes.
 */

import { isForUnsafeMethods } from '#infra/contracts/conditional-access/conditions.ts'
import type { ConditionalAccessPolicy } from '#infra/contracts/conditional-access/policy.ts'
import { conditions as allConditions } from './conditions/all.ts'
import { notExcluded as applicationNotExcluded, applications } from './conditions/applications.ts'
import type { Condition, SignIn, Test } from './conditions/condition.ts'
import { notExcluded as userNotExcluded, users } from './conditions/users.ts'
import { bothChallenges, type ControlVerdict } from './controls/control.ts'
import { compileGrant, type MultifactorContexts } from './controls/grant.ts'
import { compileSession } from './controls/session.ts'

export interface CompiledTest {
  readonly condition: Condition
  readonly test: Test
}

export interface CompiledPolicy {
  readonly policy: ConditionalAccessPolicy
  /** False: its verdict is told and has no effect. */
  readonly isEnforced: boolean
  /** It has no say on safe methods. */
  readonly isForUnsafeMethods: boolean
  readonly tests: readonly CompiledTest[]
  /** Those that the clock alone changes. */
  readonly clockTests: readonly Test[]
  /** The others that are left for an application and a user of whom it is known that they are in the policy. */
  readonly furtherTests: readonly Test[]
  /** Whether a user who is included is not excluded; undefined when nobody is. */
  readonly userNotExcluded: Test | undefined
  readonly check: (signIn: SignIn) => ControlVerdict
  readonly persistentBrowser: 'always' | 'never' | undefined
  /** Until when the answers of its conditions stay as they are; undefined when time changes none. */
  readonly changesAt: ((nowMs: number) => number) | undefined
}

export function compilePolicy(
  policy: ConditionalAccessPolicy,
  contexts: MultifactorContexts,
): CompiledPolicy {
  const { conditions } = policy
  const tests = allConditions.flatMap(condition => {
    const test = condition.compile(conditions)
    return test ? [{ condition, test }] : []
  })
  const lasting = tests.filter(isLasting)
  const further = lasting.filter(
    ({ condition }) => condition !== users && condition !== applications,
  )
  const { persistentBrowser } = policy.sessionControls ?? {}
  const grant = compileGrant(policy.grantControls, contexts)
  const session = compileSession(policy.sessionControls)
  return {
    policy,
    isEnforced: policy.state === 'enabled',
    isForUnsafeMethods: isForUnsafeMethods(conditions),
    tests,
    clockTests: tests.filter(each => !isLasting(each)).map(({ test }) => test),
    furtherTests: [applicationNotExcluded(conditions), ...further.map(({ test }) => test)].filter(
      test => test !== undefined,
    ),
    userNotExcluded: userNotExcluded(conditions),
    check: session ? signIn => both(grant(signIn), session(signIn)) : grant,
    persistentBrowser: persistentBrowser?.isEnabled ? persistentBrowser.mode : undefined,
    changesAt: changesAtOf(policy, tests),
  }
}

/** What cannot be told counts as met: a policy that may be meant applies. */
export function applies({ tests }: CompiledPolicy, signIn: SignIn): boolean {
  return tests.every(({ test }) => test(signIn) !== false)
}

/** The same for some of its tests. */
export function isMet(tests: readonly Test[], signIn: SignIn): boolean {
  for (const test of tests) if (test(signIn) === false) return false
  return true
}

/** Whether its answer stays while nothing but the clock changes. */
export function isLasting({ condition }: CompiledTest): boolean {
  return condition.changesAt === undefined
}

function changesAtOf(
  { conditions }: ConditionalAccessPolicy,
  tests: readonly CompiledTest[],
): CompiledPolicy['changesAt'] {
  const timed = tests.flatMap(({ condition }) => condition.changesAt ?? [])
  if (timed.length === 0) return undefined
  return nowMs => Math.min(...timed.map(changesAt => changesAt(conditions, nowMs)))
}

function both(grant: ControlVerdict, session: ControlVerdict): ControlVerdict {
  const { validUntilMs } = session
  if (grant.isSatisfied && session.isSatisfied) {
    return { isSatisfied: true, reasons: [...grant.reasons, ...session.reasons], validUntilMs }
  }
  const missing = [grant, session].filter(({ isSatisfied }) => !isSatisfied)
  const reasons = missing.flatMap(verdict => verdict.reasons)
  const remedies = missing.flatMap(({ remedy }) => remedy ?? [])
  const isHelpless = remedies.length < missing.length
  return {
    isSatisfied: false,
    reasons,
    validUntilMs,
    ...(!isHelpless && { remedy: remedies.reduce(bothChallenges) }),
  }
}

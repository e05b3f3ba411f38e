/**
 * What a condition of a policy is asked about and what it says. Conditions are compiled once and pure: everything they
 * may look at is in `SignIn`. Each says yes, no, or undefined for "cannot be told", which counts as yes wherever access
 * is decided: a policy that may be meant applies.
 */

import type { ConditionSet, RiskLevel } from '#infra/contracts/conditional-access/conditions.ts'
import type { FactValue } from '#infra/contracts/conditional-access/signals.ts'
import type { MethodClass } from '#infra/contracts/http-methods.ts'
import type { Device, RequestFacts } from '#infra/contracts/principal.ts'
import type { ConditionReason } from '#infra/contracts/reasons.ts'
import type { Place } from '../places.ts'

/** The user of a sign-in, prepared for lookups. */
export interface User {
  /** User principal name in lower case, subject and object id. */
  readonly names: ReadonlySet<string>
  /** Undefined when they are not known, which only a what-if can say. */
  readonly groups: ReadonlySet<string> | undefined
  readonly roles: ReadonlySet<string> | undefined
  readonly isGuest: boolean | undefined
}

/** How the user authenticated. */
export interface Authentication {
  /** `amr` and `acr` of the ID token. */
  readonly words: ReadonlySet<string>
  readonly isMultifactor: boolean
  readonly timeMs: number
}

/** One sign-in as policies see it; what is undefined is not known. */
export interface SignIn {
  readonly user: User
  readonly application: { readonly id: string; readonly appId: string }
  readonly authentication: Authentication | undefined
  readonly clientAppType:
    | RequestFacts['clientAppType']
    | 'exchangeActiveSync'
    | 'easSupported'
    | undefined
  readonly devicePlatform: RequestFacts['devicePlatform'] | undefined
  readonly place: Place | undefined
  /** A device without properties is one that nobody vouches for. */
  readonly device: Device | undefined
  readonly signInRisk: RiskLevel | undefined
  readonly userRisk: RiskLevel | undefined
  /** `none`: signed in where the browser is. */
  readonly transferMethod: 'none' | 'deviceCodeFlow' | 'authenticationTransfer' | undefined
  readonly methods: MethodClass | undefined
  readonly nowMs: number
  fact(name: string): FactValue | undefined
}

export type Test = (signIn: SignIn) => boolean | undefined

/** Graph's whatIfAnalysisReasons, as far as a policy can be left out for them. */
export type AnalysisReason =
  | 'users'
  | 'application'
  | 'clientApps'
  | 'devicePlatform'
  | 'location'
  | 'devices'
  | 'signInRisk'
  | 'userRisk'
  | 'authenticationFlow'
  | 'time'
  | 'invalidCondition'

export interface Condition {
  readonly reasons: { readonly met: ConditionReason; readonly unmet: ConditionReason }
  /** What Graph calls it when a policy does not apply for it. */
  readonly analysis: AnalysisReason
  /** Undefined when the policy says nothing of it. */
  compile(conditions: ConditionSet): Test | undefined
  /** Until when the answer stays, for conditions that the clock changes. */
  changesAt?(conditions: ConditionSet, nowMs: number): number
}

/** In what is included and not in what is excluded. */
export function within(
  included: boolean | undefined,
  excluded: boolean | undefined,
): boolean | undefined {
  if (included === false || excluded === true) return false
  return included === undefined || excluded === undefined ? undefined : true
}

/** Yes if any says yes, no if all say no. */
export function any<Item>(
  items: readonly Item[],
  test: (item: Item) => boolean | undefined,
): boolean | undefined {
  let result: boolean | undefined = false
  for (const item of items) {
    const one = test(item)
    if (one === true) return true
    if (one === undefined) result = undefined
  }
  return result
}

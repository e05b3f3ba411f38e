/** What is kept of a decision so that it can be explained later. Of a grant, less: it needs no way out. */

import type {
  DecisionInputs,
  Explanation,
} from '#infra/contracts/conditional-access/explanation.ts'
import type { FactValue } from '#infra/contracts/conditional-access/signals.ts'
import type { PolicyOpinion } from '#infra/contracts/conditional-access/what-if.ts'
import type { MethodClass } from '#infra/contracts/http-methods.ts'
import { decisionFor } from '#infra/contracts/policy.ts'
import type { DecisionReason } from '#infra/contracts/reasons.ts'
import type { SignIn } from './conditions/condition.ts'
import type { Evaluation } from './evaluate.ts'
import type { Access } from './gates/gate.ts'
import { plainSignIn } from './observed-sign-in.ts'
import { smallestChange } from './smallest-change.ts'
import type { PolicyState } from './state.ts'
import { opinions } from './verdicts.ts'

export interface Explained {
  readonly access: Access
  readonly evaluation: Evaluation
  readonly policies: PolicyState
  /** What the request that asks is one of. */
  readonly methods?: MethodClass
}

/** An event is one message of the bus and one line for people. */
const maxOpinions = 50
const maxGroups = 50

/** What would have let somebody in whom no policy was asked about. */
const ways: Partial<Record<DecisionReason, string>> = {
  'application-unknown': 'publish the application',
  'session-required': 'sign in',
  'session-unknown': 'sign in again',
  'session-expired': 'sign in again',
  'session-revoked': 'sign in again',
  'users-not-assigned': 'assign the user, or a group of theirs, to the application',
}

export function explanationOf(explained: Explained): Explanation {
  const { access, evaluation, policies, methods = 'safe' } = explained
  const decision = decisionFor(evaluation.decision, methods)
  const isRefused = decision.outcome !== 'grant'
  if (!evaluation.signIn) {
    const [reason] = decision.reasons
    const way = ways[reason as DecisionReason]
    return isRefused ? { smallestChange: way === undefined ? null : [way] } : {}
  }
  const signIn = { ...plainSignIn(evaluation.signIn), methods }
  const { conditionalAccess } = policies
  const all = opinions(conditionalAccess, signIn).toSorted(appliedFirst)
  return {
    inputs: inputsOf(access, signIn, factNames(policies)),
    opinions: all.slice(0, maxOpinions),
    opinionsLeftOut: Math.max(0, all.length - maxOpinions),
    ...(isRefused && { smallestChange: smallestChange(conditionalAccess, signIn) ?? null }),
  }
}

function appliedFirst(one: PolicyOpinion, other: PolicyOpinion): number {
  return Number(other.policyApplies) - Number(one.policyApplies)
}

function inputsOf(
  { facts: seen }: Access,
  signIn: SignIn,
  named: readonly string[],
): DecisionInputs {
  const { authentication, user, device, place } = signIn
  const timeMs = authentication?.timeMs ?? Number.NaN
  const facts: Record<string, FactValue | null> = Object.fromEntries(
    named.map(name => [name, signIn.fact(name) ?? null]),
  )
  return {
    userGroups: [...(user.groups ?? [])].slice(0, maxGroups),
    clientAppType: seen.clientAppType,
    devicePlatform: seen.devicePlatform,
    device: device ?? {},
    authenticationMethods: [...(authentication?.words ?? [])],
    isMultifactor: authentication?.isMultifactor ?? false,
    authenticationDateTime: Number.isNaN(timeMs) ? null : new Date(timeMs).toISOString(),
    signInRisk: signIn.signInRisk ?? 'none',
    userRisk: signIn.userRisk ?? 'none',
    isTrustedLocation: place?.isTrusted ?? null,
    facts,
    ...(signIn.methods && { httpMethods: signIn.methods }),
  }
}

function factNames({ conditionalAccess }: PolicyState): string[] {
  const names = conditionalAccess.policies.flatMap(({ policy: { conditions } }) => {
    const { includeFacts = [], excludeFacts = [] } = conditions.facts ?? {}
    return [...includeFacts, ...excludeFacts].map(({ name }) => name)
  })
  return [...new Set(names)]
}

/**
 * The decision: pure, over facts that were collected before. The gates are asked in order and the first that is not
 * passed decides; then every policy that applies has its say. Access is granted only when all of them let it through.
 * Whatever is asked for safe methods is asked for the others too, so these are decided first, and the safe ones by
 * themselves only when a policy is for the others alone.
 * `test/vectors/decisions.json` and `conditional-access.json` are the tables that it is held to.
 */

import type { MethodClass } from '#infra/contracts/http-methods.ts'
import type { Decision } from '#infra/contracts/policy.ts'
import type { DecisionReason } from '#infra/contracts/reasons.ts'
import type { PolicyVerdict } from './conditional-access.ts'
import type { SignIn } from './conditions/condition.ts'
import { assignment } from './gates/assignment.ts'
import type { Access, Gate } from './gates/gate.ts'
import { published } from './gates/published.ts'
import { isPassthrough, session } from './gates/session.ts'
import { observedSignIn } from './observed-sign-in.ts'
import { type PolicyState, withoutPolicies } from './state.ts'

const gates: readonly Gate[] = [published, session, assignment]

export interface Evaluation {
  readonly decision: Decision
  /** Until when it stays true while nothing but the clock changes. */
  readonly validUntilMs: number
  /** What the policies looked at; undefined when it did not come to them. */
  readonly signIn: SignIn | undefined
}

export function evaluate(access: Access, state: PolicyState = withoutPolicies): Decision {
  return evaluateWhole(access, state).decision
}

export function evaluateWhole(access: Access, state: PolicyState): Evaluation {
  const reasons: DecisionReason[] = []
  for (const gate of gates) {
    const verdict = gate(access)
    if (verdict?.isSatisfied === false) {
      const decision = { outcome: verdict.outcome, reasons: [verdict.reason], policies: [] }
      return { decision, validUntilMs: Number.POSITIVE_INFINITY, signIn: undefined }
    }
    if (verdict) reasons.push(verdict.reason)
  }
  const unsafe = signInOf(access, state, 'unsafe')
  if (!unsafe) return granted(reasons)
  const strict = state.conditionalAccess.evaluate(unsafe)
  const { validUntilMs } = strict
  const unsafeMethods = decisionOf(strict, reasons)
  if (!strict.concernsMethods) return { decision: unsafeMethods, validUntilMs, signIn: unsafe }
  const signIn = signInOf(access, state, 'safe')
  if (!signIn) return granted(reasons)
  const verdict = state.conditionalAccess.evaluate(signIn)
  return {
    decision: { ...decisionOf(verdict, reasons), unsafeMethods },
    validUntilMs: Math.min(validUntilMs, verdict.validUntilMs),
    signIn,
  }
}

/** Policies are about sign-ins: where everybody is let in without one, there is none. */
function signInOf(access: Access, state: PolicyState, methods: MethodClass): SignIn | undefined {
  const { application, session: current, facts, sessionId = null, nowMs = Date.now() } = access
  if (!application || current.is !== 'valid' || isPassthrough(application)) return undefined
  const { principal } = current
  return observedSignIn({ application, principal, sessionId, facts, nowMs, methods }, state)
}

function granted(reasons: readonly DecisionReason[]): Evaluation {
  const decision: Decision = { outcome: 'grant', reasons: [...reasons], policies: [] }
  return { decision, validUntilMs: Number.POSITIVE_INFINITY, signIn: undefined }
}

export function decisionOf(verdict: PolicyVerdict, passed: readonly DecisionReason[]): Decision {
  const { outcome, reasons, policies, reportOnly, challenge, sessionDemands } = verdict
  return {
    outcome,
    reasons: outcome === 'grant' ? [...passed, ...reasons] : [...reasons],
    policies: [...policies],
    ...(challenge && { challenge }),
    ...(outcome === 'grant' && sessionDemands.persistentBrowser && { sessionDemands }),
    ...(reportOnly.length > 0 && { reportOnly: [...reportOnly] }),
  }
}

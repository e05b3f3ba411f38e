/**
 * What each policy says of one sign-in, also those that do not apply and why: for what-if and for explaining a refusal.
 * The same compiled tests as in production, without the index.
 */

import type { PolicyOpinion } from '#infra/contracts/conditional-access/what-if.ts'
import type { CompiledPolicy, CompiledTest } from './compiled-policy.ts'
import { type ConditionalAccess, outcomeOf } from './conditional-access.ts'
import type { SignIn } from './conditions/condition.ts'

export function opinions({ policies }: ConditionalAccess, signIn: SignIn): PolicyOpinion[] {
  return policies.map(compiled => opinion(compiled, signIn))
}

export function opinion(compiled: CompiledPolicy, signIn: SignIn): PolicyOpinion {
  const { id, displayName, state } = compiled.policy
  const common = { id, displayName, state }
  const told = compiled.tests.map(each => ({ ...each, answer: each.test(signIn) }))
  const unmet = told.find(({ answer }) => answer === false)
  if (unmet) return { ...common, ...unmetOpinion(unmet) }
  const verdict = compiled.check(signIn)
  const isUncertain = told.some(({ answer }) => answer === undefined)
  return {
    ...common,
    policyApplies: true,
    analysisReasons: isUncertain ? 'notEnoughInformation' : 'notSet',
    outcome: outcomeOf(verdict),
    reasons: [...told.map(({ condition }) => condition.reasons.met), ...verdict.reasons],
  }
}

function unmetOpinion({ condition }: CompiledTest) {
  return {
    policyApplies: false,
    analysisReasons: condition.analysis,
    outcome: null,
    reasons: [condition.reasons.unmet],
  }
}

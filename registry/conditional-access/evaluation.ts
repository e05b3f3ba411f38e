/**
 * What-if, asked of the policy service: its evaluator is the one that decides, so this is its answer and no copy's. The
 * question carries the revision of the policies that this registry has shown, and waits for a service that knows them.
 */

import type { Bus } from '#infra/bus.ts'
import type { ConditionalAccessPolicy } from '#infra/contracts/conditional-access/policy.ts'
import {
  type PolicyOpinion,
  type WhatIf,
  WhatIfReply,
} from '#infra/contracts/conditional-access/what-if.ts'
import { subjects } from '#infra/subjects.ts'
import type { Versioned } from '../store.ts'
import type { PolicyStore } from './policies.ts'

const timeoutMs = 5_000

export type EvaluateWhatIf = (whatIf: WhatIf) => Promise<WhatIfReply>

/** @throws SallyportError `policy_unavailable` */
export function askPolicy(bus: Bus, store: PolicyStore): EvaluateWhatIf {
  return whatIf =>
    bus.call(
      subjects.whatIf,
      { whatIf, policiesRevision: store.revision },
      { reply: WhatIfReply, timeoutMs, unavailable: 'policy_unavailable' },
    )
}

/** Graph's whatIfAnalysisResult: the policy, whether it applies, and why not. Disabled ones are named as that. */
export function analysisOf(
  policies: readonly Versioned<ConditionalAccessPolicy>[],
  { opinions }: WhatIfReply,
  appliedPoliciesOnly: boolean,
) {
  const byId = new Map(opinions.map(opinion => [opinion.id, opinion]))
  const all = policies.map(({ value }) => ({ ...value, ...resultOf(byId.get(value.id)) }))
  return appliedPoliciesOnly ? all.filter(({ policyApplies }) => policyApplies) : all
}

function resultOf(opinion: PolicyOpinion | undefined) {
  if (!opinion) return { policyApplies: false, analysisReasons: 'policyNotEnabled', reasons: [] }
  const { policyApplies, analysisReasons, outcome, reasons } = opinion
  return { policyApplies, analysisReasons, outcome, reasons }
}

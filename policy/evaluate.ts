/**
 * The decision: pure, over facts that were collected before. Conditions are asked in order and the first that is not
 * satisfied decides, as the later ones build on the earlier; access is granted only when all of them had their say.
 * `test/vectors/decisions.json` is the table that it is held to.
 */

import type { Decision } from '#infra/contracts/policy.ts'
import type { DecisionReason } from '#infra/contracts/reasons.ts'
import { applications } from './conditions/applications.ts'
import type { Access, Condition } from './conditions/condition.ts'
import { session } from './conditions/session.ts'
import { users } from './conditions/users.ts'

const conditions: readonly Condition[] = [applications, session, users]

export function evaluate(access: Access): Decision {
  const reasons: DecisionReason[] = []
  for (const condition of conditions) {
    const verdict = condition(access)
    if (verdict?.isSatisfied === false) {
      return { outcome: verdict.outcome, reasons: [verdict.reason], policies: [] }
    }
    if (verdict) reasons.push(verdict.reason)
  }
  return { outcome: 'grant', reasons, policies: [] }
}

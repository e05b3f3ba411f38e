/** Condition `userRiskLevels`: how likely it is that the account is in other hands. */

import type { Condition } from './condition.ts'

export const userRisk: Condition = {
  reasons: { met: 'user-risk-in-scope', unmet: 'user-risk-not-in-scope' },
  analysis: 'userRisk',
  compile({ userRiskLevels }) {
    if (userRiskLevels.length === 0) return undefined
    return signIn => signIn.userRisk && userRiskLevels.includes(signIn.userRisk)
  },
}

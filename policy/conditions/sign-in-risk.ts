/** Condition `signInRiskLevels`: how likely it is that this sign-in is not the user's. */

import type { Condition } from './condition.ts'

export const signInRisk: Condition = {
  reasons: { met: 'sign-in-risk-in-scope', unmet: 'sign-in-risk-not-in-scope' },
  analysis: 'signInRisk',
  compile({ signInRiskLevels }) {
    if (signInRiskLevels.length === 0) return undefined
    return signIn => signIn.signInRisk && signInRiskLevels.includes(signIn.signInRisk)
  },
}

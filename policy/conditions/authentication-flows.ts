/** Condition `authenticationFlows`: sign-ins that were carried over from another device. */

import { flagsOf } from '#infra/contracts/graph.ts'
import type { Condition } from './condition.ts'

export const authenticationFlows: Condition = {
  reasons: { met: 'authentication-flow-in-scope', unmet: 'authentication-flow-not-in-scope' },
  analysis: 'authenticationFlow',
  compile({ authenticationFlows: condition }) {
    const methods = flagsOf(condition?.transferMethods ?? '')
    if (methods.length === 0) return undefined
    return ({ transferMethod }) => transferMethod && methods.includes(transferMethod)
  },
}

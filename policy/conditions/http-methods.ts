/**
 * Condition `httpMethods` (ours): requests that may change something, or all. Policies for these alone are the reason
 * why a decision may have two halves (evaluate.ts).
 */

import { isForUnsafeMethods } from '#infra/contracts/conditional-access/conditions.ts'
import type { Condition } from './condition.ts'

export const httpMethods: Condition = {
  reasons: { met: 'methods-in-scope', unmet: 'methods-not-in-scope' },
  analysis: 'invalidCondition',
  compile(conditions) {
    if (!isForUnsafeMethods(conditions)) return undefined
    return ({ methods }) => methods && methods === 'unsafe'
  },
}

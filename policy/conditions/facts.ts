/**
 * Condition `facts` (ours): what outside systems say of everything, the application, the user or the device. Any of the
 * included facts has to hold, and none of the excluded ones. A fact that nobody has published does not hold.
 */

import { any, type Condition, type SignIn, within } from './condition.ts'

interface FactTest {
  readonly name: string
  readonly value: string | number | boolean
}

export const facts: Condition = {
  reasons: { met: 'facts-hold', unmet: 'facts-do-not-hold' },
  analysis: 'invalidCondition',
  compile({ facts: condition }) {
    if (!condition) return undefined
    const { includeFacts, excludeFacts } = condition
    if (includeFacts.length + excludeFacts.length === 0) return undefined
    return signIn =>
      within(
        includeFacts.length === 0 || any(includeFacts, fact => holds(fact, signIn)),
        any(excludeFacts, fact => holds(fact, signIn)),
      )
  },
}

function holds({ name, value }: FactTest, signIn: SignIn): boolean {
  return signIn.fact(name) === value
}

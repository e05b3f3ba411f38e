/** What a control says of a sign-in: it has what is wanted, or what the user can do about it, if anything. */

import type { Challenge } from '#infra/contracts/policy.ts'
import type { DecisionReason } from '#infra/contracts/reasons.ts'

export interface ControlVerdict {
  readonly isSatisfied: boolean
  /** Left out for controls that are not worth a word while they are satisfied. */
  readonly reasons: readonly DecisionReason[]
  /** What to ask the identity provider for; undefined when the user cannot help it. */
  readonly remedy?: Challenge
  /** Until when it stays satisfied; infinite when only a change of facts can end it. */
  readonly validUntilMs: number
}

/** Satisfied, or not, whatever the time is. */
export const lasting = { validUntilMs: Number.POSITIVE_INFINITY } as const

/** What is asked for when both are wanted: the shorter age, and every context. */
export function bothChallenges(one: Challenge, other: Challenge): Challenge {
  const ages = [one.maxAgeSeconds, other.maxAgeSeconds].filter(age => age !== undefined)
  const acrValues = [...new Set([...one.acrValues, ...other.acrValues])]
  return { acrValues, ...(ages.length > 0 && { maxAgeSeconds: Math.min(...ages) }) }
}

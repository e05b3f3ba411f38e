/** How much is measured. */

import type { TargetName } from './targets/target.ts'

export interface Effort {
  readonly name: 'full' | 'quick'
  /** In place of each case's own number. */
  readonly rounds: number | undefined
  /** Of load in one round. */
  readonly seconds: number
  /** Of load on each target before anything counts: code is compiled by then, and connections are open. */
  readonly warmUpSeconds: number
  /**
   * Of the same load before each round of it. Targets wait for their turn for half a minute; what is compiled at run time
   * takes some seconds to be as fast again as it was, and a round of 2 s would measure little else.
   */
  readonly roundWarmUpSeconds: number
  /** Part of the bytes of a transfer. */
  readonly transferShare: number
  readonly firstBytes: number
  /** Applications that are configured at most. */
  readonly mostApplications: number
  /** Who takes part in more than the first case; all unless given. */
  readonly furtherTargets: readonly TargetName[] | undefined
  /** No round begins later than this after the start. */
  readonly deadlineMs: number
}

export const full: Effort = {
  name: 'full',
  rounds: undefined,
  seconds: 2,
  warmUpSeconds: 5,
  roundWarmUpSeconds: 3,
  transferShare: 1,
  firstBytes: 50,
  mostApplications: 100_000,
  furtherTargets: undefined,
  deadlineMs: 3_600_000,
}

/** Ends within two minutes. */
export const quick: Effort = {
  name: 'quick',
  rounds: 1,
  seconds: 1,
  warmUpSeconds: 1,
  roundWarmUpSeconds: 0,
  transferShare: 1 / 8,
  firstBytes: 10,
  mostApplications: 1_000,
  furtherTargets: ['direct', 'nginx', 'sallyport'],
  deadlineMs: 95_000,
}

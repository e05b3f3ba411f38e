/** What the cases of one run share. */

import type { Effort } from './effort.ts'
import type { Child } from './machine/child.ts'
import type { Started } from './targets/all.ts'
import type { TargetName } from './targets/target.ts'

export interface Bench {
  readonly origin: Child
  readonly effort: Effort
  /** Which targets take part in this run. */
  readonly names: readonly TargetName[]
  /** These, started with the run and measured in every case that needs nothing special. */
  readonly plain: Started
  readonly wrk: string | undefined
  readonly maySetIdlePolling: boolean
  /** `performance.now()` at the start. */
  readonly startedMs: number
  /** Aborted when the run is to end early. */
  readonly signal: AbortSignal
  readonly report: (line: string) => void
}

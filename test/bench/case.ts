/** One thing that is measured: who takes part, and what one round of one of them is. */

import type { Bench } from './bench.ts'

/** What one round gave; every case fills in what it is about. */
export interface Round {
  readonly requestsPerSecond?: number
  readonly megabytesPerSecond?: number
  readonly p50Ms?: number
  readonly p99Ms?: number
  /** µs on a CPU for each request, by process; `origin` is not part of the target. */
  readonly cpu?: Readonly<Record<string, number>>
  /** KiB for each stream that is held open, by process. */
  readonly memory?: Readonly<Record<string, number>>
}

/** A target, or a state of ours that is compared with another one. */
export interface Subject {
  readonly name: string
  /** Before its first round: compiles what is going to be measured, opens connections. */
  prepare?(): Promise<void>
  measure(): Promise<Round>
}

/** Who would take part and cannot, with the reason. */
export interface Missing {
  readonly name: string
  readonly note: string
  /** It is there and does not work, which is not the same as not being there. */
  readonly hasFailed?: boolean
}

export interface Opened extends AsyncDisposable {
  readonly subjects: readonly Subject[]
  readonly missing: readonly Missing[]
  /** What a reader of these numbers must know besides. */
  readonly remark?: string
}

export interface Case {
  readonly name: string
  readonly about: string
  /** Whose number the others are related to in the table. */
  readonly reference: string
  /** In a full run. */
  readonly rounds: number
  /** Starts what only this case needs. */
  open(bench: Bench): Promise<Opened>
}

/**
 * The bus's time as this connector knows it: registry's clock, carried on by the monotonic clock between two
 * measurements. Leases and start times are judged by it, never by the local wall clock, which may be wrong or jump.
 * After a jump or a suspend it is unknown until measured again, and everything is refused meanwhile.
 */

export interface Clock {
  /** Unix time in ms; undefined while it is not known. */
  now(): number | undefined
  /** Takes a measurement: registry's time in an answer, and when the question was asked (`performance.now()`). */
  measured(nowMs: number, askedAt: number): void
}

/** Wall and monotonic clock may drift apart so far between two measurements before the time counts as unknown. */
const jumpMs = 1_500

/** A measurement whose question and answer took longer says too little. */
const slowestAnswerMs = 2_000

/** `onJump` is called once when the time has become unknown, to measure it again. */
export function createClock(onJump: () => void): Clock {
  let base: { nowMs: number; monotonic: number; wall: number } | undefined
  return {
    now() {
      if (!base) return undefined
      const elapsed = performance.now() - base.monotonic
      if (Math.abs(Date.now() - base.wall - elapsed) > jumpMs) {
        base = undefined
        onJump()
        return undefined
      }
      return base.nowMs + elapsed
    },
    measured(nowMs, askedAt) {
      const monotonic = performance.now()
      const roundTripMs = monotonic - askedAt
      if (roundTripMs > slowestAnswerMs) return
      base = { nowMs: nowMs + roundTripMs / 2, monotonic, wall: Date.now() }
    },
  }
}

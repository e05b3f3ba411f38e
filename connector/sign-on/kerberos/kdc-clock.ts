/**
 * How this clock stands to the KDC's. The library takes over the KDC's time, but only within the call that asks the KDC:
 * tokens from kept tickets carry the wrong time, and applications refuse them when it is five minutes off.
 */

/** From here on no ticket is kept. */
const wrongMs = 120_000

/** A step of the wall clock after which no ticket's times can be trusted. */
const jumpMs = 30_000

export class KdcClock {
  #offset = Date.now() - performance.now()
  /** How far this clock is ahead. */
  #errorMs = 0

  get isWrong(): boolean {
    return Math.abs(this.#errorMs) > wrongMs
  }

  kdcTimeIs(kdcTimeMs: number): void {
    this.#errorMs = Date.now() - kdcTimeMs
    this.#offset = Date.now() - performance.now()
  }

  /** Whether this clock was set since the last look. */
  hasJumped(): boolean {
    const offset = Date.now() - performance.now()
    const stepMs = offset - this.#offset
    if (Math.abs(stepMs) < jumpMs) return false
    this.#offset = offset
    this.#errorMs += stepMs
    return true
  }
}

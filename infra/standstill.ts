/**
 * A process that was halted, or too busy, has heard nobody for that time: what was said meanwhile is read after its timers
 * have fired. Whoever looks for the silent by a timer takes that time off.
 */

export class Standstill {
  readonly #everyMs: number
  #lookedAt = performance.now()

  /** `everyMs` is the interval of the timer. */
  constructor(everyMs: number) {
    this.#everyMs = everyMs
  }

  /** How long this process has stood still since the last call, in milliseconds. To be called once each time. */
  lastedMs(now: number): number {
    const lasted = Math.max(0, now - this.#lookedAt - this.#everyMs)
    this.#lookedAt = now
    return lasted
  }
}

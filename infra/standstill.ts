/**
 * A process that was halted, or too busy, has heard nobody for that time: what was said meanwhile is read after its timers
 * have fired. Whoever looks for the silent by a timer takes that time off; whoever acts on what is said asks whether it
 * may be old.
 */

import type { Bus } from './bus.ts'

/** Without a timer that comes for so long, a process stands still. */
export const standstillMs = 250

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

const lookMs = 100

/** Whether what this process reads from a bus may have waited for it while it stood still. */
export class Attention implements Disposable {
  readonly #bus: Bus
  readonly #timer: NodeJS.Timeout
  #lookedAt = performance.now()
  #lapses = 0
  #catchingUp: Promise<boolean> | undefined

  constructor(bus: Bus) {
    this.#bus = bus
    this.#timer = setInterval(() => this.#look(), lookMs).unref()
  }

  /** How often it has stood still. */
  get lapses(): number {
    this.#look()
    return this.#lapses
  }

  /**
   * Undefined while it keeps up. Else resolves when everything from before is read: true, or false when the connection was
   * lost with what had not been read.
   */
  get catchingUp(): Promise<boolean> | undefined {
    this.#look()
    return this.#catchingUp
  }

  #look(): void {
    const now = performance.now()
    const awayMs = now - this.#lookedAt
    this.#lookedAt = now
    if (awayMs > lookMs + standstillMs) this.#lapse()
  }

  #lapse(): void {
    const lapse = ++this.#lapses
    this.#catchingUp = this.#catchUp().finally(() => {
      if (this.#lapses === lapse) this.#catchingUp = undefined
    })
  }

  /** The server's answer comes behind everything that it had for this connection. */
  async #catchUp(): Promise<boolean> {
    if (!this.#bus.isConnected) return false
    const caughtUp = this.#bus.untilLost(() => this.#bus.connection.flush())
    return (await caughtUp.catch(() => undefined)) !== undefined
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

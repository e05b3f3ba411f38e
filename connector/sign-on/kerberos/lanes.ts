/**
 * Calls that may wait for a KDC use few of the helper's threads: a dead KDC must not take the threads away from users
 * whose tickets are there. While the connector says that no KDC answers, none of them begins.
 */

import { GssError } from './gss-error.ts'

export class Lanes {
  /** Set by the connector, which looks for a KDC that answers. */
  isUp = true
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  async run<Result>(deadline: number, work: () => Promise<Result>): Promise<Result> {
    this.#check(deadline)
    if (this.#free > 0) this.#free--
    else await new Promise<void>(resolve => this.#waiting.push(resolve))
    try {
      this.#check(deadline)
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }

  #check(deadline: number): void {
    if (!this.isUp) {
      throw new GssError({ reason: 'kdc_unreachable', detail: 'no KDC answers at the moment' })
    }
    if (performance.now() < deadline) return
    throw new GssError({ reason: 'kdc_timeout', detail: 'gave up in the queue for the KDC' })
  }
}

/**
 * How far this host's clock is from the registry's, as the registry's answers tell: certificates are judged and renewed
 * by the registry's time, so a clock that is wrong by an hour changes nothing. One that is farther off is refused by
 * name: TLS would fail because of it, without saying why.
 */

import { maxClockErrorMs } from '#infra/contracts/enrolment.ts'
import { SallyportError } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'

/** Less is not worth a word. */
const remarkableMs = 60_000

export class RegistryTime {
  readonly #log: Logger
  #offsetMs = 0

  constructor(log: Logger) {
    this.#log = log
  }

  now(): number {
    return Date.now() + this.#offsetMs
  }

  /** Takes the registry's time out of an answer to a question that was asked at `askedAtMs` by this host's clock. */
  measured(registryMs: number, askedAtMs: number): void {
    const offsetMs = registryMs - (askedAtMs + Date.now()) / 2
    const isNews = Math.abs(offsetMs - this.#offsetMs) > remarkableMs
    this.#offsetMs = offsetMs
    if (Math.abs(offsetMs) > maxClockErrorMs)
      throw new SallyportError('clock_wrong', `the clock of this host is ${inWords(offsetMs)}`)
    if (isNews)
      this.#log.warn(`the clock of this host is ${inWords(offsetMs)}; the registry's time is used`)
  }
}

function inWords(offsetMs: number): string {
  const minutes = Math.round(Math.abs(offsetMs) / 60_000)
  return `${minutes} min ${offsetMs > 0 ? 'behind' : 'ahead of'} the registry's`
}

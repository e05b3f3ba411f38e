/**
 * Names of exchanges on the bus. Whoever knows one may answer it, so none can be guessed: a number for the order, and
 * random octets. Which of the latest have had their answer is remembered by number, in a ring, without a cost that
 * would count with every request.
 */

import { randomBytes } from 'node:crypto'

const secretBytes = 6
const secretChars = 8
/** Secrets are drawn and written out so many at a time: one by one that is most of what a name costs. */
const drawn = 512
const remembered = 2 ** 16

export class ExchangeIds {
  readonly #gatewayId: string
  #secrets = ''
  readonly #answered = new Uint32Array(remembered)
  #used = 0
  #count = 0

  constructor(gatewayId: string) {
    this.#gatewayId = gatewayId
  }

  next(): string {
    if (this.#used === this.#secrets.length) {
      this.#secrets = randomBytes(secretBytes * drawn).toString('base64url')
      this.#used = 0
    }
    const secret = this.#secrets.slice(this.#used, this.#used + secretChars)
    this.#used += secretChars
    this.#count = (this.#count + 1) >>> 0
    return `${this.#gatewayId}${this.#count.toString(36)}${secret}`
  }

  /** The whole answer of this one has come. */
  answered(exchangeId: string): void {
    const number = this.#numberOf(exchangeId)
    this.#answered[number % remembered] = number
  }

  /** False also for what is too long ago. */
  wasAnswered(exchangeId: string): boolean {
    if (!exchangeId.startsWith(this.#gatewayId)) return false
    const number = this.#numberOf(exchangeId)
    return number > 0 && this.#answered[number % remembered] === number
  }

  #numberOf(exchangeId: string): number {
    return Number.parseInt(exchangeId.slice(this.#gatewayId.length, -secretChars), 36) || 0
  }
}

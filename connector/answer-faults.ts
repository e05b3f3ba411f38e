/** What an origin may say by HTTP and a client could do nothing with: such an answer is a 502. */

import { initialCreditBytes } from '#infra/wire.ts'
import { OriginError } from './origin-error.ts'

const fault = (detail: string) => new OriginError('origin_protocol_error', detail, true)

export const unknownCoding = fault('an unasked transfer coding')
export const endlessInterim = fault('interim answers without end')

/** The second is what HTTP/1.1 once called none. */
const plainCodings = /^(?:[\s,]*(?:chunked|identity))*[\s,]*$/i

/**
 * Whether the body is compressed for this connection alone, by a field that goes no further (RFC 9112 §6.1): what a
 * client got could not be read. Nobody asked for that.
 */
export function isCoded(headers: readonly string[]): boolean {
  return headers.some(
    (name, i) =>
      i % 2 === 0 &&
      name.length === 17 &&
      name.toLowerCase() === 'transfer-encoding' &&
      !plainCodings.test(headers[i + 1] as string),
  )
}

/** Of interim answers within a second, which no credit holds back; each counts as so much at least. */
const mostBytes = initialCreditBytes
const leastBytes = 64

export class InterimAnswers {
  #bytes = 0
  #since = 0

  /** Counts one of so many bytes. */
  isTooMuch(bytes: number): boolean {
    const now = performance.now()
    if (now - this.#since > 1_000) {
      this.#since = now
      this.#bytes = 0
    }
    this.#bytes += Math.max(bytes, leastBytes)
    return this.#bytes > mostBytes
  }
}

/**
 * Bodies in chunks (RFC 9112 §7.1) of the usual form: a size, the octets, and nothing behind the last one. Extensions,
 * trailers and whatever else are left to another parser, which can begin with any chunk.
 */

import { OriginError } from '../origin-error.ts'

export interface ChunksSink {
  /** False: nobody wants the rest. */
  data(chunk: Buffer): boolean
  /** With so many octets behind it. */
  complete(excessBytes: number): void
  /** What begins here, with a chunk, is not plain. */
  odd(bytes: Buffer): void
}

const crlf = '\r\n'
const size = /^[0-9a-f]{1,8}$/i
const sizeSoFar = /^[0-9a-f]{0,8}\r?$/i
const lastSoFar = /^0{1,8}\r\n\r?$/
/** Of the longest size with what ends it, and the empty line. */
const mostHeldBytes = 12

export class Chunks {
  readonly #sink: ChunksSink
  /** Octets that are still to come of a chunk. */
  #left = 0
  /** The octets of a chunk are there, their end is not. */
  #isEndDue = false
  #held: Buffer | undefined

  constructor(sink: ChunksSink) {
    this.#sink = sink
  }

  /** @throws OriginError */
  read(chunk: Buffer): void {
    let rest: Buffer | undefined = this.#held ? Buffer.concat([this.#held, chunk]) : chunk
    this.#held = undefined
    while (rest && rest.length > 0) rest = this.#step(rest)
  }

  /** What comes behind the next part of a body; undefined when there is nothing more to read. */
  #step(bytes: Buffer): Buffer | undefined {
    if (this.#left > 0) return this.#readData(bytes)
    if (this.#isEndDue) return this.#readEnd(bytes)
    return this.#readSize(bytes)
  }

  #readData(bytes: Buffer): Buffer | undefined {
    const data = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes
    this.#left -= data.length
    this.#isEndDue = this.#left === 0
    return this.#sink.data(data) ? bytes.subarray(data.length) : undefined
  }

  #readEnd(bytes: Buffer): Buffer | undefined {
    if (!crlf.startsWith(bytes.toString('latin1', 0, 2)))
      throw new OriginError('origin_protocol_error', 'a chunk longer than its size', true)
    if (bytes.length < 2) return this.#hold(bytes)
    this.#isEndDue = false
    return bytes.subarray(2)
  }

  #readSize(bytes: Buffer): Buffer | undefined {
    const start = bytes.toString('latin1', 0, mostHeldBytes)
    const lineEnd = start.indexOf(crlf)
    const line = start.slice(0, Math.max(lineEnd, 0))
    if (lineEnd === -1 && sizeSoFar.test(start)) return this.#hold(bytes)
    if (!size.test(line)) return this.#odd(bytes)
    this.#left = Number.parseInt(line, 16)
    if (this.#left > 0) return bytes.subarray(lineEnd + 2)
    if (start.startsWith(crlf, lineEnd + 2)) {
      this.#sink.complete(bytes.length - lineEnd - 4)
      return undefined
    }
    return lastSoFar.test(start) ? this.#hold(bytes) : this.#odd(bytes)
  }

  #hold(bytes: Buffer): undefined {
    this.#held = bytes
  }

  #odd(bytes: Buffer): undefined {
    this.#sink.odd(bytes)
  }
}

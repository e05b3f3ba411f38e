/**
 * Cuts the bytes of one direction of an HTTP/1.1 connection into messages (RFC 9112 §6, §7), without holding bodies:
 * each head is shown when it is complete, everything after it passes as it comes. Strict, since what another program
 * would read in another way could be a message that nobody looked at.
 */

import { type BodyFraming, headEnd, maxHeadBytes } from '#infra/request-head.ts'

export interface MessageHandlers {
  /** A head, without the empty line; answers how the body is delimited. May throw. */
  head: (text: string) => BodyFraming
  /** Bytes of the body, framing included. */
  body: (bytes: Buffer) => void
  /** The message is over. */
  complete: () => void
  /** Whether the next message may begin; if not, its bytes wait for `resume`. */
  mayBegin: () => boolean
  /** Trailers would have to be looked through like heads. */
  takesTrailers: boolean
}

export class MessageReaderError extends Error {
  override name = 'MessageReaderError'
}

type State = 'head' | 'counted' | 'size' | 'chunk' | 'chunk-end' | 'trailers' | 'unbounded'

/** Chunk extensions and trailers are shorter than this, each line. */
const maxLineBytes = 4_096
const chunkSize = /^([0-9a-f]{1,8})(?:[ \t]*;[\t -~]*)?$/i

export class MessageReader {
  readonly #handlers: MessageHandlers
  #state: State = 'head'
  #held: Buffer = Buffer.alloc(0)
  /** Of a counted body or a chunk. */
  #leftBytes = 0

  constructor(handlers: MessageHandlers, framing?: BodyFraming) {
    this.#handlers = handlers
    if (framing !== undefined) this.#begin(framing)
  }

  /** Bytes have arrived that wait until the next message may begin. */
  get isHeldBack(): boolean {
    return this.#state === 'head' && this.#held.length > 0 && !this.#handlers.mayBegin()
  }

  /** @throws MessageReaderError, or what a handler throws. */
  read(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    while (this.#held.length > 0 && this.#step());
  }

  /** From here on everything is bytes. */
  unbind(): void {
    this.#state = 'unbounded'
    this.resume()
  }

  resume(): void {
    while (this.#held.length > 0 && this.#step());
  }

  /** False: more bytes are needed. */
  #step(): boolean {
    switch (this.#state) {
      case 'head':
        return this.#handlers.mayBegin() && this.#readHead()
      case 'unbounded':
        return this.#pass(this.#held.length)
      case 'counted':
      case 'chunk':
        return this.#readCounted()
      default:
        return this.#readLine()
    }
  }

  #readHead(): boolean {
    const end = this.#held.indexOf(headEnd)
    if (end > maxHeadBytes || (end === -1 && this.#held.length > maxHeadBytes)) {
      throw new MessageReaderError('a head that is too long')
    }
    if (end === -1) return false
    const text = this.#held.toString('latin1', 0, end)
    this.#held = this.#held.subarray(end + headEnd.length)
    this.#begin(this.#handlers.head(text))
    return true
  }

  #begin(framing: BodyFraming): void {
    if (framing === 'unbounded') this.#state = 'unbounded'
    else if (framing === 'chunked') this.#state = 'size'
    else if (framing === 0) this.#complete()
    else {
      this.#state = 'counted'
      this.#leftBytes = framing
    }
  }

  #complete(): void {
    this.#state = 'head'
    this.#handlers.complete()
  }

  #readCounted(): boolean {
    const bytes = Math.min(this.#leftBytes, this.#held.length)
    this.#leftBytes -= bytes
    this.#pass(bytes)
    if (this.#leftBytes > 0) return true
    if (this.#state === 'chunk') this.#state = 'chunk-end'
    else this.#complete()
    return true
  }

  /** Of the framing of chunks. */
  #readLine(): boolean {
    const end = this.#held.indexOf('\r\n')
    if (end > maxLineBytes || (end === -1 && this.#held.length > maxLineBytes)) {
      throw new MessageReaderError('a line of a chunk that is too long')
    }
    if (end === -1) return false
    const line = this.#held.toString('latin1', 0, end)
    const next = this.#stateAfter(line)
    this.#pass(end + 2)
    if (next === 'head') this.#complete()
    else this.#state = next
    return true
  }

  #stateAfter(line: string): State {
    if (this.#state === 'size') return this.#readSize(line)
    if (this.#state === 'chunk-end') {
      if (line === '') return 'size'
      throw new MessageReaderError('a chunk longer than its size')
    }
    if (line === '') return 'head'
    if (this.#handlers.takesTrailers) return 'trailers'
    throw new MessageReaderError('trailers')
  }

  #readSize(line: string): State {
    const [, size] = chunkSize.exec(line) ?? []
    if (size === undefined) throw new MessageReaderError('a chunk size that is none')
    this.#leftBytes = Number.parseInt(size, 16)
    return this.#leftBytes === 0 ? 'trailers' : 'chunk'
  }

  #pass(bytes: number): boolean {
    const passing = this.#held.subarray(0, bytes)
    this.#held = this.#held.subarray(bytes)
    this.#handlers.body(passing)
    return true
  }
}

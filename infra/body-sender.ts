/**
 * The sending half of a body on its way over the bus, used at both ends of an exchange and for both directions of an
 * upgraded connection. It never sends more than the receiver (body-receiver.ts) has granted, and keeps one chunk that
 * waits: whoever gives it more has not heard that it must pause. A large body leaves the bus for a connection of its own
 * when there is one (bulk.ts).
 */

import type { BulkConnection } from './bulk.ts'
import { carried } from './collect.ts'
import { encodeData, encodeEnd } from './frames.ts'

/**
 * What is sent in one frame: of several in a read of 64 KiB most are whole. The client library puts one that is not
 * together in buffers of up to three times its size, which is what most of a large body's time went to.
 */
export const frameBytes = 32 * 1024

export interface BodySenderOptions {
  /** Puts a frame on its way. */
  send: (frame: Buffer) => void
  /** What may be sent before the first grant, in bytes. */
  creditBytes: number
  /** What travelled with the head, in bytes: part of the body's length, outside of any credit. */
  firstBytes?: number
  /** Called when everything written has been sent, after `write` returned false. */
  onWritable: () => void
  /** Called when END has been sent. */
  onEnded?: () => void
}

export class BodySender {
  readonly #options: BodySenderOptions
  #creditBytes: number
  #waiting: Buffer[] = []
  #sentBytes = 0
  #trailers: readonly string[] | undefined
  #isEnded = false
  #bulk: BulkConnection | undefined

  constructor(options: BodySenderOptions) {
    this.#options = options
    this.#creditBytes = options.creditBytes
    this.#sentBytes = options.firstBytes ?? 0
  }

  get sentBytes(): number {
    return this.#sentBytes
  }

  /** True once `end` was called; nothing may be written any more. */
  get isEnded(): boolean {
    return this.#trailers !== undefined
  }

  /** Nothing waits for credit any more. */
  get hasSentEnd(): boolean {
    return this.#isEnded
  }

  /** What was sent by a connection of its own may be lost with that. */
  get isAtRisk(): boolean {
    return this.#bulk !== undefined && !this.#isEnded
  }

  /** Sends or keeps a chunk. False: the source must pause until `onWritable`. */
  write(chunk: Buffer): boolean {
    if (chunk.length > 0) this.#waiting.push(chunk)
    return this.#pump()
  }

  /** Ends the body after what was written; nothing may be written any more. */
  end(trailers: readonly string[] = []): void {
    if (this.#trailers) return
    this.#trailers = trailers
    this.#pump()
  }

  /** The receiver takes so many more bytes. */
  grant(bytes: number): void {
    const wasBlocked = this.#waiting.length > 0
    this.#creditBytes += bytes
    if (this.#pump() && wasBlocked && !this.#trailers) this.#options.onWritable()
  }

  /** From here on the body goes by this connection, and needs no credit any more. */
  switchTo(bulk: BulkConnection): void {
    if (this.#isEnded) return
    const wasBlocked = this.#waiting.length > 0
    this.#bulk = bulk
    bulk.begin(this.#sentBytes)
    bulk.onWritable(() => this.#trailers ?? this.#options.onWritable())
    if (this.#pump() && wasBlocked && !this.#trailers) this.#options.onWritable()
  }

  #pump(): boolean {
    return this.#bulk ? this.#pumpBulk(this.#bulk) : this.#pumpBus()
  }

  #pumpBulk(bulk: BulkConnection): boolean {
    let hasRoom = true
    for (const chunk of this.#waiting.splice(0)) {
      hasRoom = bulk.write(chunk)
      carried(chunk.length)
      this.#sentBytes += chunk.length
    }
    // Who has said END may stop: what was written must be out of this process by then.
    if (this.#trailers) bulk.whenFlushed(() => this.#sendEnd(this.#trailers ?? []))
    return hasRoom
  }

  #pumpBus(): boolean {
    for (let chunk = this.#waiting[0]; chunk && this.#creditBytes > 0; chunk = this.#waiting[0]) {
      const bytes = Math.min(chunk.length, this.#creditBytes, frameBytes)
      this.#options.send(encodeData(bytes === chunk.length ? chunk : chunk.subarray(0, bytes)))
      carried(bytes)
      this.#creditBytes -= bytes
      this.#sentBytes += bytes
      if (bytes === chunk.length) this.#waiting.shift()
      else this.#waiting[0] = chunk.subarray(bytes)
    }
    if (this.#waiting.length > 0) return false
    if (this.#trailers) this.#sendEnd(this.#trailers)
    return true
  }

  #sendEnd(trailers: readonly string[]): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#options.send(encodeEnd(this.#sentBytes, trailers))
    this.#options.onEnded?.()
  }
}

/**
 * The two halves of a body on its way over the bus, used at both ends of an exchange and for both directions of an
 * upgraded connection. A sender never sends more than the receiver granted; a receiver grants again only what its
 * sink has taken. So one slow reader holds back its own exchange and nothing else, and no buffer grows.
 */

import {
  chunkBytes,
  encodeCredit,
  encodeData,
  encodeEnd,
  initialCreditBytes,
  WireError,
} from './wire.ts'

export interface BodySenderOptions {
  /** Puts a frame on the bus. */
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

  #pump(): boolean {
    for (let chunk = this.#waiting[0]; chunk && this.#creditBytes > 0; chunk = this.#waiting[0]) {
      const bytes = Math.min(chunk.length, this.#creditBytes, chunkBytes)
      this.#options.send(encodeData(bytes === chunk.length ? chunk : chunk.subarray(0, bytes)))
      this.#creditBytes -= bytes
      this.#sentBytes += bytes
      if (bytes === chunk.length) this.#waiting.shift()
      else this.#waiting[0] = chunk.subarray(bytes)
    }
    if (this.#waiting.length > 0) return false
    if (this.#trailers && !this.#isEnded) {
      this.#isEnded = true
      this.#options.send(encodeEnd(this.#sentBytes, this.#trailers))
      this.#options.onEnded?.()
    }
    return true
  }
}

export interface BodyReceiverOptions {
  send: (frame: Buffer) => void
  /** What the sender may have under way, in bytes. */
  windowBytes?: number
  /** Takes a chunk; false when the sink is full, until `drained` is called. */
  deliver: (chunk: Buffer) => boolean
  /** The body is complete. */
  onEnd: (trailers: readonly string[]) => void
}

export class BodyReceiver {
  readonly #options: BodyReceiverOptions
  readonly #windowBytes: number
  /** What the sender may still send. */
  #allowedBytes: number
  /** Delivered, but not granted again yet. */
  #takenBytes = 0
  #receivedBytes = 0
  #isFull = false

  constructor(options: BodyReceiverOptions) {
    this.#options = options
    this.#windowBytes = options.windowBytes ?? initialCreditBytes
    this.#allowedBytes = this.#windowBytes
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  /** @throws WireError when the sender sends more than it was granted. */
  data(chunk: Buffer): void {
    this.#allowedBytes -= chunk.length
    if (this.#allowedBytes < 0) throw new WireError('more data than was granted')
    this.#receivedBytes += chunk.length
    this.#takenBytes += chunk.length
    if (!this.#options.deliver(chunk)) this.#isFull = true
    this.#grant()
  }

  /** Bytes that came with the head, outside of any credit. */
  first(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#receivedBytes += chunk.length
    if (!this.#options.deliver(chunk)) this.#isFull = true
  }

  /** @throws WireError when bytes are missing: a bus that drops a slow consumer loses messages silently. */
  end(bodyBytes: number, trailers: readonly string[]): void {
    if (bodyBytes !== this.#receivedBytes) {
      throw new WireError(`${this.#receivedBytes} bytes received of ${bodyBytes}`)
    }
    this.#options.onEnd(trailers)
  }

  /** The sink has room again. */
  drained(): void {
    this.#isFull = false
    this.#grant()
  }

  #grant(): void {
    if (this.#isFull || this.#takenBytes < this.#windowBytes / 4) return
    this.#allowedBytes += this.#takenBytes
    this.#options.send(encodeCredit(this.#takenBytes))
    this.#takenBytes = 0
  }
}

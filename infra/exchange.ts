/**
 * The two halves of a body on its way over the bus, used at both ends of an exchange and for both directions of an
 * upgraded connection. A sender never sends more than the receiver granted; a receiver grants again only what its
 * sink has taken. So one slow reader holds back its own exchange and nothing else, and no buffer grows.
 */

import { carried } from './collect.ts'
import type { StreamBudget } from './stream-budget.ts'
import { StreamWindow } from './stream-window.ts'
import { chunkBytes, encodeCredit, encodeData, encodeEnd, WireError } from './wire.ts'

/**
 * What is sent in one frame: of several in a read of 64 KiB most are whole. The client library puts one that is not
 * together in buffers of up to three times its size, which is what most of a large body's time went to.
 */
export const frameBytes = 32 * 1024

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
      const bytes = Math.min(chunk.length, this.#creditBytes, frameBytes)
      this.#options.send(encodeData(bytes === chunk.length ? chunk : chunk.subarray(0, bytes)))
      carried(bytes)
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
  /** What the sender may have under way at first, in bytes. */
  windowBytes?: number
  /** Shared with the other streams of the process. */
  budget?: StreamBudget
  /** Takes a chunk; false when the sink is full, until `drained` is called. */
  deliver: (chunk: Buffer) => boolean
  /** The body is complete. */
  onEnd: (trailers: readonly string[]) => void
}

/** A chunk of up to this size that has to wait is copied: it may be a view of a read many times as large. */
const copiedBytes = 16 * 1024

export class BodyReceiver {
  readonly #options: BodyReceiverOptions
  readonly #window: StreamWindow
  /** What the sender may still send. */
  #allowedBytes: number
  #receivedBytes = 0
  /** What came while the sink was full. */
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #trailers: readonly string[] | undefined
  #isFull = false
  /** Of the window, as the budget knows it; undefined until the stream counts. */
  #countedBytes: number | undefined
  #isClosed = false

  constructor(options: BodyReceiverOptions) {
    this.#options = options
    this.#window = new StreamWindow(options.windowBytes)
    this.#allowedBytes = this.#window.bytes
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  /** The sender has said all, and everything has arrived. */
  get isComplete(): boolean {
    return this.#trailers !== undefined
  }

  /** Received, and not yet delivered. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** What the sender may have under way, in bytes. */
  get windowBytes(): number {
    return this.#window.bytes
  }

  /** @throws WireError when the sender sends more than it was granted. */
  data(chunk: Buffer): void {
    if (chunk.length > this.#allowedBytes) throw new WireError('more data than was granted')
    carried(chunk.length)
    this.#receivedBytes += chunk.length
    this.#arrived(chunk.length)
    if (this.#window.received(this.#receivedBytes)) this.#count()
    this.#take(chunk)
    this.#grant()
  }

  /** Bytes that came with the head, outside of any credit. */
  first(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#receivedBytes += chunk.length
    this.#take(chunk)
  }

  /** @throws WireError when bytes are missing: a bus that drops a slow consumer loses messages silently. */
  end(bodyBytes: number, trailers: readonly string[]): void {
    if (bodyBytes !== this.#receivedBytes) {
      throw new WireError(`${this.#receivedBytes} bytes received of ${bodyBytes}`)
    }
    this.#trailers = trailers
    this.#endWhenDelivered()
  }

  /** The sink has room again. */
  drained(): void {
    if (!this.#isFull) return
    this.#isFull = false
    this.#window.drained()
    let delivered = 0
    for (const chunk of this.#waiting) {
      if (this.#isFull) break
      delivered++
      this.#waitingBytes -= chunk.length
      this.#deliver(chunk)
    }
    this.#waiting.splice(0, delivered)
    this.#endWhenDelivered()
    this.#grant()
  }

  /** Nothing is awaited any more: what it took of the budget is free for others. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#waiting = []
    const budget = this.#budgetOrNone()
    budget?.moved(this.#allowedBytes, 0)
    budget?.resizeWindow(this.#countedBytes ?? 0, 0)
    this.#countedBytes = undefined
  }

  #take(chunk: Buffer): void {
    if (!this.#isFull) return this.#deliver(chunk)
    this.#waiting.push(chunk.length <= copiedBytes ? Buffer.from(chunk) : chunk)
    this.#waitingBytes += chunk.length
    // Nothing more comes before the sink takes something: this may last.
    if (this.#allowedBytes < chunkBytes) this.#compact()
  }

  #deliver(chunk: Buffer): void {
    if (this.#options.deliver(chunk)) return
    this.#isFull = true
    this.#window.full()
  }

  /** Views keep whole reads alive, of which they are a part. */
  #compact(): void {
    const heldBytes = this.#waiting.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
    if (heldBytes > 1.25 * this.#waitingBytes) this.#waiting = [Buffer.concat(this.#waiting)]
  }

  #endWhenDelivered(): void {
    if (!this.#trailers || this.#waiting.length > 0 || this.#isClosed) return
    this.close()
    this.#options.onEnd(this.#trailers)
  }

  #grant(): void {
    if (this.#isFull || this.#trailers || this.#isClosed) return
    this.#count()
    const bytes = this.#window.bytes - this.#allowedBytes
    if (bytes < this.#window.bytes / 4) return
    const before = this.#allowedBytes
    this.#allowedBytes =
      this.#budgetOrNone()?.grant(before, this.#window.bytes) ?? this.#window.bytes
    if (this.#allowedBytes === before) return
    this.#options.send(encodeCredit(this.#allowedBytes - before))
    this.#window.granted(this.#receivedBytes, this.#receivedBytes + before)
  }

  #arrived(bytes: number): void {
    const allowedBytes = this.#allowedBytes - bytes
    this.#budgetOrNone()?.moved(this.#allowedBytes, allowedBytes)
    this.#allowedBytes = allowedBytes
  }

  /** Undefined while the stream does not count. */
  #budgetOrNone(): StreamBudget | undefined {
    return this.#countedBytes === undefined ? undefined : this.#options.budget
  }

  /** Brings the budget and the window into line. */
  #count(): void {
    const { budget } = this.#options
    if (!budget || this.#isClosed || this.#receivedBytes <= chunkBytes) return
    if (this.#countedBytes === undefined) budget.moved(0, this.#allowedBytes)
    this.#countedBytes = budget.resizeWindow(this.#countedBytes ?? 0, this.#window.bytes)
    if (this.#countedBytes < this.#window.bytes) this.#window.shrinkTo(this.#countedBytes)
  }
}

/**
 * The receiving half of a body on its way over the bus. It grants a sender (body-sender.ts) again only what its sink has
 * taken: so one slow reader holds back its own exchange and nothing else, and no buffer grows. What comes by a connection
 * of its own (bulk.ts) comes after all that came over the bus, and is held back by TCP.
 */

import type { BulkConnection } from './bulk.ts'
import { carried } from './collect.ts'
import { detailOf } from './errors.ts'
import { encodeCredit } from './frames.ts'
import type { StreamBudget } from './stream-budget.ts'
import { StreamWindow } from './stream-window.ts'
import { chunkBytes, WireError } from './wire.ts'

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
  #isBulkExpected = false
  #bulk: BulkConnection | undefined
  /** What comes over the bus, when the rest does not. */
  #busBytes = Number.POSITIVE_INFINITY
  /** END was here before the last bytes were. */
  #announced: { bodyBytes: number; trailers: readonly string[] } | undefined
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

  /** The sender has said all, and what has not arrived is on its way by a connection of its own. */
  get isSaid(): boolean {
    return this.isComplete || this.#announced !== undefined
  }

  /** Received, and not yet delivered. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** What has not come yet is lost with the connection by which it comes. */
  get isAtRisk(): boolean {
    const hasBegun = this.#announced !== undefined || this.#busBytes !== Number.POSITIVE_INFINITY
    return hasBegun && !this.isComplete
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
    this.#turn()
  }

  /** While a part of the body may come by a connection of its own, an END without that part is no loss yet. */
  expectBulk(isExpected: boolean): void {
    this.#isBulkExpected = isExpected
  }

  /**
   * From some byte on the body comes by this connection, as the sender says there: until then all is as it was.
   * `broken` is told what is wrong with what comes.
   */
  switchTo(bulk: BulkConnection, broken: (detail: string) => void): void {
    this.#isBulkExpected = true
    this.#bulk = bulk
    const orBroken = (work: () => void) => {
      try {
        work()
      } catch (error) {
        broken(detailOf(error))
      }
    }
    bulk.listen({
      begins: busBytes =>
        orBroken(() => {
          this.#busBytes = busBytes
          this.#turn()
        }),
      data: chunk => orBroken(() => this.#receiveBulk(chunk)),
    })
  }

  get #isOnBulk(): boolean {
    return this.#receivedBytes >= this.#busBytes
  }

  /** What came over the bus comes first. */
  #turn(): void {
    if (!this.#isOnBulk || this.#isClosed) return
    if (this.#receivedBytes > this.#busBytes) throw new WireError('more over the bus than was said')
    this.#leaveBudget()
    if (!this.#isFull) this.#bulk?.resume()
  }

  #receiveBulk(chunk: Buffer): void {
    carried(chunk.length)
    this.#receivedBytes += chunk.length
    this.#take(chunk)
    if (this.#isFull) this.#bulk?.pause()
    const { bodyBytes = Number.POSITIVE_INFINITY, trailers = [] } = this.#announced ?? {}
    if (this.#receivedBytes >= bodyBytes) this.end(bodyBytes, trailers)
  }

  /** Bytes that came with the head, outside of any credit. */
  first(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#receivedBytes += chunk.length
    this.#take(chunk)
  }

  /** @throws WireError when bytes are missing: a bus that drops a slow consumer loses messages silently. */
  end(bodyBytes: number, trailers: readonly string[]): void {
    if (bodyBytes > this.#receivedBytes && this.#isBulkExpected) {
      this.#announced = { bodyBytes, trailers }
      return
    }
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
    if (this.#isOnBulk && !this.#isFull) this.#bulk?.resume()
  }

  /** Nothing is awaited any more: what it took of the budget is free for others. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#waiting = []
    this.#leaveBudget()
  }

  #leaveBudget(): void {
    const budget = this.#budgetOrNone()
    budget?.moved(this.#allowedBytes, 0)
    budget?.resizeWindow(this.#countedBytes ?? 0, 0)
    this.#countedBytes = undefined
    this.#allowedBytes = 0
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
    if (this.#isFull || this.#trailers || this.#isClosed || this.#isOnBulk) return
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
    if (!budget || this.#isClosed || this.#isOnBulk || this.#receivedBytes <= chunkBytes) return
    if (this.#countedBytes === undefined) budget.moved(0, this.#allowedBytes)
    this.#countedBytes = budget.resizeWindow(this.#countedBytes ?? 0, this.#window.bytes)
    if (this.#countedBytes < this.#window.bytes) this.#window.shrinkTo(this.#countedBytes)
  }
}

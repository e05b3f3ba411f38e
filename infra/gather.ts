/**
 * Frames of one event-loop turn that go the same way travel together, as one BATCH: under load that spares the server
 * and both ends most of what a message costs. Nothing waits for more to come than the turn brings, and of a long one the
 * beginning leaves before its end: the other side works on it meanwhile. All frames of an exchange from one sender have
 * to go this way, or their order would be lost.
 */

import type { Bus } from './bus.ts'
import { type BatchedFrame, encodeBatch } from './frame-batch.ts'

export interface GathererOptions<To> {
  /** Where a message goes: all frames of one exchange, or those of several as a batch. */
  publish: (to: To, message: Buffer, exchangeIds: readonly string[]) => void
}

/** A batch ends when it holds so much; a frame larger than a quarter of it goes by itself. */
const batchBytes = 64 * 1024

/** With fewer of them than that the messages cost more than an earlier beginning is worth, with more the others idle. */
const batchFrames = 32

/** `To` says which way a frame goes. */
export class FrameGatherer<To> {
  readonly #bus: Bus
  readonly #options: GathererOptions<To>
  #waiting = new Map<To, BatchedFrame[]>()
  #waitingBytes = 0

  constructor(bus: Bus, options: GathererOptions<To>) {
    this.#bus = bus
    this.#options = options
  }

  add(to: To, exchangeId: string, frame: Buffer): void {
    let waiting = this.#waiting.get(to)
    if (waiting) waiting.push({ exchangeId, frame })
    else {
      if (this.#waiting.size === 0) setImmediate(() => this.flush())
      waiting = [{ exchangeId, frame }]
      this.#waiting.set(to, waiting)
    }
    this.#waitingBytes += frame.length
    if (waiting.length >= batchFrames || this.#waitingBytes >= batchBytes) this.flush()
  }

  /** Hands everything to the socket now. */
  flush(): void {
    if (this.#waiting.size === 0) return
    const waiting = this.#waiting
    this.drop()
    this.#bus.publishAtOnce(() => {
      for (const [to, frames] of waiting) this.#send(to, frames)
    })
  }

  /** Nothing of it is sent any more. */
  drop(): void {
    // A map that is emptied keeps what was in it from being collected for long (passing-map.ts).
    this.#waiting = new Map()
    this.#waitingBytes = 0
  }

  #send(to: To, frames: readonly BatchedFrame[]): void {
    let batch: BatchedFrame[] = []
    for (const each of frames) {
      const isLarge = each.frame.length > batchBytes / 4
      if (!isLarge) {
        batch.push(each)
        continue
      }
      this.#publish(to, batch)
      this.#publish(to, [each])
      batch = []
    }
    this.#publish(to, batch)
  }

  #publish(to: To, batch: readonly BatchedFrame[]): void {
    const [first] = batch
    if (!first) return
    const message = batch.length === 1 ? first.frame : encodeBatch(batch)
    this.#options.publish(
      to,
      message,
      batch.map(({ exchangeId }) => exchangeId),
    )
  }
}

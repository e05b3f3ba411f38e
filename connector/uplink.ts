/**
 * What a connector sends to gateways. Answers that are ready in the same event-loop turn travel together, one message
 * for each gateway: under load that spares the server, and both ends, most of what a message costs. Frames of an
 * exchange keep their order, for all of them go this way.
 */

import type { Bus } from '#infra/bus.ts'
import { subjects } from '#infra/subjects.ts'
import { type BatchedFrame, encodeBatch } from '#infra/wire.ts'

/** A batch ends when it holds so much; a frame larger than a quarter of it goes by itself. */
const batchBytes = 64 * 1024

export class Uplink {
  readonly #bus: Bus
  readonly #memberId: string
  readonly #waiting = new Map<string, BatchedFrame[]>()
  #waitingBytes = 0

  constructor(bus: Bus, memberId: string) {
    this.#bus = bus
    this.#memberId = memberId
  }

  send(gatewayId: string, exchangeId: string, frame: Buffer): void {
    const waiting = this.#waiting.get(gatewayId)
    if (waiting) waiting.push({ exchangeId, frame })
    else {
      if (this.#waiting.size === 0) setImmediate(() => this.flush())
      this.#waiting.set(gatewayId, [{ exchangeId, frame }])
    }
    this.#waitingBytes += frame.length
    if (this.#waitingBytes >= batchBytes) this.flush()
  }

  /** Hands everything to the socket now. */
  flush(): void {
    if (this.#waiting.size === 0) return
    for (const [gatewayId, frames] of this.#waiting) this.#sendAll(gatewayId, frames)
    this.#waiting.clear()
    this.#waitingBytes = 0
    this.#bus.flushQueue()
  }

  #sendAll(gatewayId: string, frames: readonly BatchedFrame[]): void {
    let batch: BatchedFrame[] = []
    for (const each of frames) {
      if (each.frame.length <= batchBytes / 4) {
        batch.push(each)
        continue
      }
      this.#sendBatch(gatewayId, batch)
      batch = []
      this.#sendBatch(gatewayId, [each])
    }
    this.#sendBatch(gatewayId, batch)
  }

  #sendBatch(gatewayId: string, batch: readonly BatchedFrame[]): void {
    const [first] = batch
    if (!first) return
    const isAlone = batch.length === 1
    const subject = subjects.up(this.#memberId, gatewayId, isAlone ? first.exchangeId : '')
    this.#bus.publish(subject, isAlone ? first.frame : encodeBatch(batch))
  }
}

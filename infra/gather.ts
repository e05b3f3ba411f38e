/**
 * Frames of one event-loop turn that go the same way travel together, as one BATCH: under load that spares the server
 * and both ends most of what a message costs. A frame that is alone leaves with its turn; several wait for the next turns
 * as long as each brings another, which it does only where there is much to do. Of many the beginning leaves before the
 * end: the other side works on it meanwhile. All frames of an exchange from one sender have to go this way, or their
 * order would be lost.
 */

import type { Bus } from './bus.ts'
import type { BatchedFrame } from './frame-batch.ts'

export interface GathererOptions<To> {
  /** Sends frames that share a message, one or more. */
  publish: (to: To, frames: readonly BatchedFrame[]) => void
}

/** A batch ends when it holds so much; a frame larger than a quarter of it goes by itself. */
const batchBytes = 64 * 1024

/** With fewer of them than that the messages cost more than an earlier beginning is worth, with more the others idle. */
const batchFrames = 32

/** No turn is waited for that begins so long after the first frame came. */
const longestWaitMs = 1

/** `To` says which way a frame goes. */
export class FrameGatherer<To> {
  readonly #bus: Bus
  readonly #options: GathererOptions<To>
  #waiting = new Map<To, BatchedFrame[]>()
  #waitingFrames = 0
  #waitingBytes = 0
  #turn: NodeJS.Immediate | undefined

  constructor(bus: Bus, options: GathererOptions<To>) {
    this.#bus = bus
    this.#options = options
  }

  add(to: To, exchangeId: string, frame: Buffer): void {
    let waiting = this.#waiting.get(to)
    if (waiting) waiting.push({ exchangeId, frame })
    else {
      if (this.#waiting.size === 0) this.#waitForTurn(performance.now() + longestWaitMs)
      waiting = [{ exchangeId, frame }]
      this.#waiting.set(to, waiting)
    }
    this.#waitingFrames++
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
    clearImmediate(this.#turn)
    // A map that is emptied keeps what was in it from being collected for long (passing-map.ts).
    this.#waiting = new Map()
    this.#waitingFrames = 0
    this.#waitingBytes = 0
  }

  /** `before`: as many frames waited a turn ago. */
  #waitForTurn(until: number, before = 1): void {
    this.#turn = setImmediate(() => {
      const frames = this.#waitingFrames
      if (frames > before && performance.now() < until) this.#waitForTurn(until, frames)
      else this.flush()
    })
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
    if (batch.length > 0) this.#options.publish(to, batch)
  }
}

/**
 * The body of a request that streams, on its way from the bus to the origin. The gateway holds it back until an origin
 * takes it: until then another connector still may.
 */

import { Readable } from 'node:stream'
import { BodyReceiver } from '#infra/body-receiver.ts'
import { encodeCredit } from '#infra/frames.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import { chunkBytes, initialCreditBytes } from '#infra/wire.ts'
import type { Owed } from './silence.ts'

export interface RequestBodyOptions {
  budget: StreamBudget
  /** Puts a frame on its way to the gateway. */
  send: (frame: Buffer) => void
}

export class RequestBody {
  readonly receiver: BodyReceiver
  /** What the origin reads. */
  readonly stream: Readable
  readonly #send: (frame: Buffer) => void
  #isAskedFor = false
  #trailers: readonly string[] = []

  /** `first` came together with the head. */
  constructor(first: Buffer, { budget, send }: RequestBodyOptions) {
    this.#send = send
    this.stream = new Readable({ highWaterMark: chunkBytes, read: () => this.#read() })
    this.stream.on('error', () => undefined)
    this.receiver = new BodyReceiver({
      budget,
      send,
      deliver: chunk => this.stream.push(chunk),
      onEnd: trailers => {
        this.#trailers = trailers
        this.stream.push(null)
      },
    })
    this.receiver.first(first)
  }

  /** What follows it; known once it has ended. */
  get trailers(): readonly string[] {
    return this.#trailers
  }

  /** What the origin owes before it answers; undefined while it is the client who sends nothing. */
  get owed(): Owed | undefined {
    if (this.stream.readableEnded) return 'firstByte'
    // Paused: the origin takes no more.
    return this.stream.readableFlowing === false ? 'idle' : undefined
  }

  get takenBytes(): number {
    const { receivedBytes, waitingBytes } = this.receiver
    return receivedBytes - waitingBytes - this.stream.readableLength
  }

  /** An answer that came before the end of the body leaves it unfinished. */
  close(): void {
    this.receiver.close()
    if (!this.stream.readableEnded) this.stream.destroy()
  }

  #read(): void {
    if (!this.#isAskedFor) this.#send(encodeCredit(initialCreditBytes))
    this.#isAskedFor = true
    this.receiver.drained()
  }
}

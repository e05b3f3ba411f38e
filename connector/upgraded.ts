/**
 * A request to switch protocols at the origin. If the origin does, two streams of bytes under credit go between its socket
 * and the bus, the upper one as the body of the answer, and both have to end; otherwise its answer is as any other.
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { BodyReceiver } from '#infra/body-receiver.ts'
import { breakOff } from '#infra/break-off.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import type { Answer } from './answer.ts'
import type { UpgradeSink } from './origin.ts'
import { asOriginError, type OriginError } from './origin-error.ts'
import { passOn } from './own-connection.ts'

export interface UpgradedOptions {
  answer: Answer
  budget: StreamBudget
  /** Puts a frame on its way to the gateway. */
  send: (frame: Buffer) => void
  /** Both directions have ended. */
  onEnded: () => void
}

export class UpgradedConnection implements UpgradeSink {
  readonly #options: UpgradedOptions
  #socket: Duplex | undefined
  #receiver: BodyReceiver | undefined

  constructor(options: UpgradedOptions) {
    this.#options = options
  }

  /** Takes what the client sends; undefined before the switch. */
  get receiver(): BodyReceiver | undefined {
    return this.#receiver
  }

  get takenBytes(): number {
    if (!this.#receiver) return 0
    const { receivedBytes, waitingBytes } = this.#receiver
    return receivedBytes - waitingBytes
  }

  /** Nobody has anything to say any more; the last of it may still be on its way to the origin. */
  get isSaid(): boolean {
    return this.#receiver?.isComplete === true && this.#socket?.readableEnded === true
  }

  started(): void {
    this.#options.answer.started()
  }

  information(status: number, headers: string[]): void {
    this.#options.answer.information(status, headers)
  }

  upgraded(reason: string, headers: string[], socket: Duplex, first: Buffer): void {
    const { answer, budget, send } = this.#options
    this.#socket = socket
    const receiver = new BodyReceiver({
      budget,
      send,
      deliver: chunk => socket.write(chunk),
      onEnd: () => socket.end(),
    })
    this.#receiver = receiver
    socket.on('drain', () => receiver.drained())
    socket.on('data', chunk => answer.data(chunk))
    socket.on('error', error => answer.failed(asOriginError(error)))
    socket.on('end', () => answer.end([]))
    socket.on('close', () => {
      answer.end([])
      receiver.close()
    })
    answer.switched(reason, headers, {
      control: {
        pause: () => socket.pause(),
        resume: () => socket.resume(),
        abort: () => breakOff(socket),
      },
      onEnded: () => this.#endWhenGone(socket),
    })
    if (first.length > 0) answer.data(first)
  }

  declined(response: IncomingMessage): void {
    passOn(response, this.#options.answer)
  }

  failed(error: OriginError): void {
    this.#options.answer.failed(error)
  }

  /** Nothing more is taken of what the client sends. */
  close(): void {
    if (!this.isSaid) this.#receiver?.close()
  }

  /** Goes on by itself until the origin has taken what has been said, or takes nothing for so long. */
  outlive(quietMs: number): void {
    const socket = this.#socket
    if (!socket || socket.closed) return
    let before = -1
    const timer = setInterval(() => {
      const taken = this.takenBytes - socket.writableLength
      if (taken === before) this.destroy()
      before = taken
    }, quietMs)
    socket.once('close', () => clearInterval(timer))
  }

  /** Breaks off the connection with the origin, if there is one. */
  destroy(): void {
    if (this.#socket) breakOff(this.#socket)
  }

  /** The origin may still be reading. */
  #endWhenGone(socket: Duplex): void {
    if (socket.closed) this.#options.onEnded()
    else socket.once('close', this.#options.onEnded)
  }
}

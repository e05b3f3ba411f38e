/**
 * The connector's end of a line for answers (infra/answer-line.ts). All that an exchange has to say goes by the line that it
 * began with, which hands everything on to the bus, in order, once its connection is gone.
 */

import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  batchIn,
  CountReader,
  encodeLineBroken,
  encodeLineMessage,
  type LineMessage,
  lineQuestion,
} from '#infra/answer-line.ts'
import type { BatchedFrame } from '#infra/frame-batch.ts'
import type { Logger } from '#infra/log.ts'
import { lostAfterMs } from '#infra/wire.ts'

export interface AnswerLineOptions {
  readonly gatewayId: string
  readonly key: string
  readonly socket: Duplex
  readonly log: Logger
  /** Puts a message for the gateway on the bus that is of no exchange, or of several. */
  readonly publish: (message: Buffer) => void
  /** Nobody knows how much of it has come: what has begun by this line cannot go on. */
  readonly onLost: (line: AnswerLine) => void
}

/** So many octets are sent before the gateway is asked how much has come: until it has said so they are kept. */
const askEveryBytes = 128 * 1024

/** A gateway that takes so little has to be told by the bus. */
const mostKeptBytes = 16 * 2 ** 20

/** What stands between the two ends may have forgotten the connection: found before a gateway takes requests for lost. */
const answerWithinMs = lostAfterMs / 2

/** Nothing that stands between the two ends should see it idle. */
const keepAliveMs = 15_000

/** A gateway that is still there says at once how much has come; it is asked again, for the bus may be away. */
const receivedWithinMs = 5_000
const askAgainMs = 500

export class AnswerLine {
  readonly #options: AnswerLineOptions
  readonly #counts = new CountReader()
  /** `broken` until it is known how much has come, then `bus`. */
  #state: 'open' | 'broken' | 'bus' = 'open'
  #sent = 0
  #acknowledged = 0
  /** What was sent and has not been acknowledged, oldest first. */
  #kept: LineMessage[] = []
  #keptBytes = 0
  #unaskedBytes = 0
  /** When the questions were asked that are still open. */
  #asked: number[] = []
  #usedAt = performance.now()
  #heardAt = performance.now()
  #brokenAt = 0
  #toldAt = 0
  #settled: (() => void)[] = []

  constructor(options: AnswerLineOptions) {
    this.#options = options
    const { socket } = options
    // What is small must not wait for what comes next.
    if (socket instanceof Socket) socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#hear(chunk))
    socket.on('error', () => undefined)
    socket.once('end', () => socket.destroy())
    socket.once('close', () => this.#break('it was closed'))
    socket.resume()
  }

  get key(): string {
    return this.#options.key
  }

  get gatewayId(): string {
    return this.#options.gatewayId
  }

  /** What begins now may go by it. */
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Everything that it was given has come, or is on the bus. */
  get isOver(): boolean {
    return this.#state === 'bus'
  }

  /** When it was given something last, by `performance.now()`. */
  get usedAt(): number {
    return this.#usedAt
  }

  send(frames: readonly BatchedFrame[]): void {
    const message = encodeLineMessage(frames)
    if (this.#state === 'bus') return this.#options.publish(batchIn(message))
    this.#kept.push(message)
    const bytes = bytesOf(message)
    this.#keptBytes += bytes
    this.#sent++
    if (this.#state === 'open') this.#write(message, bytes)
  }

  #write(message: LineMessage, bytes: number): void {
    const { socket } = this.#options
    this.#usedAt = performance.now()
    this.#unaskedBytes += bytes
    const [whole] = message
    if (message.length === 1 && this.#unaskedBytes < askEveryBytes) return void socket.write(whole)
    socket.cork()
    for (const part of message) socket.write(part)
    if (this.#unaskedBytes >= askEveryBytes) this.#ask(this.#usedAt)
    socket.uncork()
    if (this.#keptBytes > mostKeptBytes) this.#break('the gateway does not keep up')
  }

  #ask(now: number): void {
    this.#unaskedBytes = 0
    this.#asked.push(now)
    this.#options.socket.write(lineQuestion)
  }

  #hear(chunk: Buffer): void {
    if (this.#state !== 'open') return
    this.#heardAt = performance.now()
    for (const messages of this.#counts.read(chunk)) {
      this.#asked.shift()
      if (!this.#drop(messages)) return this.#break('the gateway says what cannot be')
    }
    if (this.#kept.length === 0) this.#settle()
  }

  /** Of what is kept, everything up to this message. */
  #drop(messages: number): boolean {
    if (!(messages >= this.#acknowledged && messages <= this.#sent)) return false
    for (const message of this.#kept.splice(0, messages - this.#acknowledged))
      this.#keptBytes -= bytesOf(message)
    this.#acknowledged = messages
    return true
  }

  /** Looks after it, now and then. `stoodStillMs`: so long this process has read nothing. */
  look(now: number, stoodStillMs: number): void {
    const [askedAt] = this.#asked
    if (this.#state === 'broken') {
      if (now - this.#brokenAt > receivedWithinMs + stoodStillMs) this.#lose()
      else if (now - this.#toldAt > askAgainMs) this.#tell(now)
    } else if (askedAt !== undefined) {
      // A long queue on a slow way is no silence: the gateway says how it gets shorter.
      const silentMs = now - Math.max(askedAt, this.#heardAt)
      if (silentMs > answerWithinMs + stoodStillMs) this.#break('nothing is heard from it')
    } else if (this.isOpen && (this.#kept.length > 0 || now - this.#heardAt > keepAliveMs)) {
      this.#ask(now)
    }
  }

  /** Resolves when the gateway has everything, or the bus. */
  async settled(): Promise<void> {
    if (this.#kept.length === 0) return
    if (this.isOpen) this.#ask(performance.now())
    await new Promise<void>(resolve => this.#settled.push(resolve))
  }

  #settle(): void {
    const settled = this.#settled
    this.#settled = []
    for (const resolve of settled) resolve()
  }

  #break(why: string): void {
    if (this.#state !== 'open') return
    const { socket, log, gatewayId: gateway } = this.#options
    log.debug({ gateway, why }, 'answers go over the bus again')
    this.#state = 'broken'
    this.#brokenAt = performance.now()
    this.#asked = []
    socket.destroy()
    if (this.#kept.length === 0) this.#goOverBus()
    else this.#tell(this.#brokenAt)
  }

  #tell(now: number): void {
    this.#toldAt = now
    this.#options.publish(encodeLineBroken(this.key))
  }

  /** The gateway has said how much has come, and takes no more of this line. */
  received(messages: number | undefined): void {
    if (this.#state !== 'broken') return
    if (messages === undefined || !this.#drop(messages)) this.#lose()
    else this.#goOverBus()
  }

  #goOverBus(): void {
    this.#state = 'bus'
    for (const message of this.#kept) this.#options.publish(batchIn(message))
    this.#kept = []
    this.#keptBytes = 0
    this.#settle()
  }

  #lose(): void {
    this.#kept = []
    this.#goOverBus()
    this.#options.onLost(this)
  }

  /** Ends it: whatever is not acknowledged goes over the bus. */
  end(): void {
    this.#break('it is not used any more')
  }
}

function bytesOf([head, frame]: LineMessage): number {
  return head.length + (frame?.length ?? 0)
}

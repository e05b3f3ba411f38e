/**
 * The origin's answer on its way to the gateway. One that is complete by the end of the event-loop turn, or known to be
 * small and soon complete, is one message; anything else streams under credit, and the origin is held back while there
 * is none. Nothing is sent any more once it is closed.
 */

import { BodySender } from '#infra/body-sender.ts'
import { largeBodyBytes } from '#infra/bulk.ts'
import { encodeInformation, encodeResponse } from '#infra/frames.ts'
import { headerValue, isMessageStream } from '#infra/http.ts'
import { initialCreditBytes, type RequestFrame, singleMessageBytes } from '#infra/wire.ts'
import { endlessInterim, InterimAnswers, isCoded, unknownCoding } from './answer-faults.ts'
import type { OriginControl, OriginSink } from './origin.ts'
import type { OriginError } from './origin-error.ts'
import type { Owed } from './silence.ts'
import { responseHeaders, type Translation, upgradeHeaders } from './translate.ts'

export interface AnswerOptions {
  /** The request. */
  frame: RequestFrame
  /** Puts a frame on its way to the gateway. */
  send: (frame: Buffer) => void
  /** An answer begins that will have a connection of its own, where there is one. */
  onLarge: () => void
  /** The first answer has been given, with this status. */
  onAnswered: (status: number) => void
}

/** Whose answer it is. */
export interface Answered {
  /** The head has been sent, the body follows. */
  streams(sender: BodySender): void
  /** All of it has been sent. */
  ended(): void
  failed(error: OriginError): void
}

interface Head {
  status: number
  reason: string
  headers: string[]
}

export interface Switch {
  control: OriginControl
  /** All that came on the connection has been sent. */
  onEnded: () => void
}

/** How long an answer of known, small length may take to become one message. */
const wholeWithinMs = 20

/** Smaller ones wait for what else comes in this turn: a message for every octet costs everybody more than the octets. */
const gatheredBytes = 1024

export class Answer implements OriginSink {
  readonly #options: AnswerOptions
  readonly #translation: Translation
  readonly #answered: Answered
  #control: OriginControl | undefined
  /** Until it has been sent. */
  #head: Head | undefined
  #collected: Buffer[] = []
  #collectedBytes = 0
  #flush: NodeJS.Immediate | undefined
  #flushLater: NodeJS.Timeout | undefined
  #sender: BodySender | undefined
  #isAwaited = false
  /** Waits for room on its way to the client. */
  #isHeldBack = false
  #headers: readonly string[] = []
  #gathered: Buffer[] = []
  #interim: InterimAnswers | undefined
  /** May be quiet for long. It is looked up when somebody asks, which is never for the short ones. */
  #isStream: boolean | undefined
  #bytes = 0
  #isClosed = false

  constructor(options: AnswerOptions, translation: Translation, answered: Answered) {
    this.#options = options
    this.#translation = translation
    this.#answered = answered
  }

  /** The origin has the request, or the beginning of it. */
  get isAwaited(): boolean {
    return this.#isAwaited
  }

  get hasBegun(): boolean {
    return this.#sender !== undefined || this.#head !== undefined
  }

  /** What has come of it; an interim answer counts as one byte. */
  get bytes(): number {
    return this.#bytes
  }

  /** Of an answer that streams, once its head has been sent. */
  get sender(): BodySender | undefined {
    return this.#sender
  }

  /** What it is the origin's turn to do now that it has begun; undefined while it waits for us. */
  get owed(): Owed | undefined {
    if (this.#isHeldBack || this.#sender?.isEnded) return undefined
    this.#isStream ??= isMessageStream(this.#headers)
    return this.#isStream ? 'streamIdle' : 'idle'
  }

  started(): void {
    this.#isAwaited = true
  }

  information(status: number, headers: string[]): void {
    if (this.#isClosed) return
    this.#bytes++
    const frame = encodeInformation(status, responseHeaders(this.#translation, headers))
    this.#interim ??= new InterimAnswers()
    if (this.#interim.isTooMuch(frame.length)) return this.failed(endlessInterim)
    if (status !== 101 && status !== 100) this.#options.send(frame)
  }

  head(status: number, reason: string, headers: string[], control: OriginControl): void {
    if (this.#mayHaveBody(status) && isCoded(headers)) return this.failed(unknownCoding)
    this.#control = control
    this.#headers = headers
    const translated = status === 426 ? upgradeHeaders : responseHeaders
    this.#head = { status, reason, headers: translated(this.#translation, headers) }
    // Whatever comes behind it is no part of it, be it nothing that could be read.
    if (!this.#mayHaveBody(status)) return this.end([])
    const length = headerValue(headers, 'content-length')
    if (length === undefined) this.#flush = setImmediate(() => this.#stream())
    else if (Number(length) > singleMessageBytes) this.#streamLong(Number(length))
    else this.#flush = setImmediate(() => this.#waitForWhole())
  }

  /** In place of a head: the origin switches protocols, and what it sends from here on goes the way of a body. */
  switched(reason: string, headers: string[], { control, onEnded }: Switch): void {
    this.#control = control
    this.#isStream = true
    this.#begin(onEnded)
    const head = { status: 101, reason, headers: upgradeHeaders(this.#translation, headers) }
    this.#sendHead(head, true, true)
  }

  data(chunk: Buffer): void {
    if (this.#isClosed) return
    this.#bytes += chunk.length
    if (this.#sender) {
      this.#gather(chunk)
      return
    }
    this.#collected.push(chunk)
    this.#collectedBytes += chunk.length
    if (this.#collectedBytes > singleMessageBytes) this.#stream()
  }

  end(trailers: string[]): void {
    if (this.#isClosed) return
    if (!this.#sender && trailers.length > 0) this.#stream()
    if (this.#sender) {
      this.#passGathered()
      this.#sender.end(trailers)
      return
    }
    if (this.#head) this.#sendHead(this.#head, false)
    this.#answered.ended()
  }

  failed(error: OriginError): void {
    // What came before may say why.
    this.#passGathered()
    this.#answered.failed(error)
  }

  close(): void {
    this.#isClosed = true
    this.#clearFlush()
  }

  /** An answer of known, small length may need another packet or two; one that trickles is not held back. */
  #waitForWhole(): void {
    this.#flushLater = setTimeout(() => this.#stream(), wholeWithinMs)
  }

  #mayHaveBody(status: number): boolean {
    return this.#options.frame.method !== 'HEAD' && status !== 204 && status !== 304
  }

  #gather(chunk: Buffer): void {
    if (this.#gathered.length === 0) {
      if (chunk.length >= gatheredBytes) return this.#pass(chunk)
      setImmediate(() => this.#passGathered())
    }
    this.#gathered.push(chunk)
  }

  #passGathered(): void {
    const [first, ...others] = this.#gathered
    this.#gathered = []
    if (first && !this.#isClosed)
      this.#pass(others.length > 0 ? Buffer.concat([first, ...others]) : first)
  }

  #pass(chunk: Buffer): void {
    if (!this.#sender?.write(chunk)) this.#holdBack()
  }

  #holdBack(): void {
    this.#isHeldBack = true
    this.#control?.pause()
  }

  #goOn(): void {
    this.#isHeldBack = false
    this.#control?.resume()
  }

  #streamLong(bytes: number): void {
    if (bytes >= largeBodyBytes) this.#options.onLarge()
    this.#stream()
  }

  /** Sends the head with what has been collected; the rest follows under credit. */
  #stream(): void {
    const head = this.#head
    if (!head || this.#isClosed) return
    const sender = this.#begin(() => this.#answered.ended())
    this.#sendHead(head, true)
    this.#answered.streams(sender)
  }

  #begin(onEnded: () => void): BodySender {
    const sender = new BodySender({
      send: this.#options.send,
      creditBytes: initialCreditBytes,
      firstBytes: this.#collectedBytes,
      onWritable: () => this.#goOn(),
      onEnded,
    })
    this.#sender = sender
    return sender
  }

  #sendHead(head: Head, bodyFollows: boolean, isUpgrade = false): void {
    this.#clearFlush()
    const [first = Buffer.alloc(0)] = this.#collected
    const body = this.#collected.length < 2 ? first : Buffer.concat(this.#collected)
    this.#head = undefined
    this.#collected = []
    this.#options.send(encodeResponse({ ...head, body, bodyFollows, isUpgrade }))
    this.#options.onAnswered(head.status)
  }

  #clearFlush(): void {
    if (this.#flush) clearImmediate(this.#flush)
    clearTimeout(this.#flushLater)
  }
}

/**
 * One exchange at the connector: the request goes to the origin, the answer goes up. An answer that is complete by
 * the end of the event-loop turn, or known to be small and soon complete, is one message; anything else streams under
 * credit.
 */

import type { IncomingMessage } from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import { BodyReceiver } from '#infra/body-receiver.ts'
import { BodySender } from '#infra/body-sender.ts'
import { BulkSwitch } from '#infra/bulk-switch.ts'
import type { Application } from '#infra/contracts/application.ts'
import { methodClassOf } from '#infra/contracts/http-methods.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { headerValue } from '#infra/http.ts'
import type { Logger } from '#infra/log.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import {
  chunkBytes,
  type DownFrame,
  encodeAccepted,
  encodeCancel,
  encodeCredit,
  encodeInformation,
  encodeRefused,
  encodeResponse,
  initialCreditBytes,
  type RequestFrame,
  singleMessageBytes,
} from '#infra/wire.ts'
import type { BulkDialer } from './bulk-dialer.ts'
import type { OriginControl, OriginRequest, OriginSink, Origins } from './origin.ts'
import { asOriginError, OriginError } from './origin-error.ts'
import { rawRequest } from './raw-request.ts'
import { isEventStream, type Owed, Silence } from './silence.ts'
import {
  internalTarget,
  requestHeaders,
  responseHeaders,
  type Translation,
  translationOf,
} from './translate.ts'
import type { SiteVeto } from './veto/site-veto.ts'

export interface ExchangeOptions {
  frame: RequestFrame
  application: Application
  claims: LeaseClaims
  origins: Origins
  /** What all bodies and upgraded connections of this process share. */
  budget: StreamBudget
  /** The way past the bus for large bodies; undefined where there is none. */
  bulk?: BulkDialer | undefined
  /** What the owner of the site has to say; undefined when there is nothing. */
  veto?: SiteVeto | undefined
  log: Logger
  send: (frame: Buffer) => void
  /** The first answer has been given, with this status. */
  onAnswered: (status: number) => void
  /** No connection to the origin could be made. */
  onUnreachable: (reason: string) => void
  onClosed: () => void
}

interface Head {
  status: number
  reason: string
  headers: string[]
}

/** How long an answer of known, small length may take to become one message. */
const wholeWithinMs = 20

export class Exchange implements OriginSink {
  readonly startedAt = performance.now()
  /** Of `carriedBytes`, what is in the connector's sum already. */
  countedBytes = 0
  /** What the lease says; replaced when a renewed one arrives. */
  claims: LeaseClaims
  readonly #options: ExchangeOptions
  readonly #translation: Translation
  #abortOrigin: (() => void) | undefined
  #control: OriginControl | undefined
  /** The response head, until it has been sent. */
  #head: Head | undefined
  #collected: Buffer[] = []
  #collectedBytes = 0
  #flush: NodeJS.Immediate | undefined
  #flushLater: NodeJS.Timeout | undefined
  #sender: BodySender | undefined
  #receiver: BodyReceiver | undefined
  #requestBody: Readable | undefined
  #requestTrailers: readonly string[] = []
  #socket: Duplex | undefined
  #silence: Silence | undefined
  #isStarted = false
  /** The answer waits for room on its way to the client. */
  #isHeldBack = false
  #answerHeaders: readonly string[] = []
  /** May be quiet for long. Of an answer it is looked up when somebody asks, which is never for the short ones. */
  #isStream: boolean | undefined
  #originBytes = 0
  /** Once the gateway has offered a connection for large bodies. */
  #bulk: BulkSwitch | undefined
  #isClosed = false

  constructor(options: ExchangeOptions) {
    this.#options = options
    this.claims = options.claims
    this.#translation = translationOf(options.application, options.frame.headers)
  }

  start(): void {
    const { frame, application, origins } = this.#options
    if (this.endIfReadOnly() || this.endIfVetoed()) return
    const request: OriginRequest = {
      method: frame.method,
      target: internalTarget(this.#translation, frame.target),
      headers: requestHeaders(this.#translation, frame.headers),
      body: frame.bodyFollows && !frame.isUpgrade ? this.#receiveBody() : this.#wholeBody(),
    }
    if (this.#requestBody) request.trailers = () => this.#requestTrailers
    request.claims = this.claims
    if (frame.isRaw) request.raw = rawRequest(frame, application, this.#translation)
    try {
      this.#abortOrigin = frame.isUpgrade
        ? origins.upgrade(application, request, {
            started: () => this.started(),
            upgraded: (reason, headers, socket, first) =>
              this.#upgraded({ status: 101, reason, headers }, socket, first),
            declined: response => this.#declined(response),
            failed: error => this.failed(error),
          })
        : origins.send(application, request, this)
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error))
      this.failed(new OriginError('bad_request', cause.message, false, { cause }))
    }
  }

  /** What the gateway makes of the lease does not count; and one that is renewed may be for less than before. */
  endIfReadOnly(): boolean {
    const { methods } = this.claims
    if (methods === undefined || methodClassOf(this.#options.frame) === methods) return false
    this.cancel('read_only', `the lease is for ${methods} methods`)
    return true
  }

  /** Asked before the origin hears of the request, and again whenever the answer may be another. */
  endIfVetoed(): boolean {
    const { veto, frame } = this.#options
    if (!veto) return false
    const { method, headers, isUpgrade } = frame
    const target = internalTarget(this.#translation, frame.target)
    const question = { method, target, headers, isUpgrade, claims: this.claims }
    const reason = veto.reasonAgainst(question)
    if (reason === undefined) return false
    this.cancel('site_veto', reason)
    return true
  }

  /** Tells the gateway that the request has been taken and needs more time. */
  accept(): void {
    this.#options.send(encodeAccepted())
  }

  receive(frame: DownFrame): void {
    try {
      switch (frame.type) {
        case 'data':
          this.#receiver?.data(frame.data)
          break
        case 'end':
          this.#receiver?.end(frame.bodyBytes, frame.trailers)
          break
        case 'credit':
          this.#sender?.grant(frame.bytes)
          break
        case 'cancel':
          this.#close(true)
          break
        case 'bulk':
          this.#dialBulk(frame.key)
          break
      }
    } catch (error) {
      this.cancel('protocol_error', error instanceof Error ? error.message : String(error))
    }
  }

  #dialBulk(key: string): void {
    const { bulk } = this.#options
    if (!bulk || this.#bulk) return
    const bodies = new BulkSwitch({
      broken: detail => this.cancel('protocol_error', detail),
      lost: detail => this.cancel('connector_lost', detail),
    })
    this.#bulk = bodies
    if (this.#sender) bodies.sends(this.#sender)
    if (this.#receiver) bodies.receives(this.#receiver)
    bulk.dial(key, {
      isWanted: () => !this.#isClosed,
      ready: connection => bodies.take(connection),
    })
  }

  /** Breaks off: the gateway is told why, the origin's request is aborted. */
  cancel(code: string, detail: string): void {
    if (this.#isClosed) return
    const hasSentHead = this.#sender !== undefined
    this.#options.send(
      hasSentHead ? encodeCancel(code, detail) : encodeRefused(code, detail, false),
    )
    this.#close(true)
  }

  /** Bytes of bodies and of an upgraded connection, both ways, since it began. */
  get carriedBytes(): number {
    if (!this.#isStarted && this.#originBytes === 0) return 0
    const sent = this.#options.frame.body.length + (this.#receiver?.receivedBytes ?? 0)
    return sent + this.#originBytes
  }

  /** Fails when the origin has been silent for too long; called every now and then. */
  checkSilence(now: number): void {
    this.#silence ??= new Silence(this.#options.application.onPremisesPublishing)
    const waiting = (this.#requestBody?.readableLength ?? 0) + (this.#receiver?.waitingBytes ?? 0)
    const moved = this.#originBytes + (this.#receiver?.receivedBytes ?? 0) - waiting
    const failure = this.#silence.look(this.#owed(), moved, now)
    if (failure) this.failed(failure)
  }

  /** What it is the origin's turn to do; undefined while it waits for us, or for a connection. */
  #owed(): Owed | undefined {
    if (!this.#isStarted || this.#isHeldBack || this.#sender?.isEnded) return undefined
    if (this.#sender || this.#head) {
      this.#isStream ??= isEventStream(this.#answerHeaders)
      return this.#isStream ? 'streamIdle' : 'idle'
    }
    const body = this.#requestBody
    if (!body || body.readableEnded) return 'firstByte'
    // Paused: the origin takes no more. Otherwise it is the client who sends nothing.
    return body.readableFlowing === false ? 'idle' : undefined
  }

  #wholeBody(): Buffer | null {
    return this.#options.frame.body.length > 0 ? this.#options.frame.body : null
  }

  #receiveBody(): Readable {
    const { frame, send, budget } = this.#options
    let isAskedFor = false
    const body = new Readable({
      highWaterMark: chunkBytes,
      read: () => {
        // The gateway holds the body back until an origin takes it: until then another connector still may.
        if (!isAskedFor) send(encodeCredit(initialCreditBytes))
        isAskedFor = true
        this.#receiver?.drained()
      },
    })
    body.on('error', () => undefined)
    this.#requestBody = body
    this.#receiver = new BodyReceiver({
      budget,
      send,
      deliver: chunk => body.push(chunk),
      onEnd: trailers => {
        this.#requestTrailers = trailers
        body.push(null)
      },
    })
    this.#receiver.first(frame.body)
    return body
  }

  started(): void {
    this.#isStarted = true
  }

  information(status: number, headers: string[]): void {
    this.#originBytes++
    if (status === 101 || status === 100) return
    this.#options.send(encodeInformation(status, responseHeaders(this.#translation, headers)))
  }

  head(status: number, reason: string, headers: string[], control: OriginControl): void {
    this.#control = control
    this.#answerHeaders = headers
    this.#head = { status, reason, headers: responseHeaders(this.#translation, headers) }
    const length = headerValue(headers, 'content-length')
    if (length === undefined) this.#flush = setImmediate(() => this.#stream())
    else if (Number(length) > singleMessageBytes && this.#mayHaveBody(status)) this.#stream()
    else this.#flush = setImmediate(() => this.#waitForWhole())
  }

  /** An answer of known, small length may need another packet or two; one that trickles is not held back. */
  #waitForWhole(): void {
    this.#flushLater = setTimeout(() => this.#stream(), wholeWithinMs)
  }

  #mayHaveBody(status: number): boolean {
    return this.#options.frame.method !== 'HEAD' && status !== 204 && status !== 304
  }

  data(chunk: Buffer): void {
    if (this.#isClosed) return
    this.#originBytes += chunk.length
    if (this.#sender) {
      if (!this.#sender.write(chunk)) this.#holdBack()
      return
    }
    this.#collected.push(chunk)
    this.#collectedBytes += chunk.length
    if (this.#collectedBytes > singleMessageBytes) this.#stream()
  }

  #holdBack(): void {
    this.#isHeldBack = true
    this.#control?.pause()
  }

  #goOn(): void {
    this.#isHeldBack = false
    this.#control?.resume()
  }

  end(trailers: string[]): void {
    if (this.#isClosed) return
    if (!this.#sender && trailers.length > 0) this.#stream()
    if (this.#sender) {
      this.#sender.end(trailers)
      return
    }
    if (this.#head) this.#sendHead(this.#head, false)
    this.#close(false)
  }

  failed(error: OriginError): void {
    if (this.#isClosed) return
    this.#options.log.debug({ code: error.code, reason: error.message }, 'origin failed')
    if (this.#sender) {
      this.cancel(error.code, error.message)
      return
    }
    const isNeverStarted = !error.isStarted && error.code === 'origin_unreachable'
    if (isNeverStarted) this.#options.onUnreachable(error.message)
    const code = isNeverStarted ? 'not_ready' : error.code
    // Another connector may have a keytab that works, and a KDC that answers.
    const mayGoOn = isNeverStarted || (!error.isStarted && error.code === 'sign_on_unavailable')
    this.#options.send(encodeRefused(code, error.message, mayGoOn))
    this.#close(true)
  }

  /** Sends the head with what has been collected; the rest follows under credit. */
  #stream(): void {
    const head = this.#head
    if (!head || this.#isClosed) return
    this.#sender = new BodySender({
      send: this.#options.send,
      creditBytes: initialCreditBytes,
      firstBytes: this.#collectedBytes,
      onWritable: () => this.#goOn(),
      onEnded: () => this.#close(false),
    })
    this.#sendHead(head, true)
    this.#bulk?.sends(this.#sender)
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

  /** A switched protocol: the same two byte streams, between the origin's socket and the bus. */
  #upgraded(head: Head, socket: Duplex, first: Buffer): void {
    this.#socket = socket
    this.#isStream = true
    this.#control = {
      pause: () => socket.pause(),
      resume: () => socket.resume(),
      abort: () => socket.destroy(),
    }
    this.#sender = new BodySender({
      send: this.#options.send,
      creditBytes: initialCreditBytes,
      onWritable: () => this.#goOn(),
      onEnded: () => this.#closeWhenGone(socket),
    })
    this.#receiver = new BodyReceiver({
      budget: this.#options.budget,
      send: this.#options.send,
      deliver: chunk => socket.write(chunk),
      onEnd: () => socket.end(),
    })
    socket.on('drain', () => this.#receiver?.drained())
    socket.on('data', chunk => this.data(chunk))
    socket.on('error', error => this.failed(asOriginError(error)))
    socket.on('end', () => this.#sender?.end())
    socket.on('close', () => this.#sender?.end())
    this.#sendHead(
      { ...head, headers: upgradeHeaders(this.#translation, head.headers) },
      true,
      true,
    )
    if (first.length > 0) this.data(first)
  }

  /** Both directions of an upgraded connection have to end; the origin may still be reading. */
  #closeWhenGone(socket: Duplex): void {
    if (socket.closed) this.#close(false)
    else socket.once('close', () => this.#close(false))
  }

  #declined(response: IncomingMessage): void {
    this.head(response.statusCode ?? 502, response.statusMessage ?? '', response.rawHeaders, {
      pause: () => response.pause(),
      resume: () => response.resume(),
      abort: () => response.destroy(),
    })
    response.on('data', chunk => this.data(chunk))
    response.on('end', () => this.end(response.rawTrailers))
    response.on('error', error => this.failed(asOriginError(error)))
  }

  #clearFlush(): void {
    if (this.#flush) clearImmediate(this.#flush)
    clearTimeout(this.#flushLater)
  }

  #close(abortsOrigin: boolean): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#clearFlush()
    this.#receiver?.close()
    if (abortsOrigin) this.#bulk?.destroy()
    else this.#bulk?.finish()
    // An answer that came before the end of the request body leaves that body unfinished.
    if (this.#requestBody && !this.#requestBody.readableEnded) this.#requestBody.destroy()
    if (abortsOrigin) {
      this.#abortOrigin?.()
      this.#socket?.destroy()
    }
    this.#options.onClosed()
  }
}

/** Headers of a 101: as any response, but Connection and Upgrade belong to the protocol switch (RFC 9110 §7.8). */
function upgradeHeaders(translation: Translation, headers: readonly string[]): string[] {
  const result = responseHeaders(translation, headers)
  const protocol = headerValue(headers, 'upgrade')
  if (protocol !== undefined) result.push('Connection', 'Upgrade', 'Upgrade', protocol)
  return result
}

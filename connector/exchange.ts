/**
 * One exchange at the connector: what its request becomes (request-body.ts, upgraded.ts) and its answer (answer.ts) belong
 * to it, and it ends when the answer has been sent, or at once when the client leaves, the origin fails, or nobody may
 * have an answer any more.
 */

import type { BodyReceiver } from '#infra/body-receiver.ts'
import type { BodySender } from '#infra/body-sender.ts'
import { BulkConnection } from '#infra/bulk.ts'
import { BulkSwitch } from '#infra/bulk-switch.ts'
import { type Application, originTimeoutsMs } from '#infra/contracts/application.ts'
import { methodClassOf } from '#infra/contracts/http-methods.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { detailOf } from '#infra/errors.ts'
import { encodeAccepted, encodeCancel, encodeInformation, encodeRefused } from '#infra/frames.ts'
import { isAmbiguousPath, isBelow, pathOf } from '#infra/http.ts'
import type { Logger } from '#infra/log.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import type { DownFrame } from '#infra/wire.ts'
import { Answer, type Answered, type AnswerOptions } from './answer.ts'
import type { AnswerWay } from './answer-ways.ts'
import type { DirectDialer } from './direct-dialer.ts'
import type { OriginRequest, Origins } from './origin.ts'
import { OriginError } from './origin-error.ts'
import { rawRequest } from './raw-request.ts'
import { RequestBody } from './request-body.ts'
import { type Owed, Silence } from './silence.ts'
import {
  destinations,
  internalTarget,
  requestHeaders,
  type Translation,
  translationOf,
} from './translate.ts'
import { UpgradedConnection } from './upgraded.ts'
import type { SiteVeto } from './veto/site-veto.ts'

export interface ExchangeOptions extends AnswerOptions {
  application: Application
  claims: LeaseClaims
  origins: Origins
  /** What all bodies and upgraded connections of this process share. */
  budget: StreamBudget
  /** The way past the bus for large bodies; undefined where there is none. */
  direct?: DirectDialer | undefined
  /** What the owner of the site has to say; undefined when there is nothing. */
  veto?: SiteVeto | undefined
  log: Logger
  /** No connection to the origin could be made. */
  onUnreachable: (reason: string) => void
  onClosed: () => void
}

export class Exchange implements Answered {
  readonly startedAt = performance.now()
  /** Of `carriedBytes`, what is in the connector's sum already. */
  countedBytes = 0
  /** Among the requests of its application that have not been answered. */
  countsAsAwaited = true
  /** By which it answers, from its first frame on. */
  way: AnswerWay | undefined
  readonly #options: ExchangeOptions
  readonly #translation: Translation
  readonly #answer: Answer
  #claims: LeaseClaims
  #abortOrigin: (() => void) | undefined
  /** Of a request whose body streams. */
  #body: RequestBody | undefined
  /** Of a request to switch protocols. */
  #upgraded: UpgradedConnection | undefined
  /** Once the gateway has offered a connection for large bodies. */
  #bulk: BulkSwitch | undefined
  #silence: Silence | undefined
  #isClosed = false

  constructor(options: ExchangeOptions) {
    this.#options = options
    this.#claims = options.claims
    this.#translation = translationOf(options.application, options.frame.headers)
    this.#answer = new Answer(options, this.#translation, this)
  }

  /** What the lease says, the latest one. */
  get claims(): LeaseClaims {
    return this.#claims
  }

  /** It is to become a connection that stays open for as long as its client likes. */
  get isUpgrade(): boolean {
    return this.#options.frame.isUpgrade
  }

  get gatewayId(): string {
    return this.#options.frame.gatewayId
  }

  start(): void {
    if (this.#endIfReadOnly() || this.endIfVetoed() || this.#endIfAstray()) return
    const { frame, application, origins } = this.#options
    const request = this.#request()
    try {
      this.#abortOrigin = frame.isUpgrade
        ? origins.upgrade(application, request, this.#upgrade())
        : origins.send(application, request, this.#answer)
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error))
      this.failed(new OriginError('bad_request', cause.message, false, { cause }))
    }
  }

  /** Goes on by a renewed lease, which may be for less than before. */
  renew(claims: LeaseClaims): void {
    this.#claims = claims
    // The user may have come into a group whom the site's owner keeps out.
    if (!this.#endIfReadOnly()) this.endIfVetoed()
  }

  /** Asked before the origin hears of the request, and again whenever the answer may be another. */
  endIfVetoed(): boolean {
    const { veto, frame } = this.#options
    if (!veto) return false
    const { method, headers, isUpgrade } = frame
    const targets = [internalTarget(this.#translation, frame.target), ...this.#destinations()]
    const reason = targets
      .map(target => ({ method, target, headers, isUpgrade, claims: this.#claims }))
      .map(question => veto.reasonAgainst(question))
      .find(said => said !== undefined)
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
          this.#answer.sender?.grant(frame.bytes)
          break
        case 'cancel':
          this.leave()
          break
        case 'bulk':
          this.#dialBulk(frame.key)
          break
      }
    } catch (error) {
      this.cancel('protocol_error', detailOf(error))
    }
  }

  /** Nobody waits for it any more, but the origin for what it has not got yet of a connection that has ended well. */
  leave(): void {
    if (!this.#upgraded?.isSaid) return this.#close(true)
    this.#upgraded.outlive(originTimeoutsMs(this.#options.application.onPremisesPublishing).idle)
    this.#close(false)
  }

  /** Breaks off: the gateway is told why, the origin's request is aborted. */
  cancel(code: string, detail: string): void {
    if (this.#isClosed) return
    const hasSentHead = this.#answer.sender !== undefined
    this.#options.send(
      hasSentHead ? encodeCancel(code, detail) : encodeRefused(code, detail, false),
    )
    this.#close(true)
  }

  /** Bytes of bodies and of an upgraded connection, both ways, since it began. */
  get carriedBytes(): number {
    const { isAwaited, bytes } = this.#answer
    if (!isAwaited && bytes === 0) return 0
    return this.#options.frame.body.length + (this.#receiver?.receivedBytes ?? 0) + bytes
  }

  /** Fails when the origin has been silent for too long; called every now and then. */
  checkSilence(now: number): void {
    this.#silence ??= new Silence(this.#options.application.onPremisesPublishing)
    const takenBytes = this.#body?.takenBytes ?? this.#upgraded?.takenBytes ?? 0
    const failure = this.#silence.look(this.#owed(), this.#answer.bytes + takenBytes, now)
    if (failure) this.failed(failure)
  }

  streams(sender: BodySender): void {
    this.#bulk?.sends(sender)
  }

  ended(): void {
    this.#close(false)
  }

  failed(error: OriginError): void {
    if (this.#isClosed) return
    this.#options.log.debug({ code: error.code, reason: error.message }, 'origin failed')
    if (this.#answer.sender) {
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

  /** What the gateway makes of the lease does not count. */
  #endIfReadOnly(): boolean {
    const { methods } = this.#claims
    if (methods === undefined || methodClassOf(this.#options.frame) === methods) return false
    this.cancel('read_only', `the lease is for ${methods} methods`)
    return true
  }

  /** COPY and MOVE lead out of what is published no more than any other request. */
  #endIfAstray(): boolean {
    const { internalPath } = this.#translation
    if (internalPath === '/') return false
    const astray = this.#destinations().find(target => {
      const path = pathOf(target)
      return isAmbiguousPath(path) || !isBelow(path, internalPath)
    })
    if (astray === undefined) return false
    this.cancel('not_found', `the Destination ${astray} is not below ${internalPath}`)
    return true
  }

  #destinations(): string[] {
    const { frame } = this.#options
    return methodClassOf(frame) === 'unsafe' ? destinations(this.#translation, frame.headers) : []
  }

  #request(): OriginRequest {
    const { frame, application } = this.#options
    const body = this.#streamingBody()
    const request: OriginRequest = {
      method: frame.method,
      target: internalTarget(this.#translation, frame.target),
      headers: requestHeaders(this.#translation, frame.headers),
      body: body?.stream ?? (frame.body.length > 0 ? frame.body : null),
    }
    if (body) request.trailers = () => body.trailers
    request.claims = this.#claims
    if (frame.isRaw) {
      const answered = (status: number) => this.#sayStatus(status)
      request.raw = { ...rawRequest(frame, application, this.#translation), answered }
    }
    return request
  }

  /** Of an answer whose head is among the bytes of the connection. */
  #sayStatus(status: number): void {
    if (!this.#isClosed) this.#options.send(encodeInformation(status, []))
  }

  #streamingBody(): RequestBody | undefined {
    const { frame } = this.#options
    if (frame.bodyFollows && !frame.isUpgrade) {
      this.#body = new RequestBody(frame.body, this.#options)
    }
    return this.#body
  }

  #upgrade(): UpgradedConnection {
    const { budget, send } = this.#options
    const onEnded = () => this.ended()
    this.#upgraded = new UpgradedConnection({ answer: this.#answer, budget, send, onEnded })
    return this.#upgraded
  }

  /** Of what the client sends. */
  get #receiver(): BodyReceiver | undefined {
    return this.#body?.receiver ?? this.#upgraded?.receiver
  }

  #dialBulk(key: string): void {
    const { direct } = this.#options
    if (!direct || this.#bulk) return
    const bodies = new BulkSwitch({
      broken: detail => this.cancel('protocol_error', detail),
      lost: detail => this.cancel('connector_lost', detail),
    })
    this.#bulk = bodies
    if (this.#answer.sender) bodies.sends(this.#answer.sender)
    if (this.#receiver) bodies.receives(this.#receiver)
    direct.dial(key, {
      isWanted: () => !this.#isClosed,
      ready: (socket, first) => bodies.take(new BulkConnection(socket, first)),
    })
  }

  /** What it is the origin's turn to do; undefined while it waits for us, or for a connection. */
  #owed(): Owed | undefined {
    if (!this.#answer.isAwaited) return undefined
    if (this.#answer.hasBegun) return this.#answer.owed
    return this.#body ? this.#body.owed : 'firstByte'
  }

  #close(abortsOrigin: boolean): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#answer.close()
    this.#body?.close()
    this.#upgraded?.close()
    if (abortsOrigin) this.#abort()
    else this.#bulk?.finish()
    this.#options.onClosed()
  }

  #abort(): void {
    this.#bulk?.destroy()
    this.#abortOrigin?.()
    this.#upgraded?.destroy()
  }
}

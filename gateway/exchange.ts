/**
 * One request of a client on its way to a connector and back.
 *
 * What may be sent again: a request that is known to be never started (no responders, busy, not ready, not informed,
 * lease unknown, expired) goes to another member of the group, whatever its method. Silence or a lost connector proves nothing: only a
 * safe method without a body is sent once more, and only before the response head. Nothing else is ever sent twice.
 */

import type { Application } from '#infra/contracts/application.ts'
import { connectorIdOf } from '#infra/contracts/connector.ts'
import { type MethodClass, methodClassOf } from '#infra/contracts/http-methods.ts'
import type { Decision } from '#infra/contracts/policy.ts'
import { type FaultCode, isFaultCode } from '#infra/errors.ts'
import { BodyReceiver, BodySender } from '#infra/exchange.ts'
import { headerValue } from '#infra/http.ts'
import { allowedTrailers } from '#infra/trailers.ts'
import {
  encodeCancel,
  encodeRequest,
  leaseReference,
  lostAfterMs,
  type RefusedFrame,
  type ResponseFrame,
  type UpFrame,
} from '#infra/wire.ts'
import { clientHeaders, informationHeaders, switchingHead } from './answer.ts'
import type { Grant, Question } from './authorize.ts'
import { discardBody } from './discard.ts'
import type { ClientRequest, ClientResponse, Upgrade } from './front/client.ts'
import type { Awaited } from './front/patience.ts'
import type { Incoming } from './incoming.ts'
import type { Relay } from './relay.ts'
import { UpgradedConnection } from './upgraded.ts'
import { closeCodes } from './websocket.ts'

export interface ExchangeRequest {
  readonly incoming: Incoming
  readonly application: Application
  readonly question: Question
  readonly grant: Grant
  readonly headers: readonly string[]
  /** The whole body, when it is small. */
  readonly body: Buffer
  /** The body streams from `req`. */
  readonly bodyFollows: boolean
  readonly req: ClientRequest
  readonly res: ClientResponse
  /** For a request that asks to switch protocols. */
  readonly upgrade: Upgrade | undefined
  readonly onDone: (outcome: Outcome) => void
}

export interface Outcome {
  /** Set when Sallyport could not get an answer, or broke it off. */
  readonly fault?: FaultCode
  readonly faultDetail?: string
  /** The one that ended it; undefined when access ended without a decision. */
  readonly decision?: Decision | undefined
  /** The client went away. */
  readonly isAborted?: boolean
  /** It went on by a lease that had ended, while policy was away. */
  readonly isOnLastLease?: boolean
  readonly status: number | null
  readonly connectorId: string | null
  /** Whose connectors were asked last. */
  readonly connectorGroupId?: string
  readonly attempts: number
  readonly requestBytes: number
  readonly responseBytes: number
  /** `performance.now()` of the response head. */
  readonly respondedAt: number | null
}

/**
 * Bounds for the search of a member that can take the request. A group that has too much to do says so within 50 ms;
 * an origin that only some members reach is worth a longer search, which ends as soon as all of them have refused.
 */
const maxAttempts = 32
/** So many are made however long they take: on a busy machine one refusal may come later than the search should end. */
const leastAttempts = 4
const maxSearchMs = 30
const maxReachSearchMs = 500
/** How long connectors may take to hear of an application or a lease key that this gateway knows, and the pauses. */
const maxInformMs = 1_000
const informWaitMs = 20
/** Pause before an empty queue is asked again while members are known to be alive. */
const emptyQueueWaitMs = 5
/** With a standby group it is worth waiting for the news that those members are gone. */
const maxGoneSearchMs = 300
const goneWaitMs = 15

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

export class Exchange implements Awaited {
  readonly request: ExchangeRequest
  /** Whose queue it goes to: of the application's group, or of its standby group when that cannot serve it. */
  groupId: string
  /** The connector that took it, or the worker of one, as the bus knows it. */
  connectorId: string | undefined
  sentAt = 0
  /** The latest one; goes with the request however often that is sent. */
  lease: string
  leaseExpiresAtMs: number
  /** It went on after the end of its lease, because nobody was there to renew it. */
  hasUsedLastLease: boolean
  /** When the relay asks for the next lease; undefined until it has looked. */
  renewAtMs: number | undefined
  /** Policy was asked for it, and has not answered. */
  isRenewedInVain = false
  readonly #relay: Relay
  readonly #startedAt = performance.now()
  #searchingSince = this.#startedAt
  #hasWaitedInVain = false
  readonly #refusedBy = new Set<string>()
  #lastRefusal: RefusedFrame | undefined
  #exchangeId = ''
  #attempts = 0
  /** Made before the standby group was turned to. */
  #attemptsBefore = 0
  #hasRepeated = false
  /** A connector did not know the lease by its reference. */
  #needsWholeLease = false
  #status: number | null = null
  #respondedAt: number | null = null
  #wholeBytes = 0
  #sender: BodySender | undefined
  #receiver: BodyReceiver | undefined
  #upgraded: UpgradedConnection | undefined
  #isDone = false

  constructor(relay: Relay, request: ExchangeRequest) {
    this.#relay = relay
    this.request = request
    this.groupId = request.application.connectorGroupId
    this.lease = request.grant.lease
    this.leaseExpiresAtMs = request.grant.expiresAtMs
    this.hasUsedLastLease = request.grant.isLast === true
    if (request.grant.isOutdated) this.renewAtMs = 0
  }

  start(): void {
    this.request.res.once('close', () => this.#clientClosed())
    this.#send()
  }

  receive(connectorId: string, frame: UpFrame): void {
    this.connectorId ??= connectorId
    // Each attempt has an id of its own, which only the member that was asked is told.
    if (this.connectorId !== connectorId) return this.#relay.answeredForAnother(connectorId)
    try {
      this.#take(frame)
    } catch (error) {
      this.broken(error instanceof Error ? error.message : String(error))
    }
  }

  noResponders(): void {
    const { members } = this.#relay.context
    const isAlive = members.liveIn(this.groupId) > 0
    if (isAlive) members.call(this.groupId)
    // Connectors come back to the bus a little after or before this gateway.
    if (this.#relay.isSettling) return this.#sendIn(informWaitMs)
    if (isAlive && this.#maySearch(this.#hasStandby ? maxGoneSearchMs : maxSearchMs))
      return this.#sendIn(this.#hasStandby ? goneWaitMs : emptyQueueWaitMs)
    if (this.#lastRefusal) this.#failAsRefused(this.#lastRefusal)
    else if (isAlive) this.#fail('connectors_busy', 'the queue of the group is empty')
    else if (!this.#turnToStandby())
      this.#fail('no_connector', 'no connector of the group is online')
  }

  /** The connector, or the way to it, is gone or silent. */
  lost(detail: string): void {
    const { method, hasBody } = this.request.incoming
    // Nothing is missing but a client that takes it.
    if (this.#receiver?.isComplete && !this.#upgraded) return
    const mayRepeat =
      safeMethods.has(method) && !hasBody && !this.request.upgrade && this.#status === null
    if (!mayRepeat || this.#hasRepeated) return this.#fail('connector_lost', detail)
    this.#hasRepeated = true
    this.#send()
  }

  broken(detail: string): void {
    this.#cancelConnector('protocol_error')
    this.#fail('protocol_error', detail)
  }

  /** Access has ended while the exchange was under way: by a revocation, or because policy has decided so. */
  revoked(decision?: Decision): void {
    const fault = decision?.isReadOnly ? 'read_only' : 'session_revoked'
    this.#cancelConnector(fault)
    this.#fail(fault, 'access was revoked', decision)
  }

  /** Nobody has said that access goes on, and the time is over for which it was said last. */
  leaseEnded(): void {
    this.#cancelConnector('session_revoked')
    this.#fail('session_revoked', 'the lease ended')
  }

  /** Access may end for one class alone. */
  get methods(): MethodClass {
    const { incoming, headers, upgrade } = this.request
    return methodClassOf({ method: incoming.method, headers, isUpgrade: upgrade !== undefined })
  }

  /** This gateway stops. */
  stopped(): void {
    this.#cancelConnector('aborted')
    this.#fail('bus_unavailable', 'the gateway stops')
  }

  sendDown(frame: Buffer): void {
    if (this.connectorId !== undefined) {
      this.#relay.sendDown(this.connectorId, this.#exchangeId, frame)
    }
  }

  #sendIn(waitMs: number): void {
    setTimeout(() => !this.#isDone && this.#send(), waitMs)
  }

  #send(): void {
    this.#relay.forget(this.#exchangeId)
    this.connectorId = undefined
    this.#relay.whenConnected(isConnected => {
      if (this.#isDone) return
      if (!isConnected) return this.#fail('bus_unavailable', 'the bus is away')
      this.#attempts++
      this.sentAt = performance.now()
      this.#exchangeId = this.#relay.send(this, (gatewayId, exchangeId) =>
        this.#encode(gatewayId, exchangeId),
      )
    })
  }

  #encode(gatewayId: string, exchangeId: string): Buffer {
    const { incoming, headers, body, bodyFollows, upgrade } = this.request
    const isLeaseReference = !this.#needsWholeLease && this.#isLeaseKnown()
    return encodeRequest({
      gatewayId,
      exchangeId,
      startBeforeMs: Date.now() + lostAfterMs,
      lease: isLeaseReference ? leaseReference(this.lease) : this.lease,
      isLeaseReference,
      method: incoming.method,
      target: incoming.target,
      headers,
      body,
      bodyFollows,
      isUpgrade: upgrade !== undefined,
      isRaw: upgrade?.isRaw === true,
    })
  }

  /** Every member of the group has had it, so a request need not carry it: it is as long as all the rest. */
  #isLeaseKnown(): boolean {
    const { grant } = this.request
    const alive = this.#relay.context.members.liveIn(this.groupId)
    return this.lease === grant.lease && alive > 0 && grant.knownTo.size >= alive
  }

  #take(frame: UpFrame): void {
    switch (frame.type) {
      case 'response':
        if (frame.isUpgrade) this.#switchProtocols(frame)
        else this.#respond(frame)
        break
      case 'data':
        this.#receiver?.data(frame.data)
        break
      case 'end':
        this.#receiver?.end(frame.bodyBytes, frame.trailers)
        break
      case 'credit':
        this.#grantBody(frame.bytes)
        break
      case 'information':
        this.#inform(frame.status, frame.headers)
        break
      case 'refused':
        this.#refused(frame)
        break
      case 'cancel':
        this.#fail(isFaultCode(frame.code) ? frame.code : 'protocol_error', frame.detail)
        break
      case 'accepted':
        break
    }
  }

  #refused(frame: RefusedFrame): void {
    if (!frame.neverStarted) return this.#failAsRefused(frame)
    if (frame.code === 'lease_unknown' && !this.#needsWholeLease) return this.#sendWithLease()
    this.#lastRefusal = frame
    const mayInform = performance.now() - this.#startedAt < maxInformMs
    if (frame.code === 'not_informed' && mayInform) return this.#sendIn(informWaitMs)
    this.#refusedBy.add(this.connectorId ?? '')
    if (frame.code === 'not_ready') this.#afterWaiting()
    const { members } = this.#relay.context
    const hasOthers = members.liveIn(this.groupId) > this.#refusedBy.size
    const isOfPlace = frame.code === 'not_ready' || frame.code === 'sign_on_unavailable'
    const searchMs = isOfPlace ? maxReachSearchMs : maxSearchMs
    if (hasOthers && this.#maySearch(searchMs)) this.#send()
    else this.#failAsRefused(frame)
  }

  #sendWithLease(): void {
    this.#needsWholeLease = true
    this.#attempts--
    this.#send()
  }

  #maySearch(searchMs = maxSearchMs): boolean {
    const attempts = this.#attempts - this.#attemptsBefore
    if (attempts < leastAttempts) return true
    return attempts < maxAttempts && performance.now() - this.#searchingSince < searchMs
  }

  /**
   * Nobody of the application's own group can take the request: those of its standby group are asked at once. The next
   * request asks its own group first again, so nobody has to notice when that is back.
   */
  #turnToStandby(): boolean {
    const { standbyConnectorGroupId: standby } = this.request.application
    if (standby === null || !this.#hasStandby) return false
    this.groupId = standby
    this.#refusedBy.clear()
    this.#attemptsBefore = this.#attempts
    this.#searchingSince = performance.now()
    this.#hasWaitedInVain = false
    this.#send()
    return true
  }

  get #hasStandby(): boolean {
    const { standbyConnectorGroupId: standby } = this.request.application
    return standby !== null && this.groupId !== standby
  }

  /** A member that got no connection in time has used up the search. Others may reach the origin: it begins anew, once. */
  #afterWaiting(): void {
    const now = performance.now()
    if (this.#hasWaitedInVain || now - this.sentAt < maxReachSearchMs) return
    this.#hasWaitedInVain = true
    this.#searchingSince = now
  }

  #failAsRefused({ code, detail }: RefusedFrame): void {
    if (code === 'not_ready') {
      if (!this.#turnToStandby()) this.#fail('origin_unreachable', detail)
      return
    }
    if (code === 'not_informed') return this.#fail('connector_refused', detail)
    if (code === 'busy' || code === 'expired' || code === 'clock_skew') {
      return this.#fail('connectors_busy', `${code}: ${detail}`)
    }
    this.#fail(isFaultCode(code) ? code : 'protocol_error', detail)
  }

  #respond(frame: ResponseFrame): void {
    if (this.#status !== null) {
      if (this.connectorId !== undefined) this.#relay.answeredTwice(this.connectorId)
      throw new Error('a second response')
    }
    const { res, incoming } = this.request
    const headers = clientHeaders(frame.headers, incoming.requestId)
    if (frame.bodyFollows) return this.#stream(frame, headers)
    this.#wholeBytes = frame.body.length
    res.sendWhole(frame.status, frame.reason, headers, frame.body)
    this.#responded(frame.status)
    this.#done({})
  }

  #responded(status: number): void {
    this.#status = status
    this.#respondedAt = performance.now()
    if (this.connectorId !== undefined) this.request.grant.knownTo.add(this.connectorId)
  }

  #stream({ status, reason, body }: ResponseFrame, headers: string[]): void {
    const { res } = this.request
    res.sendHead(status, reason, headers)
    this.#responded(status)
    this.#receiver = new BodyReceiver({
      budget: this.#relay.context.budget,
      send: data => this.sendDown(data),
      deliver: chunk => res.write(chunk),
      onEnd: trailers => {
        res.endWith(allowedTrailers(trailers))
        this.#done({})
      },
    })
    res.on('drain', () => this.#receiver?.drained())
    this.#receiver.first(body)
  }

  /** The connector took the request and asks for (more of) its body. */
  #grantBody(bytes: number): void {
    if (this.#sender) return this.#sender.grant(bytes)
    if (!this.request.bodyFollows) return
    const { req } = this.request
    const sender = new BodySender({
      send: frame => this.sendDown(frame),
      creditBytes: bytes,
      onWritable: () => req.resume(),
    })
    this.#sender = sender
    if (!this.#isGrpc()) this.#relay.context.uploads.add(this)
    req.on('data', (chunk: Buffer) => {
      if (!sender.write(chunk)) req.pause()
    })
    req.on('end', () => !req.aborted && sender.end(allowedTrailers(req.rawTrailers)))
  }

  /** What the origin says on the way to its answer; 100 is between it and the connector (RFC 9110 §15.2). */
  #inform(status: number, headers: readonly string[]): void {
    if (status <= 101 || status > 199) return
    this.request.res.sendInformation(status, informationHeaders(headers))
  }

  /** A call may be open for hours before its client says something. */
  #isGrpc(): boolean {
    return /^application\/grpc\b/i.test(headerValue(this.request.headers, 'content-type') ?? '')
  }

  get isClientsTurn(): boolean {
    return this.#sender?.isEnded === false && this.request.req.readableFlowing !== false
  }

  get movedBytes(): number {
    return (this.#sender?.sentBytes ?? 0) + (this.#receiver?.receivedBytes ?? 0)
  }

  stalled(): void {
    this.#cancelConnector('aborted')
    this.#fail(
      'request_timeout',
      `nothing of the body for ${this.#relay.context.uploads.seconds} s`,
    )
  }

  #switchProtocols(frame: ResponseFrame): void {
    const { upgrade, incoming } = this.request
    if (!upgrade) throw new Error('an unasked switch of protocols')
    const { socket, first, isRaw = false } = upgrade
    this.#responded(frame.status)
    upgrade.takeOver()
    if (!isRaw) socket.write(switchingHead(frame, incoming.requestId), 'latin1')
    this.#upgraded = new UpgradedConnection({
      socket,
      first,
      isWebSocket: !isRaw && incoming.protocolUpgrade?.toLowerCase() === 'websocket',
      send: data => this.sendDown(data),
      budget: this.#relay.context.budget,
      onClosed: () => {
        this.#cancelConnector('aborted')
        this.#done({})
      },
    })
    this.#sender = this.#upgraded.sender
    this.#receiver = this.#upgraded.receiver
    this.#receiver.first(frame.body)
  }

  #clientClosed(): void {
    if (this.#isDone || this.#status === 101) return
    this.#cancelConnector('aborted')
    this.#done({ isAborted: true })
  }

  #cancelConnector(code: string): void {
    if (!this.#isDone) this.sendDown(encodeCancel(code, ''))
  }

  #fail(fault: FaultCode, faultDetail: string, decision?: Decision): void {
    if (this.#isDone) return
    this.#done({ fault, faultDetail, decision })
    if (this.#upgraded) this.#closeUpgraded(this.#upgraded, fault)
    else if (this.#status !== null) this.request.res.abort()
  }

  /** What the origin broke off ends as abruptly for the client; what we break off is explained. */
  #closeUpgraded(connection: UpgradedConnection, fault: FaultCode): void {
    if (fault === 'session_revoked') connection.close(closeCodes.accessEnded, 'access has ended')
    else if (fault === 'read_only') connection.close(closeCodes.readOnly, 'reading only')
    else if (fault === 'site_veto') connection.close(closeCodes.siteVeto, 'refused by the site')
    else if (fault === 'connector_lost' || fault === 'bus_unavailable') {
      connection.close(closeCodes.serviceRestart, 'connection lost, come again')
      // The client has been told by the connector what it did.
    } else if (fault === 'bad_request') connection.end()
    else connection.destroy()
  }

  #done(end: Pick<Outcome, 'fault' | 'faultDetail' | 'decision' | 'isAborted'>): void {
    if (this.#isDone) return
    this.#isDone = true
    if (this.#status !== null) this.#relay.answered(this.#exchangeId)
    this.#relay.forget(this.#exchangeId)
    this.#receiver?.close()
    if (this.#sender) this.#relay.context.uploads.delete(this)
    // An answer that came before the end of the request body.
    if (this.#status !== null && this.#status !== 101) discardBody(this.request.req)
    this.request.onDone({
      ...end,
      isOnLastLease: this.hasUsedLastLease,
      status: this.#status,
      connectorId: this.connectorId === undefined ? null : connectorIdOf(this.connectorId),
      connectorGroupId: this.groupId,
      attempts: this.#attempts,
      requestBytes: this.request.body.length + (this.#sender?.sentBytes ?? 0),
      responseBytes: this.#receiver?.receivedBytes ?? this.#wholeBytes,
      respondedAt: this.#respondedAt,
    })
  }
}

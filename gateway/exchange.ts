/**
 * One request of a client on its way to a connector and back.
 *
 * What may be sent again: a request that is known to be never started goes to another member (search.ts), whatever its
 * method. Silence or a lost connector proves nothing: only a safe method without a body is sent once more, and only
 * before the response head. Nothing else is ever sent twice.
 */

import type { Application } from '#infra/contracts/application.ts'
import { connectorIdOf } from '#infra/contracts/connector.ts'
import type { MethodClass } from '#infra/contracts/http-methods.ts'
import type { Decision } from '#infra/contracts/policy.ts'
import { detailOf, type FaultCode, isFaultCode } from '#infra/errors.ts'
import { encodeCancel, encodeRequest } from '#infra/frames.ts'
import { headerValue } from '#infra/http.ts'
import { leaseReference, lostAfterMs, type ResponseFrame, type UpFrame } from '#infra/wire.ts'
import { clientHeaders, informationHeaders, switchingHead } from './answer.ts'
import type { CrossOrigin } from './cross-origin.ts'
import { discardBody } from './discard.ts'
import type { ClientRequest, ClientResponse, Upgrade } from './front/client.ts'
import { HeldLease } from './held-lease.ts'
import type { Incoming } from './incoming.ts'
import type { Grant } from './leases.ts'
import { methodsOf, type Question } from './question.ts'
import { endsAccess } from './record.ts'
import type { Relay } from './relay.ts'
import { Search, type Step } from './search.ts'
import { withOwnSiteData } from './site-data.ts'
import { StreamedBodies } from './streamed-bodies.ts'
import { UpgradedConnection } from './upgraded.ts'

export interface ExchangeRequest {
  readonly incoming: Incoming
  readonly application: Application
  readonly question: Question
  readonly grant: Grant
  readonly headers: readonly string[]
  /** Who of other origins may read the answer. */
  readonly crossOrigin: CrossOrigin | undefined
  /** The whole body, when it is small. */
  readonly body: Buffer
  /** The body streams, from `req.body`. */
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

interface CutOff {
  told?: string
  decision?: Decision | undefined
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

export class Exchange {
  readonly request: ExchangeRequest
  readonly lease: HeldLease
  /** The connector that took it, or the worker of one, as the bus knows it. */
  connectorId: string | undefined
  sentAt = 0
  readonly #relay: Relay
  readonly #search: Search
  #exchangeId = ''
  #hasRepeated = false
  #status: number | null = null
  /** Of the latest answer on a raw connection. */
  #carriedStatus: number | undefined
  #respondedAt: number | null = null
  #wholeBytes = 0
  #bodies: StreamedBodies | undefined
  #upgraded: UpgradedConnection | undefined
  #isDone = false

  constructor(relay: Relay, request: ExchangeRequest) {
    this.#relay = relay
    this.request = request
    this.#search = new Search(request.application, relay.context.members)
    this.lease = new HeldLease(request.grant)
  }

  /** Whose queue it goes to. */
  get groupId(): string {
    return this.#search.groupId
  }

  start(): void {
    const { res } = this.request
    // While access was decided: it will not be said again.
    if (res.isGone) return this.#clientClosed()
    res.once('close', () => this.#clientClosed())
    this.#send()
  }

  receive(connectorId: string, frame: UpFrame): void {
    this.connectorId ??= connectorId
    // Each attempt has an id of its own, which only the member that was asked is told.
    if (this.connectorId !== connectorId) return this.#relay.answeredForAnother(connectorId)
    try {
      this.#take(frame)
    } catch (error) {
      this.broken(detailOf(error))
    }
  }

  noResponders(): void {
    this.#follow(this.#search.foundNobody(this.#relay.isSettling))
  }

  /** The connector, or the way to it, is gone or silent. From one that is barred nothing more is taken. */
  lost(detail: string, { isBarred = false } = {}): void {
    const { method, hasBody } = this.request.incoming
    if (isBarred ? this.#bodies?.isAnswerComplete : this.#bodies?.isAnswerSaid) return
    const mayRepeat =
      safeMethods.has(method) && !hasBody && !this.request.upgrade && this.#status === null
    if (!mayRepeat || this.#hasRepeated) return this.#fail('connector_lost', detail)
    this.#hasRepeated = true
    this.#send()
  }

  broken(detail: string): void {
    this.#cutOff('protocol_error', detail)
  }

  /** Access has ended while the exchange was under way: by a revocation, or because policy has decided so. */
  revoked(decision?: Decision): void {
    const fault = decision?.isReadOnly ? 'read_only' : 'session_revoked'
    this.#cutOff(fault, 'access was revoked', { decision })
  }

  /** Nobody has said that access goes on, and the time is over for which it was said last. */
  leaseEnded(): void {
    this.#cutOff('session_revoked', 'the lease ended')
  }

  /** Access may end for one class alone. */
  get methods(): MethodClass {
    const { incoming, headers, upgrade } = this.request
    return methodsOf({ method: incoming.method, headers }, upgrade)
  }

  /** This gateway stops. */
  stopped(): void {
    this.#cutOff('bus_unavailable', 'the gateway stops', { told: 'aborted' })
  }

  sendDown(frame: Buffer): void {
    if (this.connectorId !== undefined) {
      this.#relay.sendDown(this.connectorId, this.#exchangeId, frame)
    }
  }

  #follow(step: Step): void {
    if ('fault' in step) this.#fail(step.fault, step.detail)
    else if (step.waitMs === 0) this.#send()
    else setTimeout(() => !this.#isDone && this.#send(), step.waitMs)
  }

  #send(): void {
    this.#relay.forget(this.#exchangeId)
    this.connectorId = undefined
    this.#relay.whenConnected(isConnected => {
      if (this.#isDone) return
      if (!isConnected) return this.#fail('bus_unavailable', 'the bus is away')
      this.sentAt = performance.now()
      this.#search.asked(this.sentAt)
      this.#exchangeId = this.#relay.send(this, (gatewayId, exchangeId) =>
        this.#encode(gatewayId, exchangeId),
      )
    })
  }

  #encode(gatewayId: string, exchangeId: string): Buffer {
    const { incoming, headers, body, bodyFollows, upgrade } = this.request
    const { value: lease } = this.lease
    const isLeaseReference = !this.#search.needsWholeLease && this.#isLeaseKnown()
    return encodeRequest({
      gatewayId,
      exchangeId,
      startBeforeMs: Date.now() + lostAfterMs,
      lease: isLeaseReference ? leaseReference(lease) : lease,
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

  #isLeaseKnown(): boolean {
    return this.lease.isKnownToAll(this.#relay.context.members.liveIn(this.groupId))
  }

  #take(frame: UpFrame): void {
    switch (frame.type) {
      case 'response':
        this.#answersOnce()
        if (frame.isUpgrade) this.#switchProtocols(frame)
        else this.#respond(frame)
        break
      case 'data':
        this.#streams?.data(frame.data)
        break
      case 'end':
        this.#streams?.end(frame.bodyBytes, frame.trailers)
        break
      case 'credit':
        if (this.request.bodyFollows) (this.#upgraded ?? this.#streamed()).credit(frame.bytes)
        break
      case 'information':
        this.#inform(frame.status, frame.headers)
        break
      case 'refused':
        this.#answersOnce()
        this.#follow(this.#search.refused(this.connectorId ?? '', frame))
        break
      case 'cancel':
        this.#fail(isFaultCode(frame.code) ? frame.code : 'protocol_error', frame.detail)
        break
      case 'accepted':
        break
    }
  }

  /** A response and a refusal are both the answer. */
  #answersOnce(): void {
    if (this.#status === null) return
    if (this.connectorId !== undefined) this.#relay.answeredTwice(this.connectorId)
    throw new Error('a second answer')
  }

  #respond(frame: ResponseFrame): void {
    const { res, incoming, headers: asked, application, crossOrigin } = this.request
    const { externalUrl } = application.onPremisesPublishing
    const answered = clientHeaders(frame, incoming.requestId, crossOrigin)
    const headers = withOwnSiteData(answered, { headers: asked, externalUrl })
    if (frame.status === 205) return this.#reset(frame, headers)
    if (frame.bodyFollows) return this.#stream(frame, headers)
    this.#wholeBytes = frame.body.length
    res.sendWhole(frame.status, frame.reason, headers, frame.body)
    this.#responded(frame.status)
    this.#done({})
  }

  /** It has no content, and says so: clients differ in whether they look for any (RFC 9110 §15.3.6). */
  #reset({ reason, bodyFollows }: ResponseFrame, headers: readonly string[]): void {
    const others = headers.filter((_, i) => headers[i & ~1]?.toLowerCase() !== 'content-length')
    this.request.res.sendWhole(205, reason, others, Buffer.alloc(0))
    this.#responded(205)
    if (bodyFollows) this.#cancelConnector('aborted')
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
    this.#streamed().answer(body, headers)
  }

  /** As soon as there is a body that streams. */
  #streamed(): StreamedBodies {
    if (this.#bodies) return this.#bodies
    const { direct, context } = this.#relay
    this.#bodies = new StreamedBodies({
      request: this.request,
      budget: context.budget,
      uploads: context.uploads,
      offers: direct,
      send: frame => this.sendDown(frame),
      onAnswered: () => this.#done({}),
      onStalled: detail => this.#cutOff('request_timeout', detail, { told: 'aborted' }),
      broken: detail => this.broken(detail),
      lost: detail => this.#cutOff('connector_lost', detail),
    })
    return this.#bodies
  }

  /** What streams under credit, in either direction. */
  get #streams(): StreamedBodies | UpgradedConnection | undefined {
    return this.#upgraded ?? this.#bodies
  }

  /** What the origin says on the way to its answer; 100 is between it and the connector (RFC 9110 §15.2). */
  #inform(status: number, headers: readonly string[]): void {
    // Of bytes that are answers themselves: the status of each, for the audit trail.
    if (this.request.upgrade?.isRaw && status > 100 && status < 600) this.#carriedStatus = status
    if (status <= 101 || status > 199 || this.#upgraded) return
    this.request.res.sendInformation(status, informationHeaders(headers))
  }

  #switchProtocols(frame: ResponseFrame): void {
    const { upgrade, incoming } = this.request
    if (!upgrade) throw new Error('an unasked switch of protocols')
    const { socket, isRaw = false } = upgrade
    // What cannot be said is an error, of which the client is told while the connection still speaks HTTP.
    const head = isRaw ? '' : switchingHead(frame, incoming.requestId)
    this.#responded(frame.status)
    const first = upgrade.takeOver()
    if (!isRaw) socket.write(head, 'latin1')
    this.#upgraded = new UpgradedConnection({
      socket,
      first,
      isWebSocket: headerValue(frame.headers, 'upgrade')?.toLowerCase() === 'websocket',
      send: data => this.sendDown(data),
      budget: this.#relay.context.budget,
      onClosed: isWhole => {
        if (!isWhole) this.#cancelConnector('aborted')
        this.#done({})
      },
    })
    this.#upgraded.receiver.first(frame.body)
  }

  #clientClosed(): void {
    if (this.#isDone || this.#status === 101) return
    this.#cancelConnector('aborted')
    this.#done({ isAborted: true })
  }

  /** Ends it at the connector too, which may be told something else. */
  #cutOff(fault: FaultCode, detail: string, { told, decision }: CutOff = {}): void {
    this.#cancelConnector(told ?? fault)
    this.#fail(fault, detail, decision)
  }

  #cancelConnector(code: string): void {
    if (!this.#isDone) this.sendDown(encodeCancel(code, ''))
  }

  #fail(fault: FaultCode, faultDetail: string, decision?: Decision): void {
    if (this.#isDone) return
    this.#done({ fault, faultDetail, decision })
    if (this.#upgraded) this.#upgraded.fail(fault)
    else if (this.#status !== null) {
      // Whoever has lost access gets nothing more of it, not even what waits to be sent.
      if (endsAccess(fault)) this.request.res.abort()
      else this.request.res.breakOff()
    }
  }

  #done(end: Pick<Outcome, 'fault' | 'faultDetail' | 'decision' | 'isAborted'>): void {
    if (this.#isDone) return
    this.#isDone = true
    if (this.#status !== null) this.#relay.answered(this.#exchangeId)
    this.#relay.forget(this.#exchangeId)
    this.#bodies?.close()
    this.#upgraded?.receiver.close()
    // An answer that came before the end of the request body.
    if (this.#status !== null && this.#status !== 101) discardBody(this.request.req)
    this.request.onDone({
      ...end,
      isOnLastLease: this.lease.hasLasted,
      status: this.#carriedStatus ?? this.#status,
      connectorId: this.connectorId === undefined ? null : connectorIdOf(this.connectorId),
      connectorGroupId: this.groupId,
      attempts: this.#search.attempts,
      requestBytes: this.request.body.length + (this.#streams?.sentBytes ?? 0),
      responseBytes: this.#streams?.receivedBytes ?? this.#wholeBytes,
      respondedAt: this.#respondedAt,
    })
  }
}

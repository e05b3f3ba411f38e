/**
 * Takes exchanges from the group's queue and answers them. Being subscribed means being ready: a connector that has
 * as much as it can take leaves the queue group by draining (never by unsubscribing: that loses what is on its way)
 * and comes back at three quarters; what still arrives is answered with `busy`. One that is slow leaves earlier
 * (pace.ts), and takes what still arrives.
 */

import type { Subscription } from '@nats-io/transport-node'
import type { Bus, Message } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { type LeaseClaims, leaseLifetimeMs } from '#infra/contracts/policy.ts'
import { FrameGatherer } from '#infra/gather.ts'
import {
  EndedLease,
  type LeaseExpectation,
  type LeaseVerifier,
  UnknownLease,
  UnknownLeaseKey,
} from '#infra/lease.ts'
import type { Logger } from '#infra/log.ts'
import { PassingMap } from '#infra/passing-map.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import { queues, subjects } from '#infra/subjects.ts'
import {
  acceptAfterMs,
  decodeDown,
  decodeRequest,
  encodeRefused,
  type RequestFrame,
} from '#infra/wire.ts'
import type { BulkDialer } from './bulk-dialer.ts'
import type { Carried } from './carried.ts'
import type { Clock } from './clock.ts'
import { Exchange } from './exchange.ts'
import type { LastLeases } from './last-leases.ts'
import type { Origins } from './origin.ts'
import { Pace } from './pace.ts'
import type { Readiness } from './readiness.ts'
import { originOf } from './translate.ts'
import type { SiteVeto } from './veto/site-veto.ts'

export interface ServeContext {
  bus: Bus
  log: Logger
  /** What this connector, or this worker of it, is called on the bus. */
  memberId: string
  groupId: string
  maxExchanges: number
  clock: Clock
  origins: Origins
  budget: StreamBudget
  readiness: Readiness
  carried: Carried
  /** The group's applications, by id. */
  applications: () => ReadonlyMap<string, Application>
  leases: LeaseVerifier
  /** How long leases last that have ended. */
  lastLeases: Pick<LastLeases, 'endsAtMs'>
  /** The way past the bus for large bodies; undefined where there is none. */
  bulk?: BulkDialer | undefined
  /** What the owner of the site has to say; undefined when there is nothing. */
  veto?: SiteVeto | undefined
}

export interface Serving extends AsyncDisposable {
  /** Outside the queue for want of room. */
  readonly isSaturated: boolean
  readonly openExchanges: number
  /** Counts what open exchanges have carried by now. */
  count(): void
  /** Ends every exchange that `matches`, with a fault code for the client. */
  cancel(matches: (lease: LeaseClaims) => boolean, code: string): void
  /** Leaves the queue group and lets open exchanges finish, at most for `graceMs`. */
  drain(graceMs: number): Promise<void>
}

/** How often silent and expired exchanges are looked for. */
const sweepMs = 50
/** How often origins that keep silent are looked for. */
const silenceSweepMs = 250

export function serve(context: ServeContext): Serving {
  return new Server(context)
}

class Server implements Serving {
  readonly #context: ServeContext
  readonly #open = new PassingMap<Exchange>()
  /** Taken, not answered and not yet accepted, oldest first. */
  readonly #unanswered = new PassingMap<Exchange>()
  readonly #down: Subscription
  readonly #answers: FrameGatherer<string>
  readonly #sweepers: readonly NodeJS.Timeout[]
  readonly #pace: Pace
  /** `performance.now()` when the time was no longer known. */
  #timelessSince: number | undefined
  /** Of the veto, when open exchanges were last held against it. */
  #vetoTurn: string | undefined
  #membership: Subscription | undefined
  #isDraining = false
  #emptied: (() => void) | undefined

  constructor(context: ServeContext) {
    this.#context = context
    const { bus, memberId } = context
    this.#answers = new FrameGatherer(bus, {
      publish: (gatewayId, message, [exchangeId = '', ...more]) => {
        const isBatch = more.length > 0
        bus.publish(subjects.up(memberId, gatewayId, isBatch ? '' : exchangeId), message)
      },
    })
    const prefixLength = subjects.down(memberId, '-').length - 1
    this.#down = bus.subscribe(subjects.downTo(memberId), {
      callback: message => this.#receive(message.subject.slice(prefixLength), message),
    })
    this.#sweepers = [
      setInterval(() => this.#sweep(), sweepMs),
      setInterval(() => this.#checkSilence(), silenceSweepMs),
      setInterval(() => this.#checkVeto(), silenceSweepMs),
    ]
    this.#pace = new Pace({ ...context, onRelease: () => this.#comeBack() })
    this.#join()
  }

  get isSaturated(): boolean {
    return this.#membership === undefined && !this.#hasRoom
  }

  get #hasRoom(): boolean {
    return this.#open.size <= this.#context.maxExchanges * 0.75
  }

  get openExchanges(): number {
    return this.#open.size
  }

  cancel(matches: (lease: LeaseClaims) => boolean, code: string): void {
    for (const exchange of this.#open.values()) {
      if (matches(exchange.claims)) exchange.cancel(code, 'access ended')
    }
  }

  async drain(graceMs: number): Promise<void> {
    this.#isDraining = true
    await this.#leave()
    if (this.#open.size > 0) await this.#finish(graceMs)
    // Whoever hears that this connector has stopped must have its last answers.
    this.#answers.flush()
  }

  async #finish(graceMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#emptied = resolve
    const grace = setTimeout(() => {
      for (const exchange of this.#open.values())
        exchange.cancel('connector_lost', 'connector stops')
      resolve()
    }, graceMs)
    await promise
    clearTimeout(grace)
  }

  #join(): void {
    const { bus, groupId } = this.#context
    this.#membership = bus.subscribe(subjects.exchangesOf(groupId), {
      queue: queues.connectors(groupId),
      callback: message => this.#take(message),
    })
  }

  async #leave(): Promise<void> {
    const membership = this.#membership
    if (!membership) return
    this.#membership = undefined
    const { bus, log } = this.#context
    // Whoever has lost the bus is in no queue any more, and would wait for its return.
    const { promise: lost, resolve } = Promise.withResolvers<void>()
    const off = bus.onStatus(status => status === 'disconnected' && resolve())
    if (!bus.isConnected) resolve()
    const drained = membership.drain().catch(error => log.warn({ error }, 'drain failed'))
    await Promise.race([drained, lost]).finally(off)
    if (!bus.isConnected) membership.unsubscribe()
  }

  #take({ subject, data }: Message): void {
    const applicationId = subject.slice(subject.lastIndexOf('.') + 1)
    let frame: RequestFrame
    try {
      frame = decodeRequest(data)
    } catch (error) {
      this.#context.log.warn({ error, subject }, 'unreadable request')
      return
    }
    const refusal = this.#reasonToRefuse(frame, applicationId)
    if (refusal) {
      const { code, detail } = refusal
      this.#send(frame, encodeRefused(code, detail, code !== 'connector_refused'))
      return
    }
    this.#start(frame, applicationId)
  }

  #reasonToRefuse(
    frame: RequestFrame,
    applicationId: string,
  ): { code: string; detail: string } | undefined {
    const { clock, maxExchanges, applications, readiness } = this.#context
    const now = clock.now()
    if (now === undefined) return { code: 'clock_skew', detail: 'the time is not known' }
    if (now > frame.startBeforeMs) {
      return { code: 'expired', detail: `${Math.round(now - frame.startBeforeMs)} ms too late` }
    }
    if (this.#open.size >= maxExchanges) return { code: 'busy', detail: `${maxExchanges} open` }
    const application = applications().get(applicationId)
    if (!application) return { code: 'not_informed', detail: 'application not known here' }
    const down = readiness.reasonDown(originOf(application))
    return down === undefined ? undefined : { code: 'not_ready', detail: down }
  }

  #start(frame: RequestFrame, applicationId: string): void {
    const { applications, leases, clock } = this.#context
    const { origins, readiness, budget, log } = this.#context
    const application = applications().get(applicationId) as Application
    let claims: LeaseClaims
    try {
      const expected = this.#expectation(application, clock.now() ?? Number.POSITIVE_INFINITY)
      claims = frame.isLeaseReference
        ? leases.recall(frame.lease, expected)
        : leases.verify(frame.lease, expected)
    } catch (error) {
      this.#send(frame, refusalOfLease(error))
      return
    }
    const exchange = new Exchange({
      frame,
      application,
      claims,
      origins,
      budget,
      bulk: this.#context.bulk,
      veto: this.#context.veto,
      log,
      send: data => this.#send(frame, data),
      onAnswered: status => {
        this.#context.carried.passed(applicationId, 0)
        const isFirst = this.#unanswered.delete(frame.exchangeId)
        // Whoever only says that it cannot answer is fast and should not be preferred for it.
        if (isFirst && status < 500)
          this.#pace.answered(applicationId, performance.now() - exchange.startedAt)
      },
      onUnreachable: reason => readiness.failed(originOf(application), reason),
      onClosed: () => this.#close(frame.exchangeId),
    })
    this.#open.set(frame.exchangeId, exchange)
    this.#unanswered.set(frame.exchangeId, exchange)
    this.#context.carried.took(applicationId)
    const isSlow = this.#pace.took(exchange.startedAt)
    if (isSlow || this.#open.size >= this.#context.maxExchanges) void this.#leave()
    exchange.start()
  }

  #expectation(application: Application, nowMs: number): LeaseExpectation {
    const { id: applicationId, onPremisesPublishing } = application
    if (onPremisesPublishing.whenPolicyIsUnavailable === 'failClosed')
      return { applicationId, nowMs }
    const { lastLeases } = this.#context
    const endsAtMs = (claims: LeaseClaims) => lastLeases.endsAtMs(claims, application, nowMs)
    return { applicationId, nowMs, endsAtMs }
  }

  #close(exchangeId: string): void {
    this.#unanswered.delete(exchangeId)
    const exchange = this.#open.get(exchangeId)
    if (!exchange) return
    this.#open.delete(exchangeId)
    this.#count(exchange)
    if (this.#isDraining) {
      if (this.#open.size === 0) this.#emptied?.()
    } else if (!this.#membership) this.#comeBack()
  }

  count(): void {
    for (const exchange of this.#open.values()) this.#count(exchange)
  }

  #count(exchange: Exchange): void {
    const bytes = exchange.carriedBytes - exchange.countedBytes
    if (bytes === 0) return
    exchange.countedBytes += bytes
    this.#context.carried.passed(exchange.claims.app, bytes)
  }

  #comeBack(): void {
    if (this.#membership || this.#isDraining || !this.#hasRoom) return
    if (!this.#pace.isWaiting) this.#join()
  }

  #receive(exchangeId: string, message: Message): void {
    const exchange = this.#open.get(exchangeId)
    if (!exchange) return
    const frame = decodeDown(message.data)
    if (frame.type === 'lease') this.#renew(exchange, frame.lease)
    else exchange.receive(frame)
  }

  #renew(exchange: Exchange, lease: string): void {
    const { leases, clock, applications } = this.#context
    const nowMs = clock.now()
    if (nowMs === undefined) return
    const { app: applicationId } = exchange.claims
    const application = applications().get(applicationId)
    const expected = application && this.#expectation(application, nowMs)
    const claims = leases.verify(lease, expected ?? { applicationId, nowMs })
    if (claims.session === exchange.claims.session && claims.sub === exchange.claims.sub)
      exchange.renew(claims)
  }

  #send(frame: RequestFrame, data: Buffer): void {
    this.#answers.add(frame.gatewayId, frame.exchangeId, data)
  }

  #sweep(): void {
    const acceptBefore = performance.now() - acceptAfterMs
    for (const [exchangeId, exchange] of this.#unanswered) {
      if (exchange.startedAt > acceptBefore) break
      this.#unanswered.delete(exchangeId)
      // Whatever it is that takes so long: the answer itself may never come.
      this.#pace.answered(exchange.claims.app, acceptAfterMs)
      exchange.accept()
    }
    const now = this.#timeForLeases()
    if (now === undefined) return
    for (const exchange of this.#open.values()) {
      if (exchange.claims.exp * 1_000 < now && !this.#isLasting(exchange.claims, now))
        exchange.cancel('session_revoked', 'the lease ended')
    }
  }

  /** As the application is now, not as it was when the exchange began. */
  #isLasting(claims: LeaseClaims, nowMs: number): boolean {
    const { applications, lastLeases } = this.#context
    const application = applications().get(claims.app)
    return application !== undefined && lastLeases.endsAtMs(claims, application, nowMs) > nowMs
  }

  /** While nobody knows the time: after it, as soon as every lease of before must have ended. */
  #timeForLeases(): number | undefined {
    const now = this.#context.clock.now()
    if (now !== undefined) {
      this.#timelessSince = undefined
      return now
    }
    this.#timelessSince ??= performance.now()
    const isOver = performance.now() - this.#timelessSince > leaseLifetimeMs
    return isOver ? Number.POSITIVE_INFINITY : undefined
  }

  #checkSilence(): void {
    const now = performance.now()
    for (const exchange of this.#open.values()) exchange.checkSilence(now)
  }

  /** What was allowed when it began may be refused by now: also what has been open for long ends then. */
  #checkVeto(): void {
    const turn = this.#context.veto?.turn
    if (turn === this.#vetoTurn) return
    this.#vetoTurn = turn
    for (const exchange of this.#open.values()) exchange.endIfVetoed()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sweeper of this.#sweepers) clearInterval(sweeper)
    this.#isDraining = true
    this.#pace[Symbol.dispose]()
    await this.#leave()
    for (const exchange of this.#open.values()) exchange.cancel('connector_lost', 'connector stops')
    this.#answers.flush()
    this.#down.unsubscribe()
  }
}

/** Whoever sends the lease again, whole or a little later, may get further when that is what was missing. */
function refusalOfLease(error: unknown): Buffer {
  const detail = `lease: ${error instanceof Error ? error.message : String(error)}`
  if (error instanceof UnknownLease) return encodeRefused('lease_unknown', detail, true)
  if (error instanceof UnknownLeaseKey) return encodeRefused('not_informed', detail, true)
  // Another member may have heard all that happened since the lease was made.
  if (error instanceof EndedLease) return encodeRefused('policy_unavailable', detail, true)
  return encodeRefused('connector_refused', detail, false)
}

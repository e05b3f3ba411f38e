/**
 * Takes exchanges from the group's queue and answers them. Being subscribed means being ready: a connector that has
 * as much as it can take leaves the queue group by draining (never by unsubscribing: that loses what is on its way)
 * and comes back at three quarters; what still arrives is answered with `busy`.
 */

import type { Subscription } from '@nats-io/transport-node'
import type { Bus, Message } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { UnknownLeaseKey } from '#infra/lease.ts'
import type { Logger } from '#infra/log.ts'
import { queues, subjects } from '#infra/subjects.ts'
import {
  acceptAfterMs,
  decodeDown,
  decodeRequest,
  encodeRefused,
  type RequestFrame,
} from '#infra/wire.ts'
import type { Clock } from './clock.ts'
import { Exchange } from './exchange.ts'
import type { Origins } from './origin.ts'
import type { Readiness } from './readiness.ts'
import { originOf } from './translate.ts'

export interface ServeContext {
  bus: Bus
  log: Logger
  connectorId: string
  groupId: string
  maxExchanges: number
  clock: Clock
  origins: Origins
  readiness: Readiness
  /** The group's applications, by id. */
  applications: () => ReadonlyMap<string, Application>
  /** @throws when the lease does not grant this application to this group now. */
  verifyLease: (lease: string, applicationId: string, nowMs: number) => LeaseClaims
  /** Called when the connector joined or left the queue group. */
  onMembership: () => void
}

export interface Serving extends AsyncDisposable {
  readonly isMember: boolean
  readonly openExchanges: number
  readonly exchangesServed: number
  readonly lastExchangeAt: number | undefined
  /** Ends every exchange that `matches`, with a fault code for the client. */
  cancel(matches: (lease: LeaseClaims) => boolean, code: string): void
  /** Leaves the queue group and lets open exchanges finish, at most for `graceMs`. */
  drain(graceMs: number): Promise<void>
}

/** How often silent and expired exchanges are looked for. */
const sweepMs = 50

export function serve(context: ServeContext): Serving {
  return new Server(context)
}

class Server implements Serving {
  readonly #context: ServeContext
  readonly #open = new Map<string, Exchange>()
  /** Taken, not answered and not yet accepted, oldest first. */
  readonly #unanswered = new Map<string, Exchange>()
  readonly #down: Subscription
  readonly #sweeper: NodeJS.Timeout
  #membership: Subscription | undefined
  #isDraining = false
  #emptied: (() => void) | undefined
  exchangesServed = 0
  lastExchangeAt: number | undefined

  constructor(context: ServeContext) {
    this.#context = context
    const { bus, connectorId } = context
    const prefixLength = subjects.down(connectorId, '-').length - 1
    this.#down = bus.subscribe(subjects.downTo(connectorId), {
      callback: message => this.#receive(message.subject.slice(prefixLength), message),
    })
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs)
    this.#join()
  }

  get isMember(): boolean {
    return this.#membership !== undefined
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
    if (this.#open.size === 0) return
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
    const { bus, groupId, onMembership } = this.#context
    this.#membership = bus.subscribe(subjects.exchangesOf(groupId), {
      queue: queues.connectors(groupId),
      callback: message => this.#take(message),
    })
    onMembership()
  }

  async #leave(): Promise<void> {
    const membership = this.#membership
    if (!membership) return
    this.#membership = undefined
    this.#context.onMembership()
    await membership.drain().catch(error => this.#context.log.warn({ error }, 'drain failed'))
  }

  #take(message: Message): void {
    let frame: RequestFrame
    try {
      frame = decodeRequest(message.data)
    } catch (error) {
      this.#context.log.warn({ error, subject: message.subject }, 'unreadable request')
      return
    }
    const applicationId = message.subject.slice(message.subject.lastIndexOf('.') + 1)
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
    const { applications, verifyLease, clock, origins, readiness, log } = this.#context
    const application = applications().get(applicationId) as Application
    let claims: LeaseClaims
    try {
      claims = verifyLease(frame.lease, applicationId, clock.now() ?? Number.POSITIVE_INFINITY)
    } catch (error) {
      const detail = `lease: ${error instanceof Error ? error.message : String(error)}`
      const isUnknownKey = error instanceof UnknownLeaseKey
      const code = isUnknownKey ? 'not_informed' : 'connector_refused'
      this.#send(frame, encodeRefused(code, detail, isUnknownKey))
      return
    }
    const exchange = new Exchange({
      frame,
      application,
      claims,
      origins,
      log,
      send: data => this.#send(frame, data),
      onAnswered: () => this.#unanswered.delete(frame.exchangeId),
      onUnreachable: reason => readiness.failed(originOf(application), reason),
      onClosed: () => this.#close(frame.exchangeId),
    })
    this.#open.set(frame.exchangeId, exchange)
    this.#unanswered.set(frame.exchangeId, exchange)
    this.exchangesServed++
    this.lastExchangeAt = Date.now()
    if (this.#open.size >= this.#context.maxExchanges) void this.#leave()
    exchange.start()
  }

  #close(exchangeId: string): void {
    this.#unanswered.delete(exchangeId)
    if (!this.#open.delete(exchangeId)) return
    if (this.#isDraining) {
      if (this.#open.size === 0) this.#emptied?.()
    } else if (!this.#membership && this.#open.size <= this.#context.maxExchanges * 0.75) {
      this.#join()
    }
  }

  #receive(exchangeId: string, message: Message): void {
    const exchange = this.#open.get(exchangeId)
    if (!exchange) return
    const frame = decodeDown(message.data)
    if (frame.type === 'lease') this.#renew(exchange, frame.lease)
    else exchange.receive(frame)
  }

  #renew(exchange: Exchange, lease: string): void {
    const { verifyLease, clock } = this.#context
    const now = clock.now()
    if (now === undefined) return
    const claims = verifyLease(lease, exchange.claims.app, now)
    if (claims.session === exchange.claims.session && claims.sub === exchange.claims.sub) {
      exchange.claims = claims
    }
  }

  #send(frame: RequestFrame, data: Buffer): void {
    const { bus, connectorId } = this.#context
    bus.publish(subjects.up(connectorId, frame.gatewayId, frame.exchangeId), data)
  }

  #sweep(): void {
    const acceptBefore = performance.now() - acceptAfterMs
    for (const [exchangeId, exchange] of this.#unanswered) {
      if (exchange.startedAt > acceptBefore) break
      this.#unanswered.delete(exchangeId)
      exchange.accept()
    }
    const now = this.#context.clock.now()
    if (now === undefined) return
    for (const exchange of this.#open.values()) {
      if (exchange.claims.exp * 1_000 < now) exchange.cancel('session_revoked', 'the lease ended')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeper)
    await this.#leave()
    for (const exchange of this.#open.values()) exchange.cancel('connector_lost', 'connector stops')
    this.#down.unsubscribe()
  }
}

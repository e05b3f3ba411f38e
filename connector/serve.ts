/**
 * Takes exchanges from the group's queue (group-queue.ts), refuses those that it has to, and keeps the others until they
 * end (open-exchanges.ts). What arrives while there is no room is answered with `busy`; what arrives while the connector
 * only holds back is taken.
 */

import type { Subscription } from '@nats-io/transport-node'
import type { Bus, Message } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { decodeBatch, isBatch } from '#infra/frame-batch.ts'
import { decodeDown, decodeRequest, encodeRefused } from '#infra/frames.ts'
import { FrameGatherer } from '#infra/gather.ts'
import type { LeaseVerifier } from '#infra/lease.ts'
import type { Logger } from '#infra/log.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import { noExchange, subjects } from '#infra/subjects.ts'
import { acceptAfterMs, type RequestFrame } from '#infra/wire.ts'
import type { AnswerLine } from './answer-line.ts'
import { type AnswerWay, AnswerWays } from './answer-ways.ts'
import type { Carried } from './carried.ts'
import type { Clock } from './clock.ts'
import type { DirectDialer } from './direct-dialer.ts'
import { Exchange } from './exchange.ts'
import { GroupQueue, roomAgainShare } from './group-queue.ts'
import type { LastLeases } from './last-leases.ts'
import { Leases, refusalOfLease } from './leases.ts'
import { OpenExchanges } from './open-exchanges.ts'
import type { Origins } from './origin.ts'
import type { Readiness } from './readiness.ts'
import { Reminder } from './reminder.ts'
import { originOf } from './translate.ts'
import type { SiteVeto } from './veto/site-veto.ts'

export interface ServeContext {
  bus: Bus
  log: Logger
  /** What this connector, or this worker of it, is called on the bus. */
  memberId: string
  groupId: string
  maxExchanges: number
  /** Requests of one application that may wait for its answer. */
  maxAwaited: number
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
  /** The way past the bus; undefined where there is none. */
  direct?: DirectDialer | undefined
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

export function serve(context: ServeContext): Serving {
  return new Server(context)
}

class Server implements Serving {
  readonly #context: ServeContext
  readonly #leases: Leases
  readonly #open: OpenExchanges
  readonly #queue: GroupQueue
  readonly #down: Subscription
  readonly #ways: AnswerWays
  readonly #answers: FrameGatherer<AnswerWay>
  readonly #reminder: Reminder

  constructor(context: ServeContext) {
    this.#context = context
    const { bus, memberId } = context
    this.#leases = new Leases({ ...context, verifier: context.leases })
    this.#open = new OpenExchanges({
      ...context,
      leases: this.#leases,
      onAccepted: ({ claims }) => this.#queue.answered(claims.app, acceptAfterMs),
    })
    this.#ways = new AnswerWays({
      ...context,
      isNeeded: line => [...this.#open.values()].some(({ way }) => way === line),
      onLost: line => this.#lost(line),
    })
    this.#answers = new FrameGatherer(bus, {
      publish: (way, frames) => this.#ways.send(way, frames),
    })
    this.#reminder = new Reminder({
      ...context,
      open: this.#open,
      send: (gatewayId, exchangeId, frame) => this.#answers.add(gatewayId, exchangeId, frame),
    })
    const prefixLength = subjects.down(memberId, '-').length - 1
    this.#down = bus.subscribe(subjects.downTo(memberId), {
      callback: message => this.#receive(message.subject.slice(prefixLength), message),
    })
    this.#queue = new GroupQueue({
      ...context,
      openExchanges: () => this.#open.size,
      take: message => this.#take(message),
    })
  }

  get isSaturated(): boolean {
    return this.#queue.isSaturated
  }

  get openExchanges(): number {
    return this.#open.size
  }

  count(): void {
    this.#open.count()
  }

  cancel(matches: (lease: LeaseClaims) => boolean, code: string): void {
    this.#open.cancel(matches, code)
  }

  async drain(graceMs: number): Promise<void> {
    await this.#queue.end()
    await this.#open.finish(graceMs)
    // Whoever hears that this connector has stopped must have its last answers.
    this.#answers.flush()
    await this.#ways.settled()
  }

  #take({ subject, data }: Message): void {
    const applicationId = subject.slice(subject.lastIndexOf('.') + 1)
    if (!isBatch(data)) return this.#takeOne(data, applicationId)
    for (const { frame } of this.#read(() => decodeBatch(data), applicationId) ?? []) {
      this.#takeOne(frame, applicationId)
    }
  }

  #takeOne(data: Buffer, applicationId: string): void {
    const frame = this.#read(() => decodeRequest(data), applicationId)
    if (!frame) return
    const refusal = this.#reasonToRefuse(frame, applicationId)
    if (refusal) {
      const { code, detail } = refusal
      this.#send(frame, encodeRefused(code, detail, code !== 'connector_refused'))
      return
    }
    this.#start(frame, applicationId)
  }

  #read<Read>(read: () => Read, applicationId: string): Read | undefined {
    try {
      return read()
    } catch (error) {
      this.#context.log.warn({ error, applicationId }, 'unreadable request')
      return undefined
    }
  }

  #reasonToRefuse(
    frame: RequestFrame,
    applicationId: string,
  ): { code: string; detail: string } | undefined {
    const { clock, maxExchanges, maxAwaited, applications, readiness } = this.#context
    const now = clock.now()
    if (now === undefined) return { code: 'clock_skew', detail: 'the time is not known' }
    if (now > frame.startBeforeMs) {
      return { code: 'expired', detail: `${Math.round(now - frame.startBeforeMs)} ms too late` }
    }
    if (this.#open.size >= maxExchanges) return { code: 'busy', detail: `${maxExchanges} open` }
    const maxUpgrades = Math.ceil(maxExchanges * roomAgainShare)
    if (frame.isUpgrade && this.#open.upgrades >= maxUpgrades)
      return { code: 'busy', detail: `${maxUpgrades} upgraded connections open` }
    const application = applications().get(applicationId)
    if (!application) return { code: 'not_informed', detail: 'application not known here' }
    if (!this.#open.hasRoomFor(applicationId)) {
      return { code: 'busy', detail: `${maxAwaited} wait for an answer of this application` }
    }
    const down = readiness.reasonDown(originOf(application))
    return down === undefined ? undefined : { code: 'not_ready', detail: down }
  }

  #start(frame: RequestFrame, applicationId: string): void {
    const application = this.#context.applications().get(applicationId) as Application
    let claims: LeaseClaims
    try {
      claims = this.#leases.claimsOf(frame, application)
    } catch (error) {
      this.#send(frame, refusalOfLease(error))
      return
    }
    const exchange = this.#exchange(frame, application, claims)
    this.#open.add(frame.exchangeId, exchange)
    this.#context.carried.took(applicationId)
    this.#queue.took(exchange.startedAt)
    exchange.start()
  }

  #exchange(frame: RequestFrame, application: Application, claims: LeaseClaims): Exchange {
    const { origins, readiness, budget, direct, veto, log } = this.#context
    const exchange = new Exchange({
      frame,
      application,
      claims,
      origins,
      budget,
      direct,
      veto,
      log,
      send: data => this.#answer(exchange, frame, data),
      // Until then it is on the bus: nobody's short answer should wait behind it.
      onLarge: () => {
        exchange.way ??= frame.gatewayId
      },
      onAnswered: status => this.#answered(frame.exchangeId, exchange, status),
      onUnreachable: reason => readiness.failed(originOf(application), reason),
      onClosed: () => this.#close(frame.exchangeId),
    })
    return exchange
  }

  #answered(exchangeId: string, exchange: Exchange, status: number): void {
    const { claims, startedAt } = exchange
    this.#context.carried.passed(claims.app, 0)
    const isFirst = this.#open.answered(exchangeId, exchange)
    // Whoever only says that it cannot answer is fast and should not be preferred for it.
    if (isFirst && status < 500) this.#queue.answered(claims.app, performance.now() - startedAt)
  }

  #close(exchangeId: string): void {
    this.#open.delete(exchangeId)
    this.#queue.comeBack()
  }

  #receive(exchangeId: string, message: Message): void {
    if (exchangeId === noExchange) return this.#ways.hear(message.data)
    const exchange = this.#open.get(exchangeId)
    if (!exchange) return
    const frame = decodeDown(message.data)
    if (frame.type === 'lease') this.#renew(exchange, frame.lease)
    else exchange.receive(frame)
  }

  #renew(exchange: Exchange, lease: string): void {
    const claims = this.#leases.renewed(lease, exchange.claims)
    if (claims) exchange.renew(claims)
  }

  #answer(exchange: Exchange, { gatewayId, exchangeId }: RequestFrame, data: Buffer): void {
    exchange.way ??= this.#ways.to(gatewayId)
    this.#answers.add(exchange.way, exchangeId, data)
  }

  /** Of a request that becomes no exchange. */
  #send({ gatewayId, exchangeId }: RequestFrame, data: Buffer): void {
    this.#answers.add(this.#ways.to(gatewayId), exchangeId, data)
  }

  /** What they have said by this line may not have come. */
  #lost(line: AnswerLine): void {
    for (const exchange of this.#open.values()) {
      if (exchange.way === line) exchange.cancel('connector_lost', 'the way to its gateway is lost')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#open[Symbol.dispose]()
    this.#reminder[Symbol.dispose]()
    await this.#queue[Symbol.asyncDispose]()
    this.#open.cut()
    this.#answers.flush()
    await this.#ways.settled()
    this.#ways[Symbol.dispose]()
    this.#down.unsubscribe()
  }
}

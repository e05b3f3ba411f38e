/**
 * The requests that this gateway has under way on the bus. One wildcard subscription takes every answer that does not
 * come by a line past the bus (answer-lines.ts), a map finds the exchange it belongs to, and one sweep in place of a timer per request looks for the silent. The rules of what may
 * be sent again stand in exchange.ts; whether access to what is open goes on, in continuous-access.ts.
 */

import type { Subscription } from '@nats-io/transport-node'
import { isLineBroken, keyOfBroken } from '#infra/answer-line.ts'
import { type Bus, busWaitMs } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { connectorIdOf } from '#infra/contracts/connector.ts'
import { decodeBatch, messageOf } from '#infra/frame-batch.ts'
import { decodeUp, encodeCancel } from '#infra/frames.ts'
import { FrameGatherer } from '#infra/gather.ts'
import type { Logger } from '#infra/log.ts'
import { PassingMap } from '#infra/passing-map.ts'
import { Standstill } from '#infra/standstill.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import { noExchange, subjects } from '#infra/subjects.ts'
import { lostAfterMs, type UpFrame } from '#infra/wire.ts'
import { AnswerLines } from './answer-lines.ts'
import { DirectOffers } from './direct-offers.ts'
import { Exchange, type ExchangeRequest } from './exchange.ts'
import { ExchangeIds } from './exchange-ids.ts'
import type { Patience } from './front/patience.ts'
import type { Members } from './members.ts'
import { Misbehaviour } from './misbehaviour.ts'

export interface RelayContext {
  bus: Bus
  log: Logger
  members: Members
  /** What all bodies and upgraded connections of this process share. */
  budget: StreamBudget
  /** Looks for clients that send nothing of a body. */
  uploads: Patience
}

/** How often silent exchanges are looked for. */
const silenceSweepMs = 50

/** Between the ids of exchanges whose requests share a message, in its reply subject; in no id. */
const idSeparator = ','

/** After a reconnection connectors may not be back for so long: a registry has to be there before they are let in. */
const settleMs = 3_000

export class Relay implements Disposable {
  readonly context: RelayContext
  /** Connections past the bus. */
  readonly direct = new DirectOffers()
  readonly #lines: AnswerLines
  readonly #open = new PassingMap<Exchange>()
  /** Sent, and nobody has answered yet; oldest first. */
  readonly #silent = new PassingMap<Exchange>()
  readonly #inbox: string
  readonly #subjects = new WeakMap<Application, string>()
  /** By subject: those that may share a message. */
  readonly #requests: FrameGatherer<string>
  readonly #gatewayId: string
  readonly #ids: ExchangeIds
  readonly #misbehaviour: Misbehaviour
  readonly #subscriptions: Subscription[]
  readonly #timer: NodeJS.Timeout
  readonly #offStatus: () => void
  readonly #waiting = new Set<() => void>()
  #connectedAt = Number.NEGATIVE_INFINITY
  readonly #standstill = new Standstill(silenceSweepMs)

  constructor(context: RelayContext) {
    this.context = context
    const { bus, members } = context
    this.#gatewayId = bus.instance
    this.#ids = new ExchangeIds(bus.instance)
    this.#misbehaviour = new Misbehaviour(context)
    this.#inbox = `${subjects.inbox('gateway', bus.instance)}.x`
    this.#requests = new FrameGatherer(bus, {
      publish: (subject, frames) => {
        const exchangeIds = frames.map(({ exchangeId }) => exchangeId)
        this.#publish(subject, messageOf(frames), exchangeIds.join(idSeparator))
      },
    })
    this.#lines = new AnswerLines({
      bus,
      offers: this.direct,
      receive: (connectorId, batch) => this.#receiveBatch(connectorId, batch),
      unreadable: (connectorId, bytes, error) =>
        this.#misbehaviour.unreadable(connectorId, { what: 'line of answers', bytes, error }),
    })
    this.#subscriptions = [this.#subscribeAnswers(), this.#subscribeNoResponders()]
    this.#timer = setInterval(() => this.#sweepSilent(), silenceSweepMs)
    this.#offStatus = bus.onStatus(status => this.#turn(status))
    members.onGone((memberId, isBarred) => {
      this.#lines.gone(memberId)
      for (const exchange of [...this.#open.values()]) {
        if (isOf(exchange, memberId)) exchange.lost(`connector ${memberId} is gone`, { isBarred })
      }
    })
  }

  /** The connection has just come back, so an empty queue proves nothing yet. */
  get isSettling(): boolean {
    return performance.now() - this.#connectedAt < settleMs
  }

  /** Relays one request; its end is reported through the request's `onDone`. */
  start(request: ExchangeRequest): void {
    new Exchange(this, request).start()
  }

  /** Lines past the bus that connectors answer by. */
  get openLines(): number {
    return this.#lines.size
  }

  /** Oldest attempt first; they may end while somebody goes through them. */
  get openExchanges(): { readonly size: number; values(): Iterable<Exchange> } {
    return this.#open
  }

  /** Lets open exchanges finish, each as the last of its connection. */
  drain(): void {
    this.#lines.drain()
    for (const exchange of this.#open.values()) exchange.request.res.closeConnection()
  }

  /** Ends every open exchange. */
  end(): void {
    for (const exchange of [...this.#open.values()]) exchange.stopped()
  }

  /** Puts an attempt of an exchange on the bus under a new id. */
  send(exchange: Exchange, encode: (gatewayId: string, exchangeId: string) => Buffer): string {
    const exchangeId = this.#ids.next()
    this.#open.set(exchangeId, exchange)
    this.#silent.set(exchangeId, exchange)
    const frame = encode(this.#gatewayId, exchangeId)
    const subject = this.#subjectOf(exchange)
    if (this.#mayShareMessage(exchange)) this.#requests.add(subject, exchangeId, frame)
    else this.#publish(subject, frame, exchangeId)
    return exchangeId
  }

  /**
   * Where several members are alive the bus decides for each request by itself who takes it, and what goes on for long
   * is one of few.
   */
  #mayShareMessage({ groupId, request: { bodyFollows, upgrade } }: Exchange): boolean {
    return !bodyFollows && !upgrade && this.context.members.liveIn(groupId) === 1
  }

  #publish(subject: string, message: Buffer, exchangeIds: string): void {
    this.context.bus.publish(subject, message, { reply: `${this.#inbox}.${exchangeIds}` })
  }

  #subjectOf({ groupId, request: { application } }: Exchange): string {
    if (groupId !== application.connectorGroupId) return subjects.exchange(groupId, application.id)
    let subject = this.#subjects.get(application)
    if (subject === undefined) {
      subject = subjects.exchange(groupId, application.id)
      this.#subjects.set(application, subject)
    }
    return subject
  }

  /** Sends a frame to the connector that took an exchange. */
  sendDown(connectorId: string, exchangeId: string, frame: Buffer): void {
    this.context.bus.publish(subjects.down(connectorId, exchangeId), frame)
  }

  /** Its connector has said all: whatever else it says is no answer. */
  answered(exchangeId: string): void {
    this.#ids.answered(exchangeId)
  }

  /** It was not asked, and could know that. */
  answeredForAnother(connectorId: string): void {
    this.#misbehaviour.report(connectorId, 'answered_for_another')
  }

  answeredTwice(connectorId: string): void {
    this.#misbehaviour.report(connectorId, 'answered_twice')
  }

  forget(exchangeId: string): void {
    this.#open.delete(exchangeId)
    this.#silent.delete(exchangeId)
  }

  /** Calls back when the bus is there, at once or later; with false when it does not come back in time. */
  whenConnected(callback: (isConnected: boolean) => void): void {
    if (this.context.bus.isConnected) return callback(true)
    const timer = setTimeout(() => {
      this.#waiting.delete(connected)
      callback(false)
    }, busWaitMs)
    const connected = () => {
      clearTimeout(timer)
      callback(true)
    }
    this.#waiting.add(connected)
  }

  #subscribeAnswers(): Subscription {
    const prefixLength = subjects.up('-', '-', '-').indexOf('-')
    return this.context.bus.subscribe(subjects.upTo(this.#gatewayId), {
      callback: message => {
        const [connectorId = '', , exchangeId = ''] = message.subject.slice(prefixLength).split('.')
        this.#receiveFromBus(connectorId, exchangeId, message.data)
      },
    })
  }

  /** The server's own answer when nobody is in the queue: an empty message with status 503. */
  #subscribeNoResponders(): Subscription {
    return this.context.bus.subscribe(`${this.#inbox}.*`, {
      callback: message => {
        if (message.headers?.code !== 503) return
        const exchangeIds = message.subject.slice(this.#inbox.length + 1).split(idSeparator)
        for (const exchangeId of exchangeIds) {
          this.#silent.delete(exchangeId)
          this.#open.get(exchangeId)?.noResponders()
        }
      },
    })
  }

  #receiveFromBus(connectorId: string, exchangeId: string, message: Buffer): void {
    const isOfOne = exchangeId !== noExchange
    if (!isOfOne && isLineBroken(message))
      return this.#lines.broken(connectorId, keyOfBroken(message))
    if (isOfOne) this.#receive(connectorId, exchangeId, message)
    else this.#receiveBatch(connectorId, message)
    this.#lines.heard(connectorId)
  }

  #receiveBatch(connectorId: string, message: Buffer): void {
    try {
      for (const { exchangeId, frame } of decodeBatch(message)) {
        this.#receive(connectorId, exchangeId, frame)
      }
    } catch (error) {
      const what = 'batch of answers'
      this.#misbehaviour.unreadable(connectorId, { what, bytes: message.length, error })
    }
  }

  #receive(connectorId: string, exchangeId: string, message: Buffer): void {
    const exchange = this.#open.get(exchangeId)
    let frame: UpFrame
    try {
      frame = decodeUp(message)
    } catch (error) {
      const what = 'answer'
      this.#misbehaviour.unreadable(connectorId, { what, bytes: message.length, error })
      exchange?.broken('the connector sent what is no frame')
      return
    }
    this.#silent.delete(exchangeId)
    if (exchange) return exchange.receive(connectorId, frame)
    this.#misbehaviour.stray(connectorId, message.length)
    const isSecond = frame.type === 'response' && this.#ids.wasAnswered(exchangeId)
    if (isSecond) this.answeredTwice(connectorId)
    else if (isGoingOn(frame)) {
      this.sendDown(connectorId, exchangeId, encodeCancel('aborted', 'nobody waits any more'))
    }
  }

  #sweepSilent(): void {
    const now = performance.now()
    const lostBefore = now - lostAfterMs - this.#standstill.lastedMs(now)
    for (const [exchangeId, exchange] of this.#silent) {
      if (exchange.sentAt > lostBefore) break
      this.#silent.delete(exchangeId)
      exchange.lost(`no connector answered within ${lostAfterMs} ms`)
    }
  }

  #turn(status: 'connected' | 'disconnected'): void {
    if (status === 'connected') {
      this.#connectedAt = performance.now()
      const waiting = [...this.#waiting]
      this.#waiting.clear()
      for (const connected of waiting) connected()
      return
    }
    this.#requests.drop()
    // Nobody could say now who may not answer any more.
    this.#lines.end()
    for (const exchange of [...this.#open.values()]) exchange.lost('the bus connection was lost')
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    this.#offStatus()
    this.#lines[Symbol.dispose]()
    this.#misbehaviour[Symbol.dispose]()
  }
}

/** Of a connector that is named without a worker, all of them are meant: some may have been forgotten by then. */
function isOf({ connectorId: taker }: Exchange, memberId: string): boolean {
  return taker !== undefined && (taker === memberId || connectorIdOf(taker) === memberId)
}

/** Whether the connector goes on working after this frame, for an exchange that nobody waits for. */
function isGoingOn(frame: UpFrame): boolean {
  switch (frame.type) {
    case 'response':
      return frame.bodyFollows
    case 'refused':
    case 'end':
    case 'cancel':
      return false
    default:
      return true
  }
}

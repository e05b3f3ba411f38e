/**
 * Ends exchanges that nobody waits for any more and of which nobody tells: their gateway was killed, or gave them up while
 * the bus was away. Each gateway is told again and again that the oldest of its exchanges here is accepted. One that
 * knows nothing of it answers with a cancel, as to all that nobody waits for, and is told of the others too; that there
 * is no such gateway any more, the bus says.
 */

import type { Bus } from '#infra/bus.ts'
import { encodeAccepted } from '#infra/frames.ts'
import { subjects } from '#infra/subjects.ts'
import type { OpenExchanges } from './open-exchanges.ts'

export interface ReminderOptions {
  bus: Bus
  memberId: string
  open: OpenExchanges
  send: (gatewayId: string, exchangeId: string, frame: Buffer) => void
}

/** Of what has been open for so long gateways are told, and so often. */
const remindMs = 2_000
/** At once: a gateway that knows none of them must not take it for a flood. */
const mostAtOnce = 1_000

export class Reminder implements Disposable {
  readonly #options: ReminderOptions
  readonly #inbox: string
  readonly #resources = new DisposableStack()
  /** The oldest exchange of each gateway, the time before. */
  #asked: ReadonlyMap<string, string> = new Map()
  /** Gateways that were not on the bus, this time and the time before: a bus may lose sight of one for a moment. */
  #missed = new Set<string>()
  #missedBefore = new Set<string>()

  constructor(options: ReminderOptions) {
    this.#options = options
    const { bus } = options
    this.#inbox = `${subjects.inbox('connector', bus.instance)}.gateway`
    const answers = bus.subscribe(`${this.#inbox}.*`, {
      callback: ({ subject, headers }) => {
        if (headers?.code === 503) this.#miss(subject.slice(this.#inbox.length + 1))
      },
    })
    this.#resources.defer(() => answers.unsubscribe())
    const timer = setInterval(() => this.#remind(), remindMs)
    this.#resources.defer(() => clearInterval(timer))
  }

  #remind(): void {
    const { bus, open, send } = this.#options
    this.#missedBefore = this.#missed
    this.#missed = new Set()
    if (!bus.isConnected) return
    const asked = new Map<string, string>()
    let told = 0
    for (const [exchangeId, { gatewayId }] of open.since(performance.now() - remindMs)) {
      if (!asked.has(gatewayId)) {
        asked.set(gatewayId, exchangeId)
        this.#ask(gatewayId, exchangeId)
      } else if (this.#hasEnded(gatewayId) && told++ < mostAtOnce) {
        send(gatewayId, exchangeId, encodeAccepted())
      }
    }
    this.#asked = asked
  }

  /** A gateway that gives up what is open gives up the oldest too, and then the others are worth asking for. */
  #hasEnded(gatewayId: string): boolean {
    const exchangeId = this.#asked.get(gatewayId)
    return exchangeId !== undefined && !this.#options.open.get(exchangeId)
  }

  /** The server answers when nobody listens there. It may overtake other frames of the exchange, which matters to none. */
  #ask(gatewayId: string, exchangeId: string): void {
    const { bus, memberId } = this.#options
    bus.publish(subjects.up(memberId, gatewayId, exchangeId), encodeAccepted(), {
      reply: `${this.#inbox}.${gatewayId}`,
    })
  }

  #miss(gatewayId: string): void {
    if (this.#missedBefore.has(gatewayId)) this.#options.open.leave(gatewayId)
    else this.#missed.add(gatewayId)
  }

  [Symbol.dispose](): void {
    this.#resources.dispose()
  }
}

/**
 * A connector's place in its group's queue. Being subscribed means being ready: a connector that has as much as it can
 * take leaves by draining (never by unsubscribing: that loses what is on its way) and comes back at three quarters. One
 * that is slow leaves earlier (pace.ts). Exchanges still arrive on the way out.
 */

import type { Subscription } from '@nats-io/transport-node'
import type { Message } from '#infra/bus.ts'
import { queues, subjects } from '#infra/subjects.ts'
import { Pace, type PaceOptions } from './pace.ts'

/**
 * Of all exchanges that may be open at once: with so many a connector that was full comes back. Connections that stay
 * open as long as their clients like take no more, or short requests would wait outside until pages are closed.
 */
export const roomAgainShare = 0.75

export interface GroupQueueOptions extends Omit<PaceOptions, 'onRelease'> {
  maxExchanges: number
  openExchanges: () => number
  /** An exchange has arrived. */
  take: (message: Message) => void
}

export class GroupQueue implements AsyncDisposable {
  readonly #options: GroupQueueOptions
  readonly #pace: Pace
  #subscription: Subscription | undefined
  #isOver = false

  constructor(options: GroupQueueOptions) {
    this.#options = options
    this.#pace = new Pace({ ...options, onRelease: () => this.comeBack() })
    this.#join()
  }

  /** Outside for want of room. */
  get isSaturated(): boolean {
    return this.#subscription === undefined && !this.#hasRoom
  }

  /** Counts an exchange that was taken at this time, and leaves when it was one too many for now. */
  took(now: number): void {
    const { maxExchanges, openExchanges } = this.#options
    const isSlow = this.#pace.took(now)
    if (isSlow || openExchanges() >= maxExchanges) void this.#leave()
  }

  /** An origin of this application has answered after so long. */
  answered(applicationId: string, ms: number): void {
    this.#pace.answered(applicationId, ms)
  }

  /** Joins again if there is room, and nothing else to wait for. */
  comeBack(): void {
    if (this.#subscription || this.#isOver || !this.#hasRoom) return
    if (!this.#pace.isWaiting) this.#join()
  }

  /** For good. Resolves when nothing arrives any more. */
  async end(): Promise<void> {
    this.#isOver = true
    await this.#leave()
  }

  get #hasRoom(): boolean {
    const { maxExchanges, openExchanges } = this.#options
    return openExchanges() <= maxExchanges * roomAgainShare
  }

  #join(): void {
    const { bus, groupId, take } = this.#options
    this.#subscription = bus.subscribe(subjects.exchangesOf(groupId), {
      queue: queues.connectors(groupId),
      callback: take,
    })
  }

  async #leave(): Promise<void> {
    const subscription = this.#subscription
    if (!subscription) return
    this.#subscription = undefined
    const { bus, log } = this.#options
    // Whoever has lost the bus is in no queue any more, and would wait for its return.
    const { promise: lost, resolve } = Promise.withResolvers<void>()
    const off = bus.onStatus(status => status === 'disconnected' && resolve())
    if (!bus.isConnected) resolve()
    const drained = subscription.drain().catch(error => log.warn({ error }, 'drain failed'))
    await Promise.race([drained, lost]).finally(off)
    if (!bus.isConnected) subscription.unsubscribe()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pace[Symbol.dispose]()
    await this.end()
  }
}

/**
 * Keeps the share of a slow member small. A queue group chooses at random, so under load a member whose origin answers
 * ten times slower than the others' would soon hold most of the requests under way. It takes as much less as it is
 * slower, by an allowance that refills with time and is waited for outside the queue.
 *
 * All of this is a hint and must never make a group unavailable: what arrives is taken, allowance or not; without news
 * from registry, or when a gateway finds the queue empty, the hint is void and only the limit of open exchanges counts.
 */

import type { Subscription } from '@nats-io/transport-node'
import type { Bus } from '#infra/bus.ts'
import { GroupPace, paceIntervalMs, paceTimeoutMs } from '#infra/contracts/connector.ts'
import { parseJson } from '#infra/json.ts'
import type { Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import { AnswerTimes } from './answer-times.ts'

export interface PaceOptions {
  bus: Bus
  log: Logger
  memberId: string
  groupId: string
  /** It need not hold back any longer. */
  onRelease: () => void
}

/** So many times slower than its group is slow. */
const slowFactor = 2

/** Every member takes so many a second: else it would never notice that it has become fast again. */
const leastPerSecond = 30

/** What a member may take at once after it was away. Joining costs a round trip: not for every single exchange. */
const burstSeconds = 0.1

/** The longest that it stays away for what it took too much. */
const maxDebtSeconds = 1

/** After the queue was found empty no hint counts until it cannot be about those who have gone. */
const wantedMs = paceTimeoutMs + paceIntervalMs

export class Pace implements Disposable {
  readonly #options: PaceOptions
  readonly #times = new AnswerTimes()
  readonly #subscriptions: readonly Subscription[]
  readonly #reporting: NodeJS.Timeout
  /** Undefined while it takes whatever comes. */
  #perSecond: number | undefined
  #allowance = 0
  #countedAt = 0
  #waiting: NodeJS.Timeout | undefined
  #expiring: NodeJS.Timeout | undefined
  #ignoredUntil = 0

  constructor(options: PaceOptions) {
    this.#options = options
    const { bus, groupId } = options
    this.#subscriptions = [
      bus.subscribe(subjects.paceOf(groupId), {
        callback: message => this.#compare(parseJson(GroupPace, message.data, 'pace')),
      }),
      bus.subscribe(subjects.wanted(groupId), { callback: () => this.#comeAtOnce() }),
    ]
    this.#reporting = setInterval(() => this.#report(), paceIntervalMs)
  }

  /** An origin of this application has answered after so long. */
  answered(applicationId: string, ms: number): void {
    this.#times.add(applicationId, ms)
  }

  /** Counts an exchange that was taken at this time; true when the allowance is used up. */
  took(now: number): boolean {
    const perSecond = this.#perSecond
    if (perSecond === undefined) return false
    this.#refill(now, perSecond)
    this.#allowance = Math.max(this.#allowance - 1, -perSecond * maxDebtSeconds)
    if (this.#allowance <= 0) this.#wait(perSecond)
    return this.isWaiting
  }

  /** Stays outside the queue until `onRelease`. */
  get isWaiting(): boolean {
    return this.#waiting !== undefined
  }

  #report(): void {
    const { bus, groupId, memberId } = this.#options
    const report = this.#times.report()
    this.#times.fade()
    if (report.applications.length === 0) return
    bus.publishJson(subjects.connectorPace(groupId, memberId), report)
  }

  #compare(pace: GroupPace): void {
    const now = performance.now()
    if (now < this.#ignoredUntil) return
    const slowness = this.#times.slownessBeside(pace)
    if (slowness < slowFactor) return this.#takeEverything()
    clearTimeout(this.#expiring)
    this.#expiring = setTimeout(() => this.#takeEverything(), paceTimeoutMs)
    const perSecond = Math.max(pace.answersPerSecond / slowness, leastPerSecond)
    if (this.#perSecond === undefined) {
      this.#options.log.info({ slowness, perSecond }, 'slower than its group: takes less')
      this.#allowance = perSecond * burstSeconds
      this.#countedAt = now
    }
    this.#perSecond = perSecond
  }

  #comeAtOnce(): void {
    this.#ignoredUntil = performance.now() + wantedMs
    this.#takeEverything()
  }

  #takeEverything(): void {
    if (this.#perSecond === undefined) return
    this.#options.log.info('takes as much as the others again')
    this.#perSecond = undefined
    clearTimeout(this.#expiring)
    this.#release()
  }

  #refill(now: number, perSecond: number): void {
    const gained = ((now - this.#countedAt) / 1_000) * perSecond
    this.#allowance = Math.min(this.#allowance + gained, perSecond * burstSeconds)
    this.#countedAt = now
  }

  /** Until the allowance is whole, and not only for the next exchange. */
  #wait(perSecond: number): void {
    if (this.#waiting) return
    const missing = perSecond * burstSeconds - this.#allowance
    this.#waiting = setTimeout(() => this.#look(), Math.ceil((missing / perSecond) * 1_000))
  }

  /** More may have arrived on the way out. */
  #look(): void {
    this.#waiting = undefined
    if (this.#perSecond === undefined) return
    this.#refill(performance.now(), this.#perSecond)
    if (this.#allowance < (this.#perSecond * burstSeconds) / 2) this.#wait(this.#perSecond)
    else this.#release()
  }

  #release(): void {
    clearTimeout(this.#waiting)
    this.#waiting = undefined
    this.#options.onRelease()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#reporting)
    clearTimeout(this.#waiting)
    clearTimeout(this.#expiring)
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }
}

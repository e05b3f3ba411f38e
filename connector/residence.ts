/**
 * Keeps a connector in the group to which it belongs, while the process runs. A move is made before the old place is
 * left: a second connection, which the bus gives the rights of the new group, joins there; only then the old one leaves
 * its queue, finishes what it has begun and is closed. So nothing is lost and no restart is needed. The same is done
 * before the rights of a connection end. A connector that is disabled waits outside; one that was removed ends.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '#infra/bus.ts'
import type { Placement } from '#infra/contracts/connector.ts'
import { EndedForGood } from '#infra/lifecycle.ts'
import { joinGroup, type Member, type Membership } from './membership.ts'
import { askPlacement, followPlacement } from './placement.ts'
import { Statements } from './statements.ts'

export interface ResidenceOptions {
  member: Member
  /** A new connection, with the rights that this connector has now. */
  dial: (signal: AbortSignal) => Promise<Bus>
  /** How long the rights of a connection last that is dialled now; undefined when they do not end. */
  lifetimeMs: () => Promise<number | undefined>
  signal: AbortSignal
}

/** A connection by which the connector is reached, with a membership while it may serve. */
interface Place {
  readonly bus: Bus
  readonly following: Disposable
  readonly membership: Membership | undefined
  /** When the rights of its connection end. */
  readonly endsAtMs: number
}

const retryMs = 1_000

export class Residence implements AsyncDisposable {
  readonly #options: ResidenceOptions
  readonly #stopping = new AbortController()
  readonly #signal: AbortSignal
  readonly #ended = Promise.withResolvers<never>()
  #hasEnded = false
  #place: Place | undefined
  /** Places where something is still under way. */
  readonly #former = new Map<Place, Promise<void>>()
  #looking: Promise<void> | undefined
  #hasNews = false
  #isStale = false
  #renewing: NodeJS.Timeout | undefined

  constructor(options: ResidenceOptions) {
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#stopping.signal])
    this.#ended.promise.catch(() => undefined)
  }

  /** Rejects when the connector has to end, with the reason. */
  get ended(): Promise<never> {
    return this.#ended.promise
  }

  /** The connection that it has now. */
  get bus(): Bus | undefined {
    return this.#place?.bus
  }

  get groupId(): string | undefined {
    return this.#place?.membership?.groupId
  }

  get openExchanges(): number {
    return this.#place?.membership?.openExchanges ?? 0
  }

  /** What it cannot serve without, as far as it is not there. */
  get missing(): string[] {
    if (!this.#place?.bus.isConnected) return ['bus']
    return this.#place.membership ? [] : ['enabled']
  }

  /** Resolves when it serves its group, or knows that it must not yet. */
  async begin(): Promise<void> {
    this.#lookAgain()
    await Promise.race([this.#looking, this.ended])
    this.#signal.throwIfAborted()
  }

  /** Looks where it belongs, once more when there is news meanwhile. */
  #lookAgain(): void {
    this.#hasNews = true
    this.#looking ??= this.#lookWhileNews().finally(() => {
      this.#looking = undefined
      if (this.#hasNews && !this.#signal.aborted) this.#lookAgain()
    })
  }

  async #lookWhileNews(): Promise<void> {
    const { log } = this.#options.member
    while (this.#hasNews && !this.#hasEnded && !this.#signal.aborted) {
      this.#hasNews = false
      try {
        await this.#settle()
      } catch (error) {
        if (this.#signal.aborted) return
        this.#hasNews = true
        log.warn({ error }, 'the connector group could not be joined, trying again')
        await sleep(retryMs, undefined, { signal: this.#signal }).catch(() => undefined)
      }
    }
  }

  async #settle(): Promise<void> {
    const present = this.#place
    if (!present) return await this.#moveIn()
    const { state, connectorGroupId } = await this.#ask(present.bus, this.#signal)
    if (state === 'removed') return this.#end()
    if (state === 'disabled') return await this.#wait(present)
    const { membership } = present
    const isRight = membership?.groupId === connectorGroupId && !membership.isRefused
    if (!isRight || this.#isStale) await this.#moveIn()
  }

  /** Joins the group to which it belongs now with a new connection, and leaves the place before. */
  async #moveIn(): Promise<void> {
    const { member, dial } = this.#options
    await using stack = new AsyncDisposableStack()
    const lifetimeMs = await this.#options.lifetimeMs()
    const endsAtMs = performance.now() + (lifetimeMs ?? Number.POSITIVE_INFINITY)
    const bus = stack.use(await dial(this.#signal))
    const following = followPlacement(bus, member.config.connectorId, () => this.#lookAgain())
    stack.defer(() => following[Symbol.dispose]())
    const { state, connectorGroupId: groupId } = await this.#ask(bus, this.#signal)
    if (state === 'removed') return this.#end()
    const membership = state === 'enabled' ? await this.#join(bus, groupId) : undefined
    const before = this.#place
    stack.move()
    this.#place = { bus, following, membership, endsAtMs }
    this.#renewAfter(lifetimeMs)
    if (!membership) this.#sayDisabled()
    if (before) this.#leave(before)
  }

  #join(bus: Bus, groupId: string): Promise<Membership> {
    const { member } = this.#options
    // Not at once: what the bus refuses now, it may refuse the next connection as well.
    const onRefused = () => void setTimeout(() => this.#lookAgain(), retryMs).unref()
    return joinGroup(member, { bus, groupId, signal: this.#signal, onRefused })
  }

  #renewAfter(lifetimeMs: number | undefined): void {
    this.#isStale = false
    clearTimeout(this.#renewing)
    if (lifetimeMs === undefined) return
    const becomeStale = () => {
      this.#isStale = true
      this.#lookAgain()
    }
    // Those that came at one moment, after the bus was away, do not come at one moment again.
    this.#renewing = setTimeout(becomeStale, lifetimeMs * (0.5 + Math.random() / 4))
  }

  #ask(bus: Bus, signal: AbortSignal): Promise<Placement> {
    const { connectorId, groupId: wishedGroupId } = this.#options.member.config
    const { root, log } = this.#options.member
    const statements = new Statements({ bus, root, log })
    return askPlacement({ statements, connectorId, wishedGroupId, log, signal })
  }

  /** What it has begun there has time until the rights end: of a group that it left, not longer than of a process. */
  #leave(place: Place): void {
    const { config, log } = this.#options.member
    const from = place.membership?.groupId
    log.info({ from, to: this.groupId }, 'goes on with another connection')
    const hasMoved = from !== this.groupId
    const graceMs = hasMoved ? config.drainGraceMs : place.endsAtMs - performance.now()
    const left = this.#close(place, { isForGood: false, graceMs })
      .catch(error => log.warn({ error }, 'a former connection was not closed in order'))
      .finally(() => this.#former.delete(place))
    this.#former.set(place, left)
  }

  /** Outside, by a connection of its own where that is possible, to hear that it is enabled again. */
  async #wait(place: Place): Promise<void> {
    if (!place.membership) return
    this.#place = undefined
    await this.#close(place, { isForGood: true, graceMs: 0 })
    await this.#moveIn()
  }

  #sayDisabled(): void {
    this.#options.member.log.warn(
      'an administrator has disabled this connector; it waits until it is enabled again',
    )
  }

  #end(): void {
    const { connectorId } = this.#options.member.config
    this.#hasEnded = true
    const reason =
      `connector "${connectorId}" was removed by an administrator; ` +
      'to use this host again, enrol it again with a new token'
    this.#ended.reject(new EndedForGood(reason))
  }

  async #close(
    { bus, following, membership }: Place,
    how: { isForGood: boolean; graceMs: number },
  ): Promise<void> {
    following[Symbol.dispose]()
    // Of what a removed connector still does nobody hears any more.
    if (!this.#hasEnded) await membership?.leave(how)
    await (membership ?? bus)[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { drainGraceMs: graceMs } = this.#options.member.config
    this.#stopping.abort(new Error('stopping'))
    clearTimeout(this.#renewing)
    await this.#looking
    const present = this.#place && this.#close(this.#place, { isForGood: true, graceMs })
    const late = sleep(graceMs, undefined, { ref: false })
    await Promise.race([Promise.all(this.#former.values()), late])
    await Promise.all([...this.#former.keys()].map(({ membership }) => membership?.cut()))
    await present
  }
}

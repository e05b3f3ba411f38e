/**
 * The exchanges that a connector has under way, and what ends one that its gateway does not end: a lease that is over, an
 * origin that keeps silent, the veto of the site's owner, or the connector's own end. Sweeps look for all of that: no
 * timer is armed for an exchange.
 */

import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { PassingMap } from '#infra/passing-map.ts'
import { acceptAfterMs } from '#infra/wire.ts'
import { Awaited } from './awaited.ts'
import type { Carried } from './carried.ts'
import type { Exchange } from './exchange.ts'
import type { Leases } from './leases.ts'
import type { SiteVeto } from './veto/site-veto.ts'

export interface OpenExchangesOptions {
  leases: Leases
  carried: Carried
  /** Requests of one application that may wait for its answer. */
  maxAwaited: number
  /** What the owner of the site has to say; undefined when there is nothing. */
  veto?: SiteVeto | undefined
  /** There is no answer after so long that the gateway was told to wait; it may never come. */
  onAccepted: (exchange: Exchange) => void
}

/** How often silent and expired exchanges are looked for. */
const sweepMs = 50
/** How often origins that keep silent are looked for. */
const silenceSweepMs = 250

export class OpenExchanges implements Disposable {
  readonly #options: OpenExchangesOptions
  readonly #open = new PassingMap<Exchange>()
  /** Not answered and not yet accepted, oldest first. */
  readonly #unanswered = new PassingMap<Exchange>()
  readonly #awaited: Awaited
  #upgrades = 0
  readonly #sweepers: readonly NodeJS.Timeout[]
  /** Of the veto, when they were last held against it. */
  #vetoTurn: string | undefined
  #emptied: (() => void) | undefined

  constructor(options: OpenExchangesOptions) {
    this.#options = options
    this.#awaited = new Awaited(options.maxAwaited)
    this.#sweepers = [
      setInterval(() => this.#sweep(), sweepMs),
      setInterval(() => this.#checkSilence(), silenceSweepMs),
      setInterval(() => this.#checkVeto(), silenceSweepMs),
    ]
  }

  get size(): number {
    return this.#open.size
  }

  /** Of them, WebSockets and other connections that were upgraded, or are to be. */
  get upgrades(): number {
    return this.#upgrades
  }

  get(exchangeId: string): Exchange | undefined {
    return this.#open.get(exchangeId)
  }

  /** Whether one more request of this application may wait for its answer. */
  hasRoomFor(applicationId: string): boolean {
    return this.#awaited.hasRoom(applicationId)
  }

  add(exchangeId: string, exchange: Exchange): void {
    this.#open.set(exchangeId, exchange)
    this.#unanswered.set(exchangeId, exchange)
    this.#awaited.began(exchange.claims.app)
    if (exchange.isUpgrade) this.#upgrades++
  }

  /** True when the gateway had heard nothing of it before. */
  answered(exchangeId: string, exchange: Exchange): boolean {
    this.#noLongerAwaited(exchange)
    return this.#unanswered.delete(exchangeId)
  }

  delete(exchangeId: string): void {
    this.#unanswered.delete(exchangeId)
    const exchange = this.#open.get(exchangeId)
    if (!exchange) return
    this.#open.delete(exchangeId)
    if (exchange.isUpgrade) this.#upgrades--
    this.#noLongerAwaited(exchange)
    this.#count(exchange)
    if (this.#open.size === 0) this.#emptied?.()
  }

  /** Counts what they have carried by now. */
  count(): void {
    for (const exchange of this.#open.values()) this.#count(exchange)
  }

  /** Ends every one that `matches`, with a fault code for the client. */
  cancel(matches: (lease: LeaseClaims) => boolean, code: string): void {
    for (const exchange of this.#open.values()) {
      if (matches(exchange.claims)) exchange.cancel(code, 'access ended')
    }
  }

  /** Those that have been open since before this moment, oldest first. */
  *since(moment: number): Generator<[string, Exchange]> {
    for (const entry of this.#open) {
      if (entry[1].startedAt > moment) return
      yield entry
    }
  }

  /** They may end while somebody goes through them. */
  values(): Iterable<Exchange> {
    return this.#open.values()
  }

  /** Their gateway is gone: nobody may be told. */
  leave(gatewayId: string): void {
    for (const exchange of this.#open.values())
      if (exchange.gatewayId === gatewayId) exchange.leave()
  }

  /** The connector stops. */
  cut(): void {
    for (const exchange of this.#open.values()) exchange.cancel('connector_lost', 'connector stops')
  }

  /** Resolves when there are none any more; after `graceMs` the rest is cut. */
  async finish(graceMs: number): Promise<void> {
    if (this.#open.size === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#emptied = resolve
    const grace = setTimeout(() => {
      this.cut()
      resolve()
    }, graceMs)
    await promise
    clearTimeout(grace)
  }

  #noLongerAwaited(exchange: Exchange): void {
    if (!exchange.countsAsAwaited) return
    exchange.countsAsAwaited = false
    this.#awaited.ended(exchange.claims.app)
  }

  #count(exchange: Exchange): void {
    const bytes = exchange.carriedBytes - exchange.countedBytes
    if (bytes === 0) return
    exchange.countedBytes += bytes
    this.#options.carried.passed(exchange.claims.app, bytes)
  }

  #sweep(): void {
    this.#acceptSlow()
    this.#endWithLeases()
  }

  #acceptSlow(): void {
    const acceptBefore = performance.now() - acceptAfterMs
    for (const [exchangeId, exchange] of this.#unanswered) {
      if (exchange.startedAt > acceptBefore) break
      this.#unanswered.delete(exchangeId)
      this.#options.onAccepted(exchange)
      exchange.accept()
    }
  }

  #endWithLeases(): void {
    const { leases } = this.#options
    const now = leases.endingTime()
    if (now === undefined) return
    for (const exchange of this.#open.values()) {
      if (leases.hasEnded(exchange.claims, now))
        exchange.cancel('session_revoked', 'the lease ended')
    }
  }

  #checkSilence(): void {
    const now = performance.now()
    for (const exchange of this.#open.values()) exchange.checkSilence(now)
  }

  /** What was allowed when it began may be refused by now: also what has been open for long ends then. */
  #checkVeto(): void {
    const turn = this.#options.veto?.turn
    if (turn === this.#vetoTurn) return
    this.#vetoTurn = turn
    for (const exchange of this.#open.values()) exchange.endIfVetoed()
  }

  [Symbol.dispose](): void {
    for (const sweeper of this.#sweepers) clearInterval(sweeper)
  }
}

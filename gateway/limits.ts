/**
 * How much one client, or one user, may ask of a gateway: token buckets (a steady rate and a burst on top), counted by
 * address (of IPv6, by its network) for everybody and by user for those signed in. Signing in and asking policy cost more
 * than they cost the one who asks, so they have stricter limits of their own. Refusing is cheap: a look-up and a 429.
 * Limits that several workers share note what they admit, for the others (shared-limits.ts).
 */

import type { Server } from 'node:net'
import { LRUCache } from 'lru-cache'
import { SallyportError } from '#infra/errors.ts'
import { countedAs, plainAddress, type TrustedProxies } from './client-address.ts'

export interface Rate {
  /** Tokens per second; zero: no limit. */
  readonly perSecond: number
  /** Tokens that may be spent at once. */
  readonly burst: number
}

interface Bucket {
  tokens: number
  refilledAt: number
}

/** How much, by user or address. */
export type Counts = [key: string, count: number][]

/** Clients or users counted at once, per limit; the least recent ones are forgotten, which is in their favour. */
const maxCounted = 50_000

export class RateLimit {
  readonly #rate: Rate
  readonly #buckets = new LRUCache<string, Bucket>({ max: maxCounted })
  readonly #taken: Map<string, number> | undefined

  constructor(rate: Rate, isShared = false) {
    this.#rate = rate
    this.#taken = isShared ? new Map() : undefined
  }

  get isUnlimited(): boolean {
    return this.#rate.perSecond === 0
  }

  /** Seconds until there is a token again, or zero when one was taken. */
  take(key: string, now = performance.now()): number {
    if (this.isUnlimited) return 0
    const { perSecond } = this.#rate
    const bucket = this.#bucketOf(key, now)
    if (bucket.tokens < 1) return (1 - bucket.tokens) / perSecond
    bucket.tokens--
    this.#note(key, 1)
    return 0
  }

  /** Gives a token back. */
  restore(key: string): void {
    const bucket = this.#buckets.get(key)
    if (!bucket) return
    bucket.tokens = Math.min(this.#rate.burst, bucket.tokens + 1)
    this.#note(key, -1)
  }

  /** What was taken, less what was given back, since the last call. */
  takenSinceLast(): Counts {
    const taken = [...(this.#taken ?? [])]
    this.#taken?.clear()
    return taken
  }

  /** What others have admitted under the same limit: more than there was makes a debt, which time pays off. */
  takenElsewhere(counts: Counts, now = performance.now()): void {
    for (const [key, count] of counts) {
      const bucket = this.#bucketOf(key, now)
      bucket.tokens = Math.min(this.#rate.burst, bucket.tokens - count)
    }
  }

  #note(key: string, count: number): void {
    this.#taken?.set(key, (this.#taken.get(key) ?? 0) + count)
  }

  #bucketOf(key: string, now: number): Bucket {
    const { perSecond, burst } = this.#rate
    let bucket = this.#buckets.get(key)
    if (!bucket) {
      bucket = { tokens: burst, refilledAt: now }
      this.#buckets.set(key, bucket)
    }
    const refill = ((now - bucket.refilledAt) / 1_000) * perSecond
    bucket.tokens = Math.min(burst, bucket.tokens + refill)
    bucket.refilledAt = now
    return bucket
  }
}

/** How many things one key has open at once; zero: no limit. */
export class CountLimit {
  readonly #most: number
  readonly #open = new Map<string, number>()
  /** By the number of each other worker. */
  readonly #elsewhere = new Map<number, Map<string, number>>()
  readonly #changed: Set<string> | undefined

  constructor(most: number, isShared = false) {
    this.#most = most
    this.#changed = isShared ? new Set() : undefined
  }

  get isUnlimited(): boolean {
    return this.#most === 0
  }

  /** Counts one more, unless the limit is reached. */
  enter(key: string): boolean {
    const open = this.#open.get(key) ?? 0
    if (this.#most > 0 && open + this.#countElsewhere(key) >= this.#most) return false
    this.#open.set(key, open + 1)
    this.#changed?.add(key)
    return true
  }

  leave(key: string): void {
    const open = (this.#open.get(key) ?? 1) - 1
    if (open > 0) this.#open.set(key, open)
    else this.#open.delete(key)
    this.#changed?.add(key)
  }

  /** How many each key has open here, of those that have changed since the last call. */
  changedSinceLast(): Counts {
    const changed: Counts = []
    for (const key of this.#changed ?? []) changed.push([key, this.#open.get(key) ?? 0])
    this.#changed?.clear()
    return changed
  }

  /** Somebody knows nothing yet. */
  changedAll(): void {
    for (const key of this.#open.keys()) this.#changed?.add(key)
  }

  openElsewhere(worker: number, counts: Counts): void {
    const open = this.#elsewhere.get(worker) ?? new Map<string, number>()
    for (const [key, count] of counts) {
      if (count > 0) open.set(key, count)
      else open.delete(key)
    }
    this.#elsewhere.set(worker, open)
  }

  goneElsewhere(worker: number): void {
    this.#elsewhere.delete(worker)
  }

  #countElsewhere(key: string): number {
    let count = 0
    for (const open of this.#elsewhere.values()) count += open.get(key) ?? 0
    return count
  }
}

export class TooManyRequests extends SallyportError {
  readonly retryAfterSeconds: number
  constructor(detail: string, retryAfterSeconds: number) {
    super('too_many_requests', detail)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** What is limited, and by what it is counted: an address, or a user. */
export const limited = ['address', 'user', 'sign-in', 'decision', 'enrolment'] as const
export type Limited = (typeof limited)[number]

export class Limits {
  readonly #rates: Readonly<Record<Limited, RateLimit>>

  constructor(rates: Readonly<Record<Limited, Rate>>, isShared = false) {
    this.#rates = forEach(name => new RateLimit(rates[name], isShared))
  }

  /** @throws TooManyRequests when this address or user has used up what it may. */
  admit(what: Limited, key: string): void {
    const rate = this.#rates[what]
    if (rate.isUnlimited) return
    const waitSeconds = rate.take(counted(what, key))
    if (waitSeconds > 0) throw new TooManyRequests(`limit ${what} of ${key}`, waitSeconds)
  }

  /** Takes an admission back: what nobody carried out costs nothing. */
  restore(what: Limited, key: string): void {
    this.#rates[what].restore(counted(what, key))
  }

  takenSinceLast(): Record<Limited, Counts> {
    return forEach(name => this.#rates[name].takenSinceLast())
  }

  takenElsewhere(taken: Readonly<Record<Limited, Counts>>): void {
    for (const name of limited) this.#rates[name].takenElsewhere(taken[name])
  }
}

function counted(what: Limited, key: string): string {
  return what === 'user' ? key : countedAs(key)
}

function forEach<Value>(make: (name: Limited) => Value): Record<Limited, Value> {
  return Object.fromEntries(limited.map(name => [name, make(name)])) as Record<Limited, Value>
}

/** Closes connections beyond so many of one address at once; those of trusted proxies carry many clients. */
export function limitConnections(
  server: Server,
  open: CountLimit,
  isTrusted: TrustedProxies,
): void {
  if (open.isUnlimited) return
  server.on('connection', socket => {
    const address = plainAddress(socket.remoteAddress)
    if (isTrusted(address)) return
    const key = countedAs(address)
    if (!open.enter(key)) return socket.destroy()
    socket.once('close', () => open.leave(key))
  })
}

/**
 * How much one client, or one user, may ask of a gateway: token buckets (a steady rate and a burst on top), counted
 * by address for everybody and by user for those signed in. Signing in and asking policy cost more than they cost the
 * one who asks, so they have stricter limits of their own. Refusing is cheap: a look-up and a 429.
 */

import type { Server } from 'node:net'
import { LRUCache } from 'lru-cache'
import { SallyportError } from '#infra/errors.ts'
import { plainAddress, type TrustedProxies } from './client-address.ts'

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

/** Clients or users counted at once, per limit; the least recent ones are forgotten, which is in their favour. */
const maxCounted = 50_000

export class RateLimit {
  readonly #rate: Rate
  readonly #buckets = new LRUCache<string, Bucket>({ max: maxCounted })

  constructor(rate: Rate) {
    this.#rate = rate
  }

  /** Seconds until there is a token again, or zero when one was taken. */
  take(key: string, now = performance.now()): number {
    const { perSecond, burst } = this.#rate
    if (perSecond === 0) return 0
    let bucket = this.#buckets.get(key)
    if (!bucket) {
      bucket = { tokens: burst, refilledAt: now }
      this.#buckets.set(key, bucket)
    }
    const refill = ((now - bucket.refilledAt) / 1_000) * perSecond
    bucket.tokens = Math.min(burst, bucket.tokens + refill)
    bucket.refilledAt = now
    if (bucket.tokens < 1) return (1 - bucket.tokens) / perSecond
    bucket.tokens--
    return 0
  }

  /** Gives a token back. */
  restore(key: string): void {
    const bucket = this.#buckets.get(key)
    if (bucket) bucket.tokens = Math.min(this.#rate.burst, bucket.tokens + 1)
  }
}

/** How many things one key has open at once; zero: no limit. */
export class CountLimit {
  readonly #most: number
  readonly #open = new Map<string, number>()

  constructor(most: number) {
    this.#most = most
  }

  /** Counts one more, unless the limit is reached. */
  enter(key: string): boolean {
    const open = this.#open.get(key) ?? 0
    if (this.#most > 0 && open >= this.#most) return false
    this.#open.set(key, open + 1)
    return true
  }

  leave(key: string): void {
    const open = (this.#open.get(key) ?? 1) - 1
    if (open > 0) this.#open.set(key, open)
    else this.#open.delete(key)
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
export const limited = ['address', 'user', 'sign-in', 'decision'] as const
export type Limited = (typeof limited)[number]

export class Limits {
  readonly #rates: Readonly<Record<Limited, RateLimit>>

  constructor(rates: Readonly<Record<Limited, Rate>>) {
    const limits = limited.map(name => [name, new RateLimit(rates[name])] as const)
    this.#rates = Object.fromEntries(limits) as Record<Limited, RateLimit>
  }

  /** @throws TooManyRequests when this address or user has used up what it may. */
  admit(what: Limited, key: string): void {
    const waitSeconds = this.#rates[what].take(key)
    if (waitSeconds > 0) throw new TooManyRequests(`limit ${what} of ${key}`, waitSeconds)
  }

  /** Takes an admission back: what nobody carried out costs nothing. */
  restore(what: Limited, key: string): void {
    this.#rates[what].restore(key)
  }
}

/** Closes connections beyond so many of one address at once; those of trusted proxies carry many clients. */
export function limitConnections(server: Server, most: number, isTrusted: TrustedProxies): void {
  if (most === 0) return
  const open = new CountLimit(most)
  server.on('connection', socket => {
    const address = plainAddress(socket.remoteAddress)
    if (isTrusted(address)) return
    if (!open.enter(address)) return socket.destroy()
    socket.once('close', () => open.leave(address))
  })
}

/**
 * The access leases that this gateway remembers, with the decisions that they stand for. What a change touches is
 * forgotten, and who still holds it is to know; what is only over may be used for some time more where the application
 * wants that (`lastLease`), which is why the end of a lease alone takes nothing out of the memory.
 */

import { LRUCache } from 'lru-cache'
import type { Decision } from '#infra/contracts/policy.ts'
import { keyOf, type Question } from './question.ts'

export interface Grant {
  readonly decision: Decision
  readonly lease: string
  readonly expiresAtMs: number
  /** Until when it may be used while policy is away: no longer than it lives, unless the application wants that. */
  readonly lastUntilMs: number
  /** Policy was asked for a newer one, and nobody was there. */
  readonly isLast?: boolean
  /** The members of the connector group that have taken a request with this lease: they know it by its reference. */
  readonly knownTo: Set<string>
  /** Something has changed since it was asked for: what begins with it is decided anew at once. */
  readonly isOutdated?: boolean
}

export interface RememberedGrant extends Grant {
  readonly question: Question
  isOutdated: boolean
  renewAtMs: number
  isRenewing: boolean
}

/** Kept per gateway process: of sessions, and of clients without one, whose number nobody controls. */
const maxLeases = 50_000
const maxOpenLeases = 5_000

/** A lease that ends on its way would be refused by the connector, whose clock may be a little ahead of ours. */
const clockMarginMs = 500

export class Leases {
  readonly #ofSessions = new LRUCache({ max: maxLeases, dispose: outdate })
  readonly #open = new LRUCache({ max: maxOpenLeases, dispose: outdate })

  get(question: Question): RememberedGrant | undefined {
    return this.#cacheOf(question).get(keyOf(question))
  }

  remember(grant: RememberedGrant): void {
    this.#cacheOf(grant.question).set(keyOf(grant.question), grant)
  }

  forget(question: Question): void {
    this.#cacheOf(question).delete(keyOf(question))
  }

  /** Forgets every lease whose question is meant. */
  forgetThose(isMeant: (question: Question) => boolean): void {
    for (const leases of [this.#ofSessions, this.#open]) {
      for (const [key, { question }] of leases.entries()) {
        if (isMeant(question)) leases.delete(key)
      }
    }
  }

  forgetAll(): void {
    this.#ofSessions.clear()
    this.#open.clear()
  }

  #cacheOf({ sessionId }: Question): LRUCache<string, RememberedGrant> {
    return sessionId === null ? this.#open : this.#ofSessions
  }
}

/** Who still holds a lease that is forgotten, as while a body comes, is to know; one that was renewed is good. */
function outdate(lease: RememberedGrant, _key: string, reason: LRUCache.DisposeReason): void {
  if (reason === 'delete') lease.isOutdated = true
}

export function isOver({ expiresAtMs }: Grant, nowMs: number): boolean {
  return nowMs >= expiresAtMs - clockMarginMs
}

/** Only of an application that wants it; without that a lease is over when it is over. */
export function mayLast({ expiresAtMs, lastUntilMs }: Grant, nowMs: number): boolean {
  return lastUntilMs > expiresAtMs && nowMs < lastUntilMs - clockMarginMs
}

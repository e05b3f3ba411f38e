/**
 * Sessions that were ended, by themselves or with everything of their user up to a time: as this gateway has heard it,
 * and as the tombstones show that are kept for whoever was not listening. Asked with every request, and once more when
 * one that had to wait is about to go to a connector.
 */

import { LRUCache } from 'lru-cache'
import { type Revocation, revocationKey } from '#infra/contracts/policy.ts'
import type { SessionRecord } from './session.ts'

/** Revocations heard of directly, until their tombstones are seen here. */
const maxHeard = 10_000

interface Keys {
  readonly ofSession: string
  readonly ofUser: string
}

/** Built once for each session in memory: they are looked up with every request. */
const keys = new WeakMap<SessionRecord, Keys>()

export class Revoked {
  readonly #tombstones: { readonly entries: ReadonlyMap<string, Revocation> }
  readonly #heard = new LRUCache<string, Revocation>({ max: maxHeard })

  constructor(tombstones: { readonly entries: ReadonlyMap<string, Revocation> }) {
    this.#tombstones = tombstones
  }

  hear(revocation: Revocation): void {
    const key = revocationKey(revocation.kind, revocation.id)
    // It may be said once more when its tombstone is stored, after a later one.
    if (!this.#hasHeard(key, revocation)) this.#heard.set(key, revocation)
  }

  hasHeard(revocation: Revocation): boolean {
    return this.#hasHeard(revocationKey(revocation.kind, revocation.id), revocation)
  }

  #hasHeard(key: string, { atMs }: Revocation): boolean {
    return (this.#heard.peek(key)?.atMs ?? Number.NEGATIVE_INFINITY) >= atMs
  }

  has(session: SessionRecord): boolean {
    const { ofSession, ofUser } = keysOf(session)
    for (const known of [this.#tombstones.entries, this.#heard]) {
      if (known.has(ofSession)) return true
      const revoked = known.get(ofUser)
      if (revoked !== undefined && session.signedInAtMs <= revoked.atMs) return true
    }
    return false
  }
}

function keysOf(session: SessionRecord): Keys {
  let known = keys.get(session)
  if (!known) {
    known = {
      ofSession: revocationKey('session', session.sessionId),
      ofUser: revocationKey('user', session.userPrincipalName.toLowerCase()),
    }
    keys.set(session, known)
  }
  return known
}

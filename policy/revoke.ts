/**
 * Revocations: what ends sessions early. Each is published at once (the tripwire) and kept as a tombstone in the
 * bucket `revocations` for whoever was not listening; the tombstone is written again and again until it is stored.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { KV } from '@nats-io/kv'
import { LRUCache } from 'lru-cache'
import { type Bus, parseJson } from '#infra/bus.ts'
import { Revocation, revocationKey } from '#infra/contracts/policy.ts'
import type { SessionFacts } from '#infra/contracts/principal.ts'
import type { Logger } from '#infra/log.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import { subjects } from '#infra/subjects.ts'

export interface RevocationsOptions {
  bus: Bus
  bucket: KV
  /** The bucket as it is watched. */
  tombstones: Snapshot<Revocation>
  log: Logger
  onRevoked: (revocation: Revocation) => void
}

const retryMs = 500

/** Revocations heard of directly, until the watched bucket shows them. */
const maxHeard = 10_000

export class Revocations implements AsyncDisposable {
  readonly #options: RevocationsOptions
  readonly #heard = new LRUCache<string, Revocation>({ max: maxHeard })
  readonly #storing = new Set<Promise<void>>()
  readonly #stopping = new AbortController()
  readonly #stack = new DisposableStack()

  constructor(options: RevocationsOptions) {
    this.#options = options
    const { bus, tombstones } = options
    const heard = bus.subscribe(subjects.revocations, {
      callback: ({ data }) => this.#hear(parseJson(Revocation, data, 'revocation')),
    })
    this.#stack.defer(() => heard.unsubscribe())
    this.#stack.defer(
      tombstones.onChange(changes => {
        for (const { after } of changes) if (after) options.onRevoked(after)
      }),
    )
  }

  #hear(revocation: Revocation): void {
    this.#heard.set(revocationKey(revocation.kind, revocation.id), revocation)
    this.#options.onRevoked(revocation)
  }

  /** Whether a session was ended, by itself or with everything of its user up to a time. */
  isRevoked(sessionId: string, { principal, signedInAtMs }: SessionFacts): boolean {
    if (this.#find('session', sessionId)) return true
    const ofUser = this.#find('user', principal.userPrincipalName.toLowerCase())
    return ofUser !== undefined && signedInAtMs <= ofUser.atMs
  }

  isSessionRevoked(sessionId: string): boolean {
    return this.#find('session', sessionId) !== undefined
  }

  #find(kind: Revocation['kind'], id: string): Revocation | undefined {
    const key = revocationKey(kind, id)
    const [heard, stored] = [this.#heard.get(key), this.#options.tombstones.entries.get(key)]
    if (heard && stored) return heard.atMs > stored.atMs ? heard : stored
    return heard ?? stored
  }

  /** Takes effect here at once, elsewhere as fast as the bus carries it. The tombstone follows. */
  revoke(revocation: Revocation): void {
    const { bus, log } = this.#options
    this.#hear(revocation)
    const { kind, id } = revocation
    if (!bus.publishJson(subjects.revoke(kind, id), revocation)) {
      log.warn({ kind }, 'a revocation waits for the bus')
    }
    const storing = this.#store(revocation)
      .catch(error => log.error({ error, kind }, 'a revocation was not stored'))
      .finally(() => this.#storing.delete(storing))
    this.#storing.add(storing)
  }

  async #store(revocation: Revocation): Promise<void> {
    const { signal } = this.#stopping
    for (let isRepeated = false; ; isRepeated = true) {
      if (await this.#put(revocation)) {
        const { kind, id } = revocation
        if (isRepeated) this.#options.bus.publishJson(subjects.revoke(kind, id), revocation)
        return
      }
      await sleep(retryMs, undefined, { signal })
    }
  }

  async #put(revocation: Revocation): Promise<boolean> {
    const { bucket, log } = this.#options
    const key = revocationKey(revocation.kind, revocation.id)
    try {
      await bucket.put(key, JSON.stringify(revocation))
      return true
    } catch (error) {
      log.warn({ reason: error instanceof Error ? error.message : error }, 'tombstone not stored')
      return false
    }
  }

  /** Gives tombstones under way a few seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stack.dispose()
    const stored = Promise.all(this.#storing)
    await Promise.race([stored, sleep(3_000, undefined, { ref: false })])
    this.#stopping.abort(new Error('stopping'))
    await stored
  }
}

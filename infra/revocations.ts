/**
 * Revoking: each revocation is published at once (the tripwire) and kept as a tombstone in the bucket `revocations` for
 * whoever was not listening; the tombstone is written again and again until it is stored, and never in place of a
 * later one: a user may have been revoked again meanwhile.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { KV, KvEntry } from '@nats-io/kv'
import type { Bus } from './bus.ts'
import { Revocation, revocationKey } from './contracts/policy.ts'
import type { Logger } from './log.ts'
import { subjects } from './subjects.ts'

export interface RevokerOptions {
  bus: Bus
  bucket: KV
  log: Logger
  /** Asked before a revocation is said once more: whether what it ended has not begun anew since. */
  isStillMeant?: (revocation: Revocation) => boolean
}

const retryMs = 500

/** How long tombstones under way may take when the service stops. */
const finishMs = 3_000

export class Revoker implements AsyncDisposable {
  readonly #options: RevokerOptions
  readonly #storing = new Set<Promise<void>>()
  readonly #stopping = new AbortController()

  constructor(options: RevokerOptions) {
    this.#options = options
  }

  /** Takes effect as fast as the bus carries it. The tombstone follows. */
  revoke(revocation: Revocation): void {
    const { log } = this.#options
    const { kind } = revocation
    if (!this.#publish(revocation)) log.warn({ kind }, 'a revocation waits for the bus')
    const storing = this.#store(revocation)
      .catch(error => log.error({ error, kind }, 'a revocation was not stored'))
      .finally(() => this.#storing.delete(storing))
    this.#storing.add(storing)
  }

  #publish(revocation: Revocation): boolean {
    const { kind, id } = revocation
    return this.#options.bus.publishJson(subjects.revoke(kind, id), revocation)
  }

  async #store(revocation: Revocation): Promise<void> {
    const { isStillMeant = () => true } = this.#options
    const { signal } = this.#stopping
    for (let isRepeated = false; ; isRepeated = true) {
      if (isRepeated && !isStillMeant(revocation)) return
      if (await this.#put(revocation)) {
        if (isRepeated) this.#publish(revocation)
        return
      }
      await sleep(retryMs, undefined, { signal })
    }
  }

  async #put(revocation: Revocation): Promise<boolean> {
    const { bucket, log } = this.#options
    const key = revocationKey(revocation.kind, revocation.id)
    try {
      const entry = await bucket.get(key)
      if (entry && isLater(entry, revocation)) return true
      const previousSeq = entry?.revision ?? 0
      await bucket.put(key, JSON.stringify(revocation), { previousSeq })
      return true
    } catch (error) {
      log.warn({ reason: error instanceof Error ? error.message : error }, 'tombstone not stored')
      return false
    }
  }

  /** Gives tombstones under way a few seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    const stored = Promise.all(this.#storing)
    await Promise.race([stored, sleep(finishMs, undefined, { ref: false })])
    this.#stopping.abort(new Error('stopping'))
    await stored
  }
}

/** Whether what is stored ends all that this one ends. */
function isLater(entry: KvEntry, { atMs, revision = 0 }: Revocation): boolean {
  if (entry.operation !== 'PUT') return false
  try {
    const stored = Revocation.parse(entry.json())
    return stored.atMs >= atMs && (stored.revision ?? 0) >= revision
  } catch {
    return false
  }
}

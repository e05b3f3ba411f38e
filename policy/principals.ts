/**
 * Sessions as policy knows them: who is signed in, since when, from where. They rest in the bucket `principals` under
 * the SHA-256 of the session id: the id is an identifier, not a secret (it stands in leases and audit events), but the
 * bucket alone should not give anybody the names under which leases can be asked for.
 */

import { createHash, randomBytes } from 'node:crypto'
import type { KV } from '@nats-io/kv'
import { LRUCache } from 'lru-cache'
import { type Bucket, type BucketOptions, openBucket } from '#infra/bucket.ts'
import type { Bus } from '#infra/bus.ts'
import { SessionFacts, sessionLifetimeMs } from '#infra/contracts/principal.ts'
import { SallyportError } from '#infra/errors.ts'
import { buckets } from '#infra/subjects.ts'

/** Sessions kept in memory, and how long before the bucket is asked again. Revocations take them out earlier. */
const maxRemembered = 50_000
const rememberMs = 300_000

/** So that made-up ids do not reach the store with every request. */
const rememberUnknownMs = 1_000

/** The store answers in time for a decision, or the question fails. */
const storeTimeoutMs = 1_500

export interface NewSession {
  readonly sessionId: string
  readonly session: SessionFacts
}

export class Principals {
  readonly #bucket: Bucket
  readonly #remembered = new LRUCache<string, { session: SessionFacts | undefined }>({
    max: maxRemembered,
    ttl: rememberMs,
  })

  private constructor(bucket: Bucket) {
    this.#bucket = bucket
  }

  static async open(bus: Bus, options: Omit<BucketOptions, 'timeoutMs'>): Promise<Principals> {
    const limits = { ...options, timeoutMs: storeTimeoutMs }
    return new Principals(await openBucket(bus, buckets.principals, limits))
  }

  /** Stores a session under a fresh id. @throws SallyportError `sign_in_unavailable` */
  async create(
    facts: Pick<SessionFacts, 'principal' | 'facts'>,
    nowMs = Date.now(),
  ): Promise<NewSession> {
    const sessionId = randomBytes(16).toString('base64url')
    // In whole seconds, as leases are: within a part of one there would be none that a connector takes.
    const expiresAtMs = Math.floor((nowMs + sessionLifetimeMs) / 1_000) * 1_000
    const session = { ...facts, signedInAtMs: nowMs, expiresAtMs }
    const store = (kv: KV) => kv.create(keyOf(sessionId), JSON.stringify(session))
    await this.#bucket.write(store).catch(cause => {
      throw new SallyportError('sign_in_unavailable', 'a session cannot be stored', { cause })
    })
    this.#remembered.set(sessionId, { session })
    return { sessionId, session }
  }

  /** @throws SallyportError `policy_unavailable` when the store does not answer. */
  async find(sessionId: string): Promise<SessionFacts | undefined> {
    const known = this.#remembered.get(sessionId)
    if (known) return known.session
    const session = await this.#read(keyOf(sessionId)).catch(cause => {
      throw new SallyportError('policy_unavailable', 'a session cannot be read', { cause })
    })
    this.#remembered.set(sessionId, { session }, { ttl: session ? rememberMs : rememberUnknownMs })
    return session
  }

  async #read(key: string): Promise<SessionFacts | undefined> {
    const entry = await this.#bucket.read(key)
    return entry && parse(entry.text)
  }

  /** The sessions in memory whose user signed in on this device. */
  *sessionsOn(deviceId: string): Generator<string> {
    for (const [sessionId, { session }] of this.#remembered.entries()) {
      if (session?.principal.device?.deviceId === deviceId) yield sessionId
    }
  }

  /** Removes a session for good. Rejects when the store does not answer. */
  async delete(sessionId: string): Promise<void> {
    this.forget(sessionId)
    await this.#bucket.write(kv => kv.delete(keyOf(sessionId)))
  }

  /** Drops a session from memory alone. */
  forget(sessionId: string): void {
    this.#remembered.delete(sessionId)
  }
}

function keyOf(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('hex')
}

/** A record that cannot be read is no session. */
function parse(text: string): SessionFacts | undefined {
  try {
    return SessionFacts.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

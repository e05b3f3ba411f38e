/**
 * Sessions. A cookie holds an id and a key, nothing else. The record lies in a bucket under a hash of the id,
 * encrypted with the key that only the cookie holds: neither a stolen bucket nor whoever runs the bus can use it.
 * Every host has a cookie and a record of its own; what they share is the session id that policy gave at sign-in.
 */

import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import { type Bucket, type BucketOptions, openBucket } from '#infra/bucket.ts'
import type { Bus } from '#infra/bus.ts'
import { SallyportError } from '#infra/errors.ts'
import { ownCookiePrefix } from '#infra/http.ts'
import { ownCopy } from '#infra/own-copy.ts'
import { buckets } from '#infra/subjects.ts'
import { newTicket, openTicket, recordKeyOf } from './ticket.ts'

export const sessionCookie = ownCookiePrefix

const SessionRecord = z.object({
  /** The only host whose cookie opens this record. */
  hostname: z.string(),
  sessionId: z.string(),
  userPrincipalName: z.string(),
  displayName: z.string(),
  groups: z.array(z.string()),
  /** When the user came back from the identity provider. */
  signedInAtMs: z.number(),
  expiresAtMs: z.number(),
  /** What the provider was asked for at this sign-in (sign-in-state.ts): asking for the same at once is of no use. */
  stepUp: z.string().optional(),
  /** Portal only: tells the identity provider whose session ends at sign-out. */
  idToken: z.string().optional(),
})
export type SessionRecord = z.output<typeof SessionRecord>

/** A session in use, with room for what gateways remember about it. */
export interface Session extends SessionRecord {
  /** The bucket's key of this record. */
  readonly recordKey: string
}

/** Sessions kept in memory per gateway process, and how long before the bucket is asked again. */
const maxRemembered = 20_000
const rememberMs = 30_000
/** An unknown cookie is not looked up again before this time. */
const rememberUnknownMs = 2_000
/** What the two are told by. The library arms a timer each time its clock has run out, by default every millisecond. */
const clockMs = 100

/** What the key-value clients reject a late or lost answer with is a store that is away. */
function unavailable(what: string) {
  return (cause: unknown) => {
    throw new SallyportError('sign_in_unavailable', `sessions cannot be ${what}`, { cause })
  }
}

export class SessionStore {
  readonly #bucket: Bucket
  readonly #remembered = new LRUCache<string, { session: Session | undefined }>({
    max: maxRemembered,
    ttl: rememberMs,
    ttlResolution: clockMs,
  })
  readonly #reading = new Map<string, Promise<Session | undefined>>()
  readonly #isRevoked: (record: SessionRecord) => boolean

  private constructor(bucket: Bucket, isRevoked: (record: SessionRecord) => boolean) {
    this.#bucket = bucket
    this.#isRevoked = isRevoked
  }

  static async open(
    bus: Bus,
    options: BucketOptions & { isRevoked: (record: SessionRecord) => boolean },
  ): Promise<SessionStore> {
    return new SessionStore(await openBucket(bus, buckets.sessions, options), options.isRevoked)
  }

  /** Stores a session and answers the value of its cookie. */
  async create(record: SessionRecord): Promise<string> {
    const { value, recordKey, sealed } = await newTicket(record)
    await this.#bucket.write(kv => kv.create(recordKey, sealed)).catch(unavailable('stored'))
    this.#remembered.set(value, { session: { ...record, recordKey } })
    return value
  }

  /** The session in memory; null when it has to be read. */
  remembered(cookie: string, hostname: string): Session | undefined | null {
    const known = this.#remembered.get(cookie)
    if (!known) return null
    return known.session && this.#valid(known.session, hostname)
  }

  /** The session of a cookie at this host; undefined when there is none that is valid. */
  async read(cookie: string, hostname: string): Promise<Session | undefined> {
    const remembered = this.remembered(cookie, hostname)
    if (remembered !== null) return remembered
    let reading = this.#reading.get(cookie)
    if (!reading) {
      reading = this.#load(cookie).finally(() => this.#reading.delete(cookie))
      this.#reading.set(cookie, reading)
    }
    const session = await reading
    return session && this.#valid(session, hostname)
  }

  /** Whether it was ended since it was read. */
  isRevoked(session: Session): boolean {
    return this.#isRevoked(session)
  }

  async delete(cookie: string): Promise<void> {
    const recordKey = recordKeyOf(cookie)
    if (recordKey === undefined) return
    this.#remembered.set(ownCopy(cookie), { session: undefined })
    await this.#bucket.write(kv => kv.delete(recordKey)).catch(unavailable('ended'))
  }

  async #load(cookie: string): Promise<Session | undefined> {
    const recordKey = recordKeyOf(cookie)
    if (recordKey === undefined) return undefined
    const entry = await this.#bucket.read(recordKey).catch(unavailable('read'))
    const record = entry && (await openTicket(cookie, entry.text, SessionRecord))
    const session = record && { ...record, recordKey }
    const ttl = session ? rememberMs : rememberUnknownMs
    this.#remembered.set(ownCopy(cookie), { session }, { ttl })
    return session
  }

  #valid(session: Session, hostname: string): Session | undefined {
    if (session.hostname !== hostname || session.expiresAtMs < Date.now()) return undefined
    return this.#isRevoked(session) ? undefined : session
  }
}

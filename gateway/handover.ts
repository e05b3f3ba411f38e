/**
 * How a session comes from the portal to an application's host, whose cookie no other host can set or read: the
 * application's host sets a nonce, the portal gives a one-time code bound to the nonce's hash, the host and the
 * target, and the application's host takes it once. Nobody can be signed in as somebody else with a code that was
 * made for another browser. A code lives 30 s; its record is encrypted with a key that only the code holds.
 */

import { hash, randomBytes } from 'node:crypto'
import type { KV } from '@nats-io/kv'
import { z } from 'zod'
import { type Bucket, type BucketOptions, openBucket } from '#infra/bucket.ts'
import type { Bus } from '#infra/bus.ts'
import { SallyportError } from '#infra/errors.ts'
import { buckets } from '#infra/subjects.ts'
import { newTicket, openTicket, recordKeyOf } from './ticket.ts'

const codeLifetimeMs = 30_000

const Handover = z.object({
  hostname: z.string(),
  target: z.string(),
  nonceHash: z.string(),
  expiresAtMs: z.number(),
  session: z.object({
    sessionId: z.string(),
    userPrincipalName: z.string(),
    displayName: z.string(),
    groups: z.array(z.string()),
    signedInAtMs: z.number(),
    expiresAtMs: z.number(),
    stepUp: z.string().optional(),
  }),
})
export type Handover = z.output<typeof Handover>

export const newNonce = () => randomBytes(24).toString('base64url')
export const nonceHash = (nonce: string) => hash('sha256', nonce, 'base64url')

export class HandoverCodes {
  readonly #bucket: Bucket

  private constructor(bucket: Bucket) {
    this.#bucket = bucket
  }

  static async open(bus: Bus, options: BucketOptions): Promise<HandoverCodes> {
    return new HandoverCodes(await openBucket(bus, buckets.codes, options))
  }

  async issue(handover: Omit<Handover, 'expiresAtMs'>): Promise<string> {
    const record: Handover = { ...handover, expiresAtMs: Date.now() + codeLifetimeMs }
    const { value, recordKey, sealed } = await newTicket(record)
    await this.#bucket
      .write(kv => kv.create(recordKey, sealed))
      .catch(cause => {
        throw new SallyportError('sign_in_unavailable', 'a code cannot be stored', { cause })
      })
    return value
  }

  /** Takes a code out of the bucket; undefined when it is unknown, used, too old, or not for this host and nonce. */
  async redeem(code: string, hostname: string, nonce: string): Promise<Handover | undefined> {
    const recordKey = recordKeyOf(code)
    if (recordKey === undefined) return undefined
    const entry = await this.#bucket.read(recordKey).catch(cause => {
      throw new SallyportError('sign_in_unavailable', 'a code cannot be read', { cause })
    })
    if (!entry) return undefined
    // Compare-and-set: of two gateways that take the same code at the same time, one fails here.
    const take = (kv: KV) => kv.delete(recordKey, { previousSeq: entry.revision })
    const isTaken = await this.#bucket.write(take).then(
      () => true,
      () => false,
    )
    const handover = isTaken ? await openTicket(code, entry.text, Handover) : undefined
    if (!handover || handover.expiresAtMs < Date.now()) return undefined
    return handover.hostname === hostname && handover.nonceHash === nonceHash(nonce)
      ? handover
      : undefined
  }
}

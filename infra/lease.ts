/**
 * Verification of access leases, as connectors do it: JWS compact (RFC 7515) with EdDSA over Ed25519 (RFC 8037) and
 * nothing else. The header decides nothing but which key is tried; everything that is not exactly as policy writes it
 * is refused. A lease is verified once and then known by its text; audience, application and times count every time.
 */

import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import {
  LeaseClaims,
  type LeaseKey,
  leaseLifetimeMs,
  leaseType,
  maxLeaseChars,
} from './contracts/policy.ts'
import { SallyportError } from './errors.ts'
import { leaseReference } from './wire.ts'

export interface LeaseVerifierOptions {
  /** The connector group that leases must be for. */
  groupId: string
  /** Told when a lease names a key that is not here, once a second at most; that lease is refused all the same. */
  onUnknownKey?: () => void
}

export interface LeaseExpectation {
  applicationId: string
  nowMs: number
  /** For an application that may go on by its last lease: when one ends of which `exp` is over. */
  endsAtMs?: (claims: LeaseClaims) => number
}

export interface LeaseVerifier {
  /** Replaces all keys. Leases of a key that is gone are refused from now on. */
  setKeys(keys: readonly LeaseKey[]): void
  /** @throws SallyportError `connector_refused` unless the lease grants this application to this group now. */
  verify(lease: string, expected: LeaseExpectation): LeaseClaims
  /**
   * The same for a lease that was verified here before, by its reference.
   * @throws UnknownLease when it was not, or is forgotten.
   */
  recall(reference: string, expected: LeaseExpectation): LeaseClaims
}

/** The lease may be good: policy services come with new keys, and this one has not arrived here. */
export class UnknownLeaseKey extends SallyportError {}

/** The lease may be good, but has to be sent whole. */
export class UnknownLease extends SallyportError {}

/** The lease was good, for an application that may go on by its last one; this is it no more, or not here. */
export class EndedLease extends SallyportError {}

interface Known {
  readonly lease: string
  readonly claims: LeaseClaims
}

const Header = z.strictObject({
  alg: z.literal('EdDSA'),
  typ: z.literal(leaseType),
  kid: z.string().min(1).max(64),
})

/** How far ahead the clock of policy may be. */
export const clockToleranceMs = 5_000

/** Characters of leases kept in memory together. */
const maxRememberedChars = 32 * 1024 * 1024

const unknownKeyIntervalMs = 1_000

export function createLeaseVerifier(options: LeaseVerifierOptions): LeaseVerifier {
  let current: readonly LeaseKey[] = []
  let keys = new Map<string, KeyObject>()
  let unknownAtMs = Number.NEGATIVE_INFINITY
  const known = new LRUCache<string, Known>({
    maxSize: maxRememberedChars,
    sizeCalculation: ({ lease }) => lease.length,
  })
  const keyOf = (kid: string): KeyObject => {
    const key = keys.get(kid)
    if (key) return key
    if (performance.now() - unknownAtMs >= unknownKeyIntervalMs) {
      unknownAtMs = performance.now()
      options.onUnknownKey?.()
    }
    throw new UnknownLeaseKey('connector_refused', 'signed with a key that is not known here')
  }
  return {
    setKeys(published) {
      const stays = current.every(({ kid, x }) => published.some(k => k.kid === kid && k.x === x))
      if (!stays) known.clear()
      current = published
      keys = new Map(published.map(key => [key.kid, createPublicKey({ key, format: 'jwk' })]))
    },
    verify(lease, expected) {
      const reference = leaseReference(lease)
      let entry = known.get(reference)
      if (entry?.lease !== lease) {
        entry = { lease, claims: readLease(lease, keyOf) }
        known.set(reference, entry)
      }
      checkClaims(entry.claims, options.groupId, expected)
      return entry.claims
    },
    recall(reference, expected) {
      const entry = known.get(reference)
      if (!entry) throw new UnknownLease('connector_refused', 'a lease that is not known here')
      checkClaims(entry.claims, options.groupId, expected)
      return entry.claims
    },
  }
}

function readLease(lease: string, keyOf: (kid: string) => KeyObject): LeaseClaims {
  if (lease.length > maxLeaseChars) throw refused('too long')
  const parts = lease.split('.')
  const [header, payload, signature] = parts.map(decode)
  if (parts.length !== 3 || !header || !payload || !signature) throw refused('not a compact JWS')
  const key = keyOf(parse(Header, header, 'header').kid)
  const signed = Buffer.from(lease.slice(0, lease.lastIndexOf('.')), 'latin1')
  if (!verify(null, signed, key, signature)) throw refused('wrong signature')
  return parse(LeaseClaims, payload, 'claims')
}

/** Undefined unless it is base64url in its one canonical form, so that a lease has one text only. */
function decode(part: string): Buffer | undefined {
  const octets = Buffer.from(part, 'base64url')
  return octets.toString('base64url') === part ? octets : undefined
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  octets: Buffer,
  what: string,
): z.output<Schema> {
  let value: unknown
  try {
    value = JSON.parse(octets.toString('utf8'))
  } catch (cause) {
    throw refused(`${what}: not JSON`, { cause })
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw refused(`${what}: ${issue?.path.join('.')} ${issue?.message}`)
}

/** Written so that a time that is not a number refuses. */
function checkClaims(
  claims: LeaseClaims,
  groupId: string,
  { applicationId, nowMs, endsAtMs }: LeaseExpectation,
): void {
  const { aud, app, iat, exp } = claims
  if (aud !== groupId && !(Array.isArray(aud) && aud.includes(groupId)))
    throw refused('for another connector group')
  if (app !== applicationId) throw refused('for another application')
  if (!(iat * 1_000 <= nowMs + clockToleranceMs)) throw refused('not valid yet')
  if (!((exp - iat) * 1_000 <= leaseLifetimeMs)) throw refused('longer than leases may live')
  if (exp * 1_000 > nowMs) return
  if (!endsAtMs) throw refused('expired')
  if (!(endsAtMs(claims) > nowMs)) throw new EndedLease('policy_unavailable', 'expired')
}

/** When the last lease of an application ends: neither policy nor the application gives it longer. */
export function lastLeaseEndMs({ exp, lastUntil = exp }: LeaseClaims, minutes: number): number {
  return Math.min(exp + minutes * 60, lastUntil) * 1_000
}

function refused(detail: string, options?: ErrorOptions): SallyportError {
  return new SallyportError('connector_refused', detail, options)
}

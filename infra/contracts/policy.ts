/** What gateways ask of policy, and what policy answers: decisions with reasons, and access leases. */

import { z } from 'zod'
import { type RevocationKind, revocationKinds } from '../subjects.ts'
import { Slug } from './application.ts'
import { Principal, RequestFacts } from './principal.ts'

/**
 * Refusing is a value. `challenge`: the user can do something about it (sign in again, give a second factor);
 * `block`: they cannot.
 */
export const Decision = z.object({
  outcome: z.enum(['grant', 'challenge', 'block']),
  /** Words of the reason vocabulary (reasons.ts), most important first; never empty. */
  reasons: z.array(z.string()).min(1),
  /** Identifiers of the policies that had a say. */
  policies: z.array(z.string()),
})
export type Decision = z.output<typeof Decision>

/** The raw ID token: policy verifies it by itself, so a gateway can name no user. */
export const SignInRequest = z.object({
  idToken: z.string().min(1).max(65_536),
  requestId: z.string().max(128),
  facts: RequestFacts,
})
export type SignInRequest = z.output<typeof SignInRequest>

export const SignInReply = z.discriminatedUnion('outcome', [
  z.object({
    outcome: z.literal('signed-in'),
    sessionId: z.string(),
    principal: Principal,
    expiresAtMs: z.number().int(),
  }),
  z.object({ outcome: z.literal('refused'), reasons: z.array(z.string()).min(1) }),
])
export type SignInReply = z.output<typeof SignInReply>

export const SignOutRequest = z.object({
  sessionId: z.string().max(128),
  requestId: z.string().max(128),
})
export type SignOutRequest = z.output<typeof SignOutRequest>

export const EvaluateRequest = z.object({
  /** Null without a session: passthrough applications. */
  sessionId: z.string().max(128).nullable(),
  applicationId: Slug,
  requestId: z.string().max(128),
  facts: RequestFacts,
  /** State of the applications that the gateway asks under: policy must know at least as much. */
  applicationsRevision: z.number().int().nonnegative(),
  /** `facts` in short, as it will stand in the lease. */
  fingerprint: z.string().max(64),
})
export type EvaluateRequest = z.output<typeof EvaluateRequest>

export const EvaluateReply = z.object({
  decision: Decision,
  /** Compact JWS with `LeaseClaims`; only with a grant. */
  lease: z.string().optional(),
  leaseExpiresAtMs: z.number().int().optional(),
})
export type EvaluateReply = z.output<typeof EvaluateReply>

/** A lease lives this long at most; gateways renew it behind the requests when half of it is over. */
export const leaseLifetimeMs = 60_000

/** Longest wait for a decision on the path of a request. */
export const decisionDeadlineMs = 2_000

export const leaseIssuer = 'sallyport/policy'

/** `typ` of a lease, so that no other token signed with the same key can pass for one (RFC 8725 §3.11). */
export const leaseType = 'lease+jwt'

/** A longer lease is refused: it travels with every request. */
export const maxLeaseChars = 16 * 1024

/** Payload of an access lease: JWS compact, EdDSA over Ed25519 (RFC 8037), verified by the connector itself. */
export const LeaseClaims = z.object({
  iss: z.literal(leaseIssuer),
  /** The connector group: a connector of another one refuses the lease. */
  aud: Slug,
  /** User principal name; empty without a user. */
  sub: z.string(),
  jti: z.string(),
  iat: z.number(),
  exp: z.number(),
  app: Slug,
  session: z.string().nullable(),
  fingerprint: z.string(),
  /** What sign-on to the application may need; null without a user. */
  user: Principal.nullable(),
  /** Reasons of the decision that granted it. */
  satisfied: z.array(z.string()),
})
export type LeaseClaims = z.output<typeof LeaseClaims>

/** A public key that verifies leases (RFC 7517 OKP key), as policy publishes it. */
export const LeaseKey = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string(),
  kid: z.string(),
  use: z.literal('sig'),
  alg: z.literal('EdDSA'),
})
export type LeaseKey = z.output<typeof LeaseKey>

/** What connectors get from registry: the keys that are valid now. */
export const LeaseKeySet = z.object({ nowMs: z.number().int(), keys: z.array(LeaseKey) })
export type LeaseKeySet = z.output<typeof LeaseKeySet>

/** A revocation: everything of this session, user, application or connector ends at once. */
export const Revocation = z.object({
  kind: z.enum(revocationKinds),
  /** Of a user: the user principal name in lower case. */
  id: z.string(),
  atMs: z.number().int(),
  reason: z.string(),
  /** Of an application: revision of the bucket `applications` that ended it. What was published later goes on. */
  revision: z.number().int().optional(),
})
export type Revocation = z.output<typeof Revocation>

/** Where the tombstone of a revocation rests in the bucket `revocations`. */
export function revocationKey(kind: RevocationKind, id: string): string {
  const isPlain = /^[\w-]+$/.test(id)
  return `${kind}.${isPlain ? id : `=${Buffer.from(id).toString('base64url')}`}`
}

/** What gateways ask of policy, and what policy answers: decisions with reasons, and access leases. */

import { z } from 'zod'
import { type RevocationKind, revocationKinds } from '../subjects.ts'
import { Slug } from './application.ts'
import { type MethodClass, methodClasses } from './http-methods.ts'
import { Principal, RequestFacts } from './principal.ts'

/**
 * Refusing is a value. `challenge`: the user can do something about it (sign in again, give a second factor);
 * `block`: they cannot.
 */
export const outcomes = ['grant', 'challenge', 'block'] as const

/** What the identity provider is to be asked for: OpenID Connect's `acr_values` and `max_age`, RFC 9470's challenge. */
export const Challenge = z.object({
  /** Best first; empty when any will do. */
  acrValues: z.array(z.string().max(256)).max(32),
  maxAgeSeconds: z.int().nonnegative().optional(),
})
export type Challenge = z.output<typeof Challenge>

/** What a policy that only reports would have said. */
export const ReportedVerdict = z.object({
  id: z.string(),
  outcome: z.enum(outcomes),
  reasons: z.array(z.string()),
})
export type ReportedVerdict = z.output<typeof ReportedVerdict>

/** What the policies that apply want of the session itself. */
export const SessionDemands = z.object({
  persistentBrowser: z.enum(['always', 'never']).optional(),
})
export type SessionDemands = z.output<typeof SessionDemands>

const decided = {
  outcome: z.enum(outcomes),
  /** Words of the reason vocabulary (reasons.ts), most important first; never empty. */
  reasons: z.array(z.string()).min(1),
  /** Identifiers of the policies that had a say. */
  policies: z.array(z.string()),
  /** With `challenge`: what would do. Left out, signing in again. */
  challenge: Challenge.optional(),
  reportOnly: z.array(ReportedVerdict).optional(),
}

export const Decision = z.object({
  ...decided,
  /** The request that it was made for: requests that share a decision are joined to its policy event by this. */
  requestId: z.string().optional(),
  sessionDemands: SessionDemands.optional(),
  /** What is decided for unsafe methods, where policies are for these alone; the rest is for the safe ones then. */
  unsafeMethods: z.object(decided).optional(),
  /** On an unsafe method: the safe ones are granted. */
  isReadOnly: z.boolean().optional(),
})
export type Decision = z.output<typeof Decision>

const halves = new WeakMap<Decision, Readonly<Record<MethodClass, Decision>>>()

/** What a decision says of one class of methods: the same object whenever it is asked. */
export function decisionFor(decision: Decision, methods: MethodClass): Decision {
  if (!decision.unsafeMethods) return decision
  let both = halves.get(decision)
  if (!both) {
    both = halvesOf(decision, decision.unsafeMethods)
    halves.set(decision, both)
  }
  return both[methods]
}

function halvesOf(
  decision: Decision,
  unsafeMethods: NonNullable<Decision['unsafeMethods']>,
): Record<MethodClass, Decision> {
  const { unsafeMethods: _, ...safe } = decision
  const { requestId } = safe
  const unsafe = {
    ...unsafeMethods,
    ...(requestId !== undefined && { requestId }),
    ...(isReadOnly(decision) && { isReadOnly: true }),
  }
  return { safe, unsafe }
}

/** Whether safe methods are granted, and no others. */
export function isReadOnly({ outcome, unsafeMethods }: Decision): boolean {
  return outcome === 'grant' && unsafeMethods !== undefined && unsafeMethods.outcome !== 'grant'
}

/** An ID token is ASCII. One of this length names more than a thousand groups. */
export const maxIdTokenBytes = 65_536

/** The raw ID token: policy verifies it by itself, so a gateway can name no user. */
export const SignInRequest = z.object({
  idToken: z.string().min(1).max(maxIdTokenBytes),
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
  /** Of the request that asks. A grant for a safe one says what is granted to the others too. */
  methods: z.enum(methodClasses).default('safe'),
  facts: RequestFacts,
  /** State of the applications that the gateway asks under: policy must know at least as much. */
  applicationsRevision: z.number().int().nonnegative(),
  /** The same for policies and signals, as far as this gateway was told of changes. */
  policiesRevision: z.int().nonnegative().default(0),
  signalsRevision: z.int().nonnegative().default(0),
  /** And for tombstones of which this gateway has not heard in any other way. */
  revocationsRevision: z.int().nonnegative().default(0),
  /** `facts` in short, as it will stand in the lease. */
  fingerprint: z.string().max(64),
})
export type EvaluateRequest = z.input<typeof EvaluateRequest>

export const EvaluateReply = z.object({
  decision: Decision,
  /** Compact JWS with `LeaseClaims`; only with a grant. */
  lease: z.string().optional(),
  leaseExpiresAtMs: z.number().int().optional(),
  /** As `lastUntil` of the lease. */
  lastLeaseUntilMs: z.int().optional(),
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

/** It stands in the lease, in base64 once more. */
export const maxAssertionChars = 6 * 1024

/** Payload of an access lease: JWS compact, EdDSA over Ed25519 (RFC 8037), verified by the connector itself. */
export const LeaseClaims = z.object({
  iss: z.literal(leaseIssuer),
  /** The connector group, or that and its standby group: a connector of another one refuses the lease. */
  aud: z.union([Slug, z.tuple([Slug, Slug])]),
  /** User principal name; empty without a user. */
  sub: z.string(),
  jti: z.string(),
  iat: z.number(),
  exp: z.number(),
  app: Slug,
  session: z.string().nullable(),
  fingerprint: z.string(),
  /**
   * Of an application that is set to `lastLease`: until when it may be used while policy is away. Never later than the
   * session, or what sign-in frequencies and conditions on time say, ends by the clock alone.
   */
  lastUntil: z.number().optional(),
  /** What sign-on to the application may need; null without a user. */
  user: Principal.nullable(),
  /** For an application that wants one: a JWT of this user for it, which the connector passes on. */
  assertion: z.string().max(maxAssertionChars).optional(),
  /** Reasons of the decision that granted it. */
  satisfied: z.array(z.string()),
  /** The methods that it grants; left out, every method. */
  methods: z.literal('safe').optional(),
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

/** What connectors get from registry, signed (infra/statement.ts): the keys that are valid now. */
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

/**
 * Told by policy to gateways: what was decided for these is to be decided anew. The revision is that of the bucket that
 * has changed, so that the answer cannot come from a policy service that has not seen the change.
 */
export const Reevaluation = z.object({
  bucket: z.enum(['policies', 'signals']),
  revision: z.int().nonnegative(),
  /** `all`, or ids of what the change is about: applications by id or appId, users by name, sessions. */
  touches: z.union([
    z.literal('all'),
    z.object({
      applications: z.array(z.string()),
      users: z.array(z.string()),
      sessions: z.array(z.string()),
    }),
  ]),
})
export type Reevaluation = z.output<typeof Reevaluation>

/**
 * Signed assertions: what an application may verify of a user by itself. Policy signs one for a lease whose application
 * wants it, with keys that are used for nothing else; their public halves are in the bucket `assertion-keys`, and at
 * `/.sallyport/jwks.json` of every published host as a JSON Web Key Set (RFC 7517).
 */

import { z } from 'zod'

const common = { kid: z.string().min(1).max(64), use: z.literal('sig') }

/** A public key, and no more than that. */
export const AssertionKey = z.discriminatedUnion('kty', [
  z.object({
    ...common,
    kty: z.literal('OKP'),
    crv: z.literal('Ed25519'),
    x: z.string(),
    alg: z.literal('EdDSA'),
  }),
  z.object({
    ...common,
    kty: z.literal('EC'),
    crv: z.literal('P-256'),
    x: z.string(),
    y: z.string(),
    alg: z.literal('ES256'),
  }),
])
export type AssertionKey = z.output<typeof AssertionKey>

/** What the bus answers, and the gateway by HTTP. */
export const AssertionKeySet = z.object({ keys: z.array(AssertionKey) })
export type AssertionKeySet = z.output<typeof AssertionKeySet>

/** The payload (RFC 7519). Names are OpenID Connect's. */
export interface AssertionClaims {
  /** External URL of the application; `.sallyport/jwks.json` below it has the keys. */
  readonly iss: string
  readonly aud: string
  readonly sub: string
  readonly iat: number
  readonly exp: number
  readonly jti: string
  readonly preferred_username: string
  readonly name: string
  readonly email?: string
  readonly groups: readonly string[]
  /** The user is in too many: only those that the application is assigned to are there. */
  readonly groups_incomplete?: true
  readonly amr: readonly string[]
  readonly acr?: string
  readonly auth_time?: number
}

/**
 * Verification of ID tokens (OpenID Connect Core §3.1.3.7) against the provider's own keys: what a gateway says about
 * a user counts for nothing here. The nonce is the gateway's business, for it alone knows the browser.
 */

import { errors, type JWTPayload, jwtVerify } from 'jose'
import { z } from 'zod'
import { Device, Principal } from '#infra/contracts/principal.ts'
import type { SignInReason } from '#infra/contracts/reasons.ts'
import { SallyportError } from '#infra/errors.ts'
import { type FurtherClaims, readFurtherClaims } from './further-claims.ts'
import { type ProviderOptions, providerKeys, unavailable } from './provider-keys.ts'

export type Verification =
  | { readonly isAccepted: true; readonly principal: Principal }
  | { readonly isAccepted: false; readonly reason: SignInReason }

export interface IdTokenVerifierOptions extends ProviderOptions {
  clientId: string
  furtherClaims?: FurtherClaims | undefined
}

/** @throws SallyportError `sign_in_unavailable` when the provider's keys cannot be had. */
export type VerifyIdToken = (idToken: string) => Promise<Verification>

/** Asymmetric ones only: with a shared secret, whoever can verify could also sign. */
const algorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]

const toleranceSeconds = 60

/** A gateway hands a token over as soon as it has it; an old one comes from somewhere else. */
const maxAgeSeconds = 600

const name = z
  .string()
  .trim()
  .min(1)
  .regex(/^\P{Cc}+$/u)
const maybe = <Schema extends z.ZodType>(schema: Schema) => schema.optional().catch(undefined)

const Claims = z.object({
  sub: z.string().min(1),
  iat: z.number(),
  upn: maybe(name),
  preferred_username: maybe(name),
  email: maybe(name),
  email_verified: maybe(z.boolean()),
  name: maybe(name),
  groups: maybe(z.union([z.array(z.string()), z.string().transform(group => [group])])),
  amr: maybe(z.array(z.string())),
  acr: maybe(z.string()),
  auth_time: maybe(z.number()),
  sid: maybe(z.string()),
  oid: maybe(z.string()),
  wids: maybe(z.array(z.string())),
  roles: maybe(z.union([z.array(z.string()), z.string().transform(role => [role])])),
  /** Entra: 1 is a guest of the tenant. */
  acct: maybe(z.union([z.literal(0), z.literal(1)])),
  /** Entra: where the user comes from, when that is not the issuer. */
  idp: maybe(z.string()),
  device: maybe(Device),
  deviceid: maybe(z.string().max(512)),
})
type Claims = z.output<typeof Claims>

export function createIdTokenVerifier(options: IdTokenVerifierOptions): VerifyIdToken {
  const keys = providerKeys(options)
  return async idToken => {
    try {
      const { payload } = await jwtVerify(idToken, await keys(), {
        issuer: options.issuer,
        audience: options.clientId,
        algorithms,
        clockTolerance: toleranceSeconds,
        maxTokenAge: maxAgeSeconds,
        requiredClaims: ['exp', 'iat', 'sub'],
      })
      return accept(payload, options)
    } catch (error) {
      return { isAccepted: false, reason: reasonOf(error) }
    }
  }
}

function accept(
  payload: JWTPayload,
  { issuer, clientId, furtherClaims }: IdTokenVerifierOptions,
): Verification {
  const isForOthersToo = Array.isArray(payload.aud) && payload.aud.length > 1
  const isOurs = payload.azp === undefined ? !isForOthersToo : payload.azp === clientId
  if (!isOurs) return { isAccepted: false, reason: 'id-token-wrong-audience' }
  const claims = Claims.safeParse(payload)
  if (!claims.success) return { isAccepted: false, reason: 'id-token-claims-unusable' }
  const userPrincipalName = userPrincipalNameOf(claims.data)
  if (!userPrincipalName) return { isAccepted: false, reason: 'user-name-missing' }
  const further = furtherClaims && readFurtherClaims(payload, furtherClaims)
  const known = principalOf(claims.data, userPrincipalName, issuer)
  const principal = Principal.safeParse({ ...known, ...(further && { claims: further }) })
  return principal.success
    ? { isAccepted: true, principal: principal.data }
    : { isAccepted: false, reason: 'id-token-claims-unusable' }
}

/** An address that the provider says it has not verified names nobody. */
function userPrincipalNameOf(claims: Claims): string | undefined {
  const { upn, preferred_username, email, email_verified } = claims
  return upn ?? preferred_username ?? (email_verified === false ? undefined : email)
}

function principalOf(claims: Claims, userPrincipalName: string, issuer: string): Principal {
  const { sub, email, name, groups = [], amr = [], acr, auth_time = 0, sid } = claims
  return {
    subject: sub,
    userPrincipalName,
    displayName: name ?? userPrincipalName,
    ...(email !== undefined && { mail: email }),
    groups: [...new Set(groups)],
    amr,
    ...(acr !== undefined && { acr }),
    // Not when the token was issued: the user may have authenticated a week before.
    authTime: Math.floor(auth_time),
    ...(sid !== undefined && { providerSessionId: sid }),
    issuer,
    ...forPolicies(claims, issuer),
  }
}

/** What only policies look at, as far as the provider says it. */
function forPolicies(claims: Claims, issuer: string): Partial<Principal> {
  const { oid, wids = [], roles = [], acct, idp, device, deviceid } = claims
  const isFromElsewhere = idp !== undefined && idp !== issuer
  const isSaid = acct !== undefined || idp !== undefined
  const known = { ...(deviceid !== undefined && { deviceId: deviceid }), ...device }
  return {
    ...(oid !== undefined && { objectId: oid }),
    ...(wids.length + roles.length > 0 && { roles: [...new Set([...wids, ...roles])] }),
    ...(isSaid && { isGuest: acct === 1 || isFromElsewhere }),
    ...(Object.keys(known).length > 0 && { device: known }),
  }
}

const reasonsByCode: Record<string, SignInReason> = {
  ERR_JWS_INVALID: 'id-token-malformed',
  ERR_JWT_INVALID: 'id-token-malformed',
  ERR_JOSE_NOT_SUPPORTED: 'id-token-malformed',
  ERR_JOSE_ALG_NOT_ALLOWED: 'id-token-algorithm-refused',
  ERR_JWKS_NO_MATCHING_KEY: 'id-token-key-unknown',
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'id-token-key-unknown',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'id-token-signature-invalid',
  ERR_JWT_EXPIRED: 'id-token-expired',
}

const reasonsByClaim: Record<string, SignInReason> = {
  iss: 'id-token-wrong-issuer',
  aud: 'id-token-wrong-audience',
  iat: 'id-token-not-fresh',
  nbf: 'id-token-not-fresh',
}

/** What the token is refused for. Everything else means that the keys could not be had. */
function reasonOf(error: unknown): SignInReason {
  if (error instanceof SallyportError) throw error
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return 'id-token-claims-unusable'
    return reasonsByClaim[error.claim] ?? 'id-token-claims-unusable'
  }
  if (error instanceof errors.JWTExpired) {
    return error.claim === 'iat' ? 'id-token-not-fresh' : 'id-token-expired'
  }
  const reason = error instanceof errors.JOSEError ? reasonsByCode[error.code] : undefined
  if (reason) return reason
  throw unavailable("the provider's keys cannot be had", { cause: error })
}

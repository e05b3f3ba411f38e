/**
 * Access leases: what a grant is worth to a connector. Every policy process signs with an Ed25519 key of its own that
 * never leaves its memory; the public half is in the bucket `lease-keys`. Signing is synchronous: 60 µs do not pay
 * for a trip to the thread pool.
 */

import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { Application } from '#infra/contracts/application.ts'
import {
  type Decision,
  type LeaseClaims,
  LeaseKey,
  leaseIssuer,
  leaseType,
  maxLeaseChars,
} from '#infra/contracts/policy.ts'
import type { Principal } from '#infra/contracts/principal.ts'
import { SallyportError } from '#infra/errors.ts'

export interface LeaseSigner {
  /** What verifies this signer's leases. */
  readonly key: LeaseKey
  /** @throws SallyportError `policy_unavailable` when the lease would be longer than connectors accept. */
  sign(claims: LeaseClaims): string
}

export interface Grant {
  application: Application
  decision: Decision
  fingerprint: string
  /** Null without a user. */
  session: { id: string; principal: Principal; expiresAtMs: number } | null
  lifetimeMs: number
  nowMs: number
}

/**
 * Above this, a lease names only the groups that the application is assigned to. Entra leaves groups out of tokens
 * from 200 on; here the size decides, as the lease travels with every request.
 */
const maxGroupChars = 6 * 1024

export function createLeaseSigner(): LeaseSigner {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = leaseKeyOf(publicKey)
  const header = encode({ alg: key.alg, typ: leaseType, kid: key.kid })
  return {
    key,
    sign(claims) {
      const content = `${header}.${encode(claims)}`
      const lease = `${content}.${sign(null, Buffer.from(content), privateKey).toString('base64url')}`
      if (lease.length <= maxLeaseChars) return lease
      throw new SallyportError('policy_unavailable', `a lease of ${lease.length} characters`)
    },
  }
}

/** The public key with its RFC 7638 thumbprint as key id. */
function leaseKeyOf(publicKey: KeyObject): LeaseKey {
  const { x } = publicKey.export({ format: 'jwk' })
  const thumbprint = createHash('sha256')
    .update(JSON.stringify({ crv: 'Ed25519', kty: 'OKP', x }))
    .digest('base64url')
  return LeaseKey.parse({
    kty: 'OKP',
    crv: 'Ed25519',
    x,
    kid: thumbprint,
    use: 'sig',
    alg: 'EdDSA',
  })
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** What a lease for this grant says. It ends with the session at the latest. */
export function leaseClaims({
  application,
  decision,
  fingerprint,
  session,
  lifetimeMs,
  nowMs,
}: Grant): LeaseClaims {
  const iat = Math.floor(nowMs / 1_000)
  const sessionEnd = session ? Math.floor(session.expiresAtMs / 1_000) : Number.POSITIVE_INFINITY
  return {
    iss: leaseIssuer,
    aud: application.connectorGroupId,
    sub: session?.principal.userPrincipalName ?? '',
    jti: randomBytes(12).toString('base64url'),
    iat,
    exp: Math.min(iat + lifetimeMs / 1_000, sessionEnd),
    app: application.id,
    session: session?.id ?? null,
    fingerprint,
    user: session ? withBoundedGroups(session.principal, application) : null,
    satisfied: decision.reasons,
  }
}

function withBoundedGroups(principal: Principal, application: Application): Principal {
  const { groups } = principal
  if (groups.reduce((chars, group) => chars + group.length + 3, 0) <= maxGroupChars) {
    return principal
  }
  const assigned = new Set(
    application.appRoleAssignments
      .filter(assignment => assignment.principalType === 'Group')
      .map(assignment => assignment.principalId),
  )
  return { ...principal, groups: groups.filter(group => assigned.has(group)) }
}

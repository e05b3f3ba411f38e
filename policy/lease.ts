/**
 * Access leases: what a grant is worth to a connector. Every policy process signs with an Ed25519 key of its own that
 * never leaves its memory; the public half is in the bucket `lease-keys`. Signing is synchronous: 60 µs do not pay
 * for a trip to the thread pool.
 */

import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { Application } from '#infra/contracts/application.ts'
import {
  type Decision,
  isReadOnly,
  type LeaseClaims,
  LeaseKey,
  leaseIssuer,
  leaseType,
  maxLeaseChars,
} from '#infra/contracts/policy.ts'
import type { Principal } from '#infra/contracts/principal.ts'
import { matchesName } from '#infra/contracts/sign-on.ts'
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
  /** When what was decided ends by the clock alone. */
  validUntilMs: number
  nowMs: number
}

/**
 * Above this, a lease names only the groups that the application is assigned to. Entra leaves groups out of tokens
 * from 200 on; here the size decides, as the lease travels with every request.
 */
const maxGroupChars = 6 * 1024

/** The same where the lease carries an assertion, which has groups of its own. */
const maxGroupCharsBesideAssertion = 2 * 1024

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
  validUntilMs,
  nowMs,
}: Grant): LeaseClaims {
  const iat = Math.floor(nowMs / 1_000)
  const sessionEnd = session ? Math.floor(session.expiresAtMs / 1_000) : Number.POSITIVE_INFINITY
  const decisionEnd = Math.ceil(validUntilMs / 1_000)
  const exp = Math.min(iat + lifetimeMs / 1_000, sessionEnd, decisionEnd)
  const { whenPolicyIsUnavailable, lastLeaseMinutes } = application.onPremisesPublishing
  const lastUntil = Math.min(exp + lastLeaseMinutes * 60, sessionEnd, decisionEnd)
  return {
    iss: leaseIssuer,
    aud: audienceOf(application),
    sub: session?.principal.userPrincipalName ?? '',
    jti: randomBytes(12).toString('base64url'),
    iat,
    exp,
    ...(whenPolicyIsUnavailable === 'lastLease' && { lastUntil }),
    app: application.id,
    session: session?.id ?? null,
    fingerprint,
    user: session ? forConnectors(session.principal, application) : null,
    satisfied: decision.reasons,
    ...(isReadOnly(decision) && { methods: 'safe' }),
  }
}

/** A text for one group, as connectors of earlier versions know it. */
function audienceOf({
  connectorGroupId,
  standbyConnectorGroupId,
}: Application): LeaseClaims['aud'] {
  return standbyConnectorGroupId === null
    ? connectorGroupId
    : [connectorGroupId, standbyConnectorGroupId]
}

/** Only policies look at roles and device; they do not travel with every request. */
function forConnectors(whole: Principal, application: Application): Principal {
  const { roles: _, device: __, claims, ...rest } = whole
  const settings = application.onPremisesPublishing.singleSignOnSettings
  const principal = settings && claims ? { ...rest, claims } : rest

  const { groups } = principal
  const most = settings?.assertionSignOnSettings ? maxGroupCharsBesideAssertion : maxGroupChars
  if (groups.reduce((chars, group) => chars + group.length + 3, 0) <= most) {
    return principal
  }
  const assigned = new Set(
    application.appRoleAssignments
      .filter(assignment => assignment.principalType === 'Group')
      .map(assignment => assignment.principalId),
  )
  const named = groupsInHeaders(application)
  const isNeeded = (group: string) =>
    assigned.has(group) || named.some(name => matchesName(name, group))
  return { ...principal, groups: groups.filter(isNeeded) }
}

/** Groups that the application is to hear of, by name or with a star. */
function groupsInHeaders({ onPremisesPublishing }: Application): string[] {
  const { headers = [] } = onPremisesPublishing.singleSignOnSettings?.headerSignOnSettings ?? {}
  const transforms = headers.flatMap(header => (header.claim === 'groups' ? header.transforms : []))
  return transforms.flatMap(each => (each.type === 'groupFilter' ? each.groups : []))
}

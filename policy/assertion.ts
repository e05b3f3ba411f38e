/**
 * Signed assertions for applications. Policy signs them because it is the one who has verified the sign-in: no connector
 * and no gateway can say anything of a user that it has not said. As with leases each process has keys of its own that
 * never leave its memory; they are other keys, so that neither can be taken for the other.
 */

import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { Application } from '#infra/contracts/application.ts'
import { type AssertionClaims, AssertionKey } from '#infra/contracts/assertion.ts'
import { type LeaseClaims, maxAssertionChars } from '#infra/contracts/policy.ts'
import type { Principal } from '#infra/contracts/principal.ts'
import type { AssertionSettings } from '#infra/contracts/sign-on.ts'
import { SallyportError } from '#infra/errors.ts'

export interface AssertionSigner {
  readonly keys: readonly AssertionKey[]
  /**
   * The lease with an assertion, if its application wants one and it is of a user; `whole` is that user with all groups.
   * @throws SallyportError `policy_unavailable` when the assertion would be longer than connectors accept.
   */
  complete(lease: LeaseClaims, application: Application, whole?: Principal): LeaseClaims
}

/** Above this, an assertion names only the groups that the application is assigned to, and says so. */
const maxGroupChars = 3 * 1024

type Algorithm = AssertionSettings['algorithm']

interface Signer {
  readonly key: AssertionKey
  readonly header: string
  readonly sign: (content: Buffer) => Buffer
}

export function createAssertionSigner(): AssertionSigner {
  const signers: Record<Algorithm, Signer> = { EdDSA: edDsa(), ES256: es256() }
  return {
    keys: Object.values(signers).map(({ key }) => key),
    complete(lease, application, whole) {
      const { singleSignOnSettings } = application.onPremisesPublishing
      const settings = singleSignOnSettings?.assertionSignOnSettings
      if (!settings || singleSignOnSettings.singleSignOnMode === 'none') return lease
      if (!lease.user) return lease
      const user = whole ?? lease.user
      const claims = claimsOf({ ...lease, user }, application, settings)
      const { header, sign } = signers[settings.algorithm]
      const content = `${header}.${encode(claims)}`
      const assertion = `${content}.${sign(Buffer.from(content)).toString('base64url')}`
      if (assertion.length <= maxAssertionChars) return { ...lease, assertion }
      const detail = `an assertion of ${assertion.length} characters`
      throw new SallyportError('policy_unavailable', detail)
    },
  }
}

function claimsOf(
  { user, app, iat, exp, jti }: LeaseClaims & { user: Principal },
  application: Application,
  { audience }: AssertionSettings,
): AssertionClaims {
  return {
    iss: application.onPremisesPublishing.externalUrl,
    aud: audience ?? app,
    sub: user.subject,
    iat,
    exp,
    jti,
    preferred_username: user.userPrincipalName,
    name: user.displayName,
    ...(user.mail !== undefined && { email: user.mail }),
    ...groupsOf(user.groups, application),
    amr: user.amr,
    ...(user.acr !== undefined && { acr: user.acr }),
    ...(user.authTime > 0 && { auth_time: user.authTime }),
  }
}

function groupsOf(groups: readonly string[], { appRoleAssignments }: Application) {
  const isShort = (list: readonly string[]) =>
    list.reduce((chars, group) => chars + group.length + 3, 0) <= maxGroupChars
  if (isShort(groups)) return { groups }
  const assigned = groups.filter(group =>
    appRoleAssignments.some(
      ({ principalType, principalId }) => principalType === 'Group' && principalId === group,
    ),
  )
  return { groups: isShort(assigned) ? assigned : [], groups_incomplete: true as const }
}

function edDsa(): Signer {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = keyOf(publicKey, 'EdDSA', ({ crv, kty, x }) => ({ crv, kty, x }))
  return { key, header: headerOf(key), sign: content => sign(null, content, privateKey) }
}

function es256(): Signer {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = keyOf(publicKey, 'ES256', ({ crv, kty, x, y }) => ({ crv, kty, x, y }))
  const options = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
  return { key, header: headerOf(key), sign: content => sign('sha256', content, options) }
}

/** With its RFC 7638 thumbprint, over these members in this order, as key id. */
function keyOf(
  publicKey: KeyObject,
  alg: Algorithm,
  thumbprinted: (jwk: Record<string, unknown>) => object,
): AssertionKey {
  const jwk = { ...publicKey.export({ format: 'jwk' }) }
  const text = JSON.stringify(thumbprinted(jwk))
  const kid = createHash('sha256').update(text).digest('base64url')
  return AssertionKey.parse({ ...jwk, kid, use: 'sig', alg })
}

function headerOf({ alg, kid }: AssertionKey): string {
  return encode({ alg, typ: 'JWT', kid })
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** Assertions and claims in leases: whatever the user is in, a lease stays one that connectors take. */

import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { maxLeaseChars } from '#infra/contracts/policy.ts'
import { createAssertionSigner } from '../../policy/assertion.ts'
import { FurtherClaims, readFurtherClaims } from '../../policy/further-claims.ts'
import { createLeaseSigner, leaseClaims } from '../../policy/lease.ts'
import { application as made } from '../harness/application.ts'
import { principal } from '../harness/signed-origins.ts'

const app = made('wiki', 'https://wiki.example/', {
  appRoleAssignments: [
    {
      id: 'a',
      principalType: 'Group',
      principalId: 'group-0007',
      createdDateTime: new Date(0).toISOString(),
    },
  ],
  publishing: {
    singleSignOnSettings: { singleSignOnMode: 'signedAssertion', assertionSignOnSettings: {} },
  },
})

const groups = (count: number) =>
  Array.from({ length: count }, (_, i) => `group-${String(i).padStart(4, '0')}`)

function lease(application = app, user = principal()) {
  return leaseClaims({
    application,
    decision: { outcome: 'grant', reasons: ['x'], policies: [] },
    fingerprint: 'f',
    session: { id: 's', principal: user, expiresAtMs: Date.now() + 3_600_000 },
    lifetimeMs: 60_000,
    validUntilMs: Number.POSITIVE_INFINITY,
    nowMs: Date.now(),
  })
}

const signer = createAssertionSigner()
const verified = async (assertion: string) =>
  (await jwtVerify(assertion, createLocalJWKSet({ keys: [...signer.keys] }))).payload

describe('an assertion', () => {
  test('says who the user is, to this application alone, as long as the lease lives', async () => {
    const claims = signer.complete(lease(), app)
    expect(await verified(claims.assertion ?? '')).toEqual({
      iss: 'https://wiki.example/',
      aud: 'wiki',
      sub: 'b2f0c1a4',
      preferred_username: 'alice@sallyport.example',
      name: 'Alice Adams',
      groups: ['staff', 'app-wiki', 'app-crm'],
      amr: ['pwd'],
      auth_time: 1,
      iat: claims.iat,
      exp: claims.exp,
      jti: claims.jti,
    })
  })

  test('is not made for an application that wants none, nor for nobody', () => {
    const plain = made('plain', 'https://plain.example/')
    expect(signer.complete(lease(plain), plain).assertion).toBeUndefined()
    expect(signer.complete({ ...lease(), user: null }, app).assertion).toBeUndefined()
  })

  test.each([100, 250, 2_000])(
    'of a user in %i groups fits into a lease that fits',
    async count => {
      const claims = { department: ['x'.repeat(500)], title: ['y'.repeat(500)] }
      const user = principal({ groups: groups(count), claims })
      const complete = signer.complete(lease(app, user), app, user)
      expect(createLeaseSigner().sign(complete).length).toBeLessThan(maxLeaseChars)
      const payload = await verified(complete.assertion ?? '')
      expect(payload.groups).toContain('group-0007')
      if (count === 2_000) expect(payload).toMatchObject({ groups_incomplete: true })
    },
  )
})

test('groups that a header asks for by name or star are in the lease of a user who is in many', () => {
  const groupFilter = { type: 'groupFilter', groups: ['group-00*'] }
  const headers = [{ name: 'X-Groups', claim: 'groups', transforms: [groupFilter] }]
  const application = made('legacy', 'https://legacy.example/', {
    publishing: {
      singleSignOnSettings: {
        singleSignOnMode: 'aadHeaderBased',
        headerSignOnSettings: { headers },
      },
    },
  })
  const user = principal({ groups: groups(2_000) })
  expect(lease(application, user).user?.groups).toEqual(groups(100))
})

describe('further claims', () => {
  const read = (variable: string, payload: JWTPayload) =>
    readFurtherClaims(payload, FurtherClaims.parse(variable))

  test('are those that are named, by their own name or another', () => {
    const payload = { department: 'Sales', cost_centre: 7, secret: 'x', roles: ['a', 'b'] }
    expect(read('department, costCentre=cost_centre,roles', payload)).toEqual({
      department: ['Sales'],
      costCentre: ['7'],
      roles: ['a', 'b'],
    })
  })

  test('always have what Kerberos may need', () => {
    const payload = { onPremisesSamAccountName: 'alice', samaccountname: 'other' }
    expect(read('', payload)).toEqual({ onPremisesSamAccountName: ['alice'] })
    expect(read('onPremisesSamAccountName=samaccountname', payload)).toEqual({
      onPremisesSamAccountName: ['other'],
    })
  })

  test('that are no text, or are too much, are not there', () => {
    const payload = {
      object: { a: 1 },
      nothing: null,
      long: 'x'.repeat(600),
      many: ['y'.repeat(511)],
    }
    expect(read('object,nothing,long,many', payload)).toEqual({ many: ['y'.repeat(511)] })
    const large = Object.fromEntries(
      Array.from({ length: 20 }, (_, i) => [`c${i}`, 'z'.repeat(400)]),
    )
    const kept = Object.keys(read(Object.keys(large).join(), large) ?? {})
    expect(kept).toEqual(['c0', 'c1', 'c2', 'c3', 'c4'])
  })

  test('are only in leases of applications to which users are signed on', () => {
    const user = principal({ claims: { department: ['Sales'] } })
    expect(lease(app, user).user?.claims).toEqual({ department: ['Sales'] })
    expect(lease(made('plain', 'https://plain.example/'), user).user?.claims).toBeUndefined()
  })

  test.each(['a b', '1x', 'x=', 'a=b c'])('%j cannot be meant', variable => {
    expect(FurtherClaims.safeParse(variable).success).toBe(false)
  })
})

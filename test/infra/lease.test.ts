/** Access leases: what a connector accepts is exactly what policy signs, and nothing that merely resembles it. */

import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  type LeaseClaims,
  type LeaseKey,
  leaseIssuer,
  leaseType,
  maxLeaseChars,
} from '#infra/contracts/policy.ts'
import { createLeaseVerifier, EndedLease, lastLeaseEndMs, UnknownLease } from '#infra/lease.ts'
import { leaseReference } from '#infra/wire.ts'
import { createLeaseSigner } from '../../policy/lease.ts'

const nowMs = Date.parse('2026-03-01T12:00:00Z')
const nowSeconds = nowMs / 1_000
const expected = { applicationId: 'wiki', nowMs }

const claims: LeaseClaims = {
  iss: leaseIssuer,
  aud: 'paris',
  sub: 'ada@example.com',
  jti: 'j1',
  iat: nowSeconds,
  exp: nowSeconds + 60,
  app: 'wiki',
  session: 's1',
  fingerprint: 'f1',
  user: null,
  satisfied: ['session-ok', 'users-ok'],
}

const signer = createLeaseSigner()

function verifier(keys: readonly LeaseKey[] = [signer.key]) {
  const verifier = createLeaseVerifier({ groupId: 'paris' })
  verifier.setKeys(keys)
  return verifier
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A lease with a header of our choice, correctly signed with a key of our choice. */
function forge(header: object, payload: unknown = claims) {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const kid = 'forged'
  const content = `${encode({ alg: 'EdDSA', typ: leaseType, kid, ...header })}.${encode(payload)}`
  const { x = '' } = publicKey.export({ format: 'jwk' })
  const key: LeaseKey = { kty: 'OKP', crv: 'Ed25519', x, kid, use: 'sig', alg: 'EdDSA' }
  const signature = sign(null, Buffer.from(content), privateKey).toString('base64url')
  return { lease: `${content}.${signature}`, key }
}

describe('a lease is accepted', () => {
  test('by a connector of its group for its application while it lives', () => {
    expect(verifier().verify(signer.sign(claims), expected)).toEqual(claims)
  })

  test('by a connector of the standby group that it names, and by no third', () => {
    const both = signer.sign({ ...claims, aud: ['lyon', 'paris'] })
    expect(verifier().verify(both, expected).aud).toEqual(['lyon', 'paris'])
    const others = signer.sign({ ...claims, aud: ['lyon', 'rome'] })
    expect(() => verifier().verify(others, expected)).toThrow('another connector group')
  })

  test('again from memory, with times and application checked each time', () => {
    const known = verifier()
    const lease = signer.sign(claims)
    const first = known.verify(lease, expected)
    expect(known.verify(lease, { ...expected, nowMs: nowMs + 59_999 })).toBe(first)
    expect(() => known.verify(lease, { ...expected, nowMs: nowMs + 60_000 })).toThrow('expired')
    expect(() => known.verify(lease, { ...expected, applicationId: 'shop' })).toThrow('application')
  })

  test('by its reference, once it was verified, with times and application checked each time', () => {
    const known = verifier()
    const lease = signer.sign(claims)
    const reference = leaseReference(lease)
    expect(() => known.recall(reference, expected)).toThrow(UnknownLease)
    const first = known.verify(lease, expected)
    expect(known.recall(reference, expected)).toBe(first)
    expect(() => known.recall(reference, { ...expected, nowMs: nowMs + 60_000 })).toThrow('expired')
    expect(() => known.recall(reference, { ...expected, applicationId: 'shop' })).toThrow(
      'application',
    )
  })

  test('by its reference no longer, when the key that signed it is gone', () => {
    const other = createLeaseSigner()
    const known = verifier([signer.key, other.key])
    const lease = signer.sign(claims)
    known.verify(lease, expected)
    known.setKeys([other.key, signer.key])
    expect(known.recall(leaseReference(lease), expected).app).toBe('wiki')
    known.setKeys([other.key])
    expect(() => known.recall(leaseReference(lease), expected)).toThrow(UnknownLease)
  })

  test('never for the reference of another one: a forgery with the same beginning is verified', () => {
    const known = verifier()
    const lease = signer.sign(claims)
    known.verify(lease, expected)
    const [header, , signature] = lease.split('.')
    const forged = `${header}.${encode({ ...claims, sub: 'eve@example.com' })}.${signature}`
    expect(() => known.verify(forged, expected)).toThrow('signature')
    expect(known.recall(leaseReference(forged), expected).sub).toBe(claims.sub)
  })

  test('when the clock of policy is a few seconds ahead', () => {
    const ahead = { ...claims, iat: nowSeconds + 4, exp: nowSeconds + 64 }
    expect(verifier().verify(signer.sign(ahead), expected).iat).toBe(nowSeconds + 4)
  })

  test('with the key of whichever policy process signed it', () => {
    const other = createLeaseSigner()
    const both = verifier([signer.key, other.key])
    expect(both.verify(other.sign(claims), expected)).toEqual(claims)
    expect(both.verify(signer.sign(claims), expected)).toEqual(claims)
  })
})

describe('a lease is refused', () => {
  const refuses = (lease: string, why: string, when = expected) =>
    expect(() => verifier().verify(lease, when)).toThrow(why)

  test.each([
    ['expired', { exp: nowSeconds }, 'expired'],
    ['not valid yet', { iat: nowSeconds + 6, exp: nowSeconds + 66 }, 'not valid yet'],
    ['longer than leases live', { exp: nowSeconds + 61 }, 'longer than'],
    ['for another group', { aud: 'rome' }, 'another connector group'],
    ['for another application', { app: 'shop' }, 'another application'],
    ['of another issuer', { iss: 'somebody' }, 'claims: iss'],
    ['without an expiry', { exp: undefined }, 'claims: exp'],
    ['with an expiry that is no number', { exp: '9999999999' }, 'claims: exp'],
    ['with a list of groups as audience', { aud: ['paris'] }, 'claims: aud'],
    ['with a user that is none', { user: 'root' }, 'claims: user'],
  ])('when it is %s', (_, change, why) => {
    refuses(signer.sign({ ...claims, ...change } as LeaseClaims), why)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('when the time is %s', time => {
    refuses(signer.sign(claims), '', { ...expected, nowMs: time })
  })

  test('with "alg": "none" and no signature', () => {
    const header = encode({ alg: 'none', typ: leaseType, kid: signer.key.kid })
    refuses(`${header}.${encode(claims)}.`, 'header: alg')
  })

  test('with HS256 and the public key as shared secret', () => {
    const content = `${encode({ alg: 'HS256', typ: leaseType, kid: signer.key.kid })}.${encode(claims)}`
    const secrets = [
      signer.key.x,
      Buffer.from(signer.key.x, 'base64url'),
      JSON.stringify(signer.key),
    ]
    for (const secret of secrets) {
      const mac = createHmac('sha256', secret).update(content).digest('base64url')
      refuses(`${content}.${mac}`, 'header: alg')
    }
  })

  test.each([
    ['another type', { typ: 'JWT' }],
    ['no type', { typ: undefined }],
    ['a key of its own', { jwk: signer.key }],
    ['a place to fetch keys', { jku: 'https://keys.example.com/' }],
    ['a critical extension', { crit: ['b64'], b64: false }],
    ['no key id', { kid: undefined }],
    ['another algorithm', { alg: 'ES256' }],
  ])('with %s in the header, though the signature is right', (_, header) => {
    const { lease, key } = forge(header)
    expect(() => verifier([key]).verify(lease, expected)).toThrow('header')
  })

  test('signed by a key that nobody published', () => {
    refuses(createLeaseSigner().sign(claims), 'not known here')
  })

  test('signed by another key under a known key id', () => {
    const { lease } = forge({ kid: signer.key.kid })
    refuses(lease, 'wrong signature')
  })

  test('when a single character of any part is another', () => {
    const lease = signer.sign(claims)
    for (const at of [5, lease.indexOf('.') + 5, lease.lastIndexOf('.') + 5]) {
      const changed = lease[at] === 'A' ? 'B' : 'A'
      refuses(`${lease.slice(0, at)}${changed}${lease.slice(at + 1)}`, '')
    }
  })

  test('when its signature is cut, empty, missing, or has something after it', () => {
    const lease = signer.sign(claims)
    refuses(lease.slice(0, -4), '')
    refuses(lease.slice(0, lease.lastIndexOf('.') + 1), '')
    refuses(lease.slice(0, lease.lastIndexOf('.')), 'compact JWS')
    refuses(`${lease}.`, 'compact JWS')
    refuses(`${lease}.${lease}`, 'compact JWS')
  })

  test('when it is written in another form of base64', () => {
    const lease = signer.sign(claims)
    refuses(`${lease}=`, 'compact JWS')
    refuses(` ${lease}`, 'compact JWS')
    refuses(`${lease}\n`, 'compact JWS')
    // 64 octets leave four unused bits in the last character: this one decodes to the same signature.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const last = alphabet[alphabet.indexOf(lease.at(-1) ?? '') + 1] ?? ''
    const twin = lease.slice(0, -1) + last
    expect(Buffer.from(twin.split('.')[2] ?? '', 'base64url')).toEqual(
      Buffer.from(lease.split('.')[2] ?? '', 'base64url'),
    )
    refuses(twin, 'compact JWS')
  })

  test('when it is longer than leases may be, before anything is decoded', () => {
    refuses(`${'A'.repeat(maxLeaseChars)}.A.A`, 'too long')
  })

  test.each(['', '.', '..', 'a.b.c', 'null', encode({}), `${encode('x')}.${encode(1)}.AAAA`])(
    'when it is %j',
    text => refuses(text, ''),
  )

  test('with a fault that tells users nothing of the reason', () => {
    expect(() => verifier().verify('x', expected)).toThrow(
      expect.objectContaining({ code: 'connector_refused' }),
    )
  })
})

describe('a lease that has ended, for an application that may go on by it', () => {
  const lastUntil = claims.exp + 300
  const ended = { ...claims, lastUntil }
  const at = (seconds: number, minutes = 5) => ({
    applicationId: 'wiki',
    nowMs: (claims.exp + seconds) * 1_000,
    endsAtMs: (of: LeaseClaims) => lastLeaseEndMs(of, minutes),
  })

  test('is accepted for its minutes, whole and by its reference, and then no more', () => {
    const known = verifier()
    const lease = signer.sign(ended)
    for (const seconds of [0, 299]) {
      expect(known.verify(lease, at(seconds))).toEqual(ended)
      expect(known.recall(leaseReference(lease), at(seconds))).toEqual(ended)
    }
    expect(() => known.verify(lease, at(300))).toThrow(EndedLease)
    expect(() => known.recall(leaseReference(lease), at(300))).toThrow(EndedLease)
  })

  test.each<[string, Partial<LeaseClaims>, number]>([
    ['when policy has not allowed that', { lastUntil: undefined }, 0],
    ['when its session ends earlier', { lastUntil: claims.exp + 10 }, 10],
    ['when the application has fewer minutes by now', {}, 60],
  ])('is refused %s', (_, change, seconds) => {
    const lease = signer.sign({ ...ended, ...change })
    const when = at(seconds, 1)
    expect(() => verifier().verify(lease, when)).toThrow(EndedLease)
    expect(verifier().verify(lease, { ...when, nowMs: when.nowMs - 1 }).app).toBe('wiki')
  })

  test.each([
    ['for another group', { aud: 'rome' }, 'another connector group'],
    ['for another application', { app: 'shop' }, 'another application'],
    ['one that would have lived too long', { exp: claims.exp + 1 }, 'longer than'],
  ])('is refused %s as ever', (_, change, why) => {
    expect(() => verifier().verify(signer.sign({ ...ended, ...change }), at(1))).toThrow(why)
  })

  test('is refused with a wrong signature, and when its key is gone', () => {
    const lease = signer.sign(ended)
    const [head, payload] = lease.split('.')
    expect(() => verifier().verify(`${head}.${payload}.AAAA`, at(1))).toThrow('signature')
    const known = verifier()
    known.verify(lease, expected)
    known.setKeys([createLeaseSigner().key])
    expect(() => known.verify(lease, at(1))).toThrow('not known here')
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('is refused when the time is %s', nowMs => {
    expect(() => verifier().verify(signer.sign(ended), { ...at(1), nowMs })).toThrow()
  })
})

describe('keys', () => {
  test('that are gone refuse what they signed, also what was accepted before', () => {
    const replaced = verifier()
    const lease = signer.sign(claims)
    replaced.verify(lease, expected)
    replaced.setKeys([createLeaseSigner().key])
    expect(() => replaced.verify(lease, expected)).toThrow('not known here')
  })

  test('that are not known are asked for, and the lease is refused meanwhile', () => {
    const late = createLeaseSigner()
    let asked = 0
    const asking = createLeaseVerifier({ groupId: 'paris', onUnknownKey: () => asked++ })
    const lease = late.sign(claims)
    for (let i = 0; i < 100; i++) expect(() => asking.verify(lease, expected)).toThrow()
    expect(asked).toBe(1)
    asking.setKeys([late.key])
    expect(asking.verify(lease, expected)).toEqual(claims)
  })

  test('have the RFC 7638 thumbprint as their id', async () => {
    const { calculateJwkThumbprint } = await import('jose')
    expect(signer.key.kid).toBe(await calculateJwkThumbprint(signer.key))
  })

  test('verify with a library of others, so that leases are ordinary JWS', async () => {
    const { compactVerify, importJWK } = await import('jose')
    const verified = await compactVerify(signer.sign(claims), await importJWK(signer.key))
    expect(JSON.parse(Buffer.from(verified.payload).toString())).toEqual(claims)
  })
})

/** Statements of the registry: a connector believes exactly what its own authority's registry has signed. */

import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compactVerify, importX509 } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Authority, keepAuthority } from '#infra/authority.ts'
import {
  createConnectorCertificate,
  createIntermediate,
  createKey,
  createRegistryCertificate,
  createServerCertificate,
  type Issuer,
} from '#infra/pki.ts'
import {
  maxStatementChars,
  payloadBytesIn,
  type StatementSigner,
  signStatement,
  verifyStatement,
} from '#infra/statement.ts'

const folder = await mkdtemp(join(tmpdir(), 'sallyport-statement-'))
afterAll(() => rm(folder, { recursive: true }))

const payload = { group: 'paris', names: ['Café', '漢字'] }
let own: Authority
let foreign: Authority

beforeAll(async () => {
  own = await keepAuthority(join(folder, 'own'))
  foreign = await keepAuthority(join(folder, 'foreign'))
})

const verify = (text: string, type: Parameters<typeof verifyStatement>[1] = 'applications') =>
  verifyStatement(own.root, type, text)
const signed = (signer: StatementSigner = own.registry) =>
  signStatement(signer, 'applications', payload)
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const headerOf = (text: string) =>
  JSON.parse(Buffer.from(text.split('.')[0] ?? '', 'base64url').toString())

/** A signer whose certificate is as the authority would never make it. */
async function signerBy(
  make: (issuer: Issuer, key: ReturnType<typeof createKey>) => Promise<X509Certificate>,
): Promise<StatementSigner> {
  const key = createKey()
  return { key, chain: [await make(own.connectors, key), own.connectors.certificate] }
}

describe('a statement is believed', () => {
  test('when the registry of the pinned root has signed it', () => {
    expect(verify(signed())).toEqual(payload)
  })

  test('also when the root is sent along', () => {
    const { key, chain } = own.registry
    expect(verify(signed({ key, chain: [...chain, own.root] }))).toEqual(payload)
  })

  test('and is an ordinary JWS for libraries of others', async () => {
    const text = signed()
    const { alg, x5c } = headerOf(text)
    const pem = new X509Certificate(Buffer.from(x5c[0], 'base64')).toString()
    const verified = await compactVerify(text, await importX509(pem, alg))
    expect(JSON.parse(Buffer.from(verified.payload).toString())).toEqual(payload)
  })

  test('when it is as large as a message of the bus can take', () => {
    const messageBytes = 1_048_576
    const room = payloadBytesIn(messageBytes)
    const text = signStatement(own.registry, 'applications', { text: 'x'.repeat(room - 20) })
    expect(JSON.stringify(text).length).toBeLessThanOrEqual(messageBytes)
    expect(verify(text)).toBeDefined()
  })
})

describe('a statement is refused', () => {
  test.each([
    ['of another authority', () => foreign.registry, 'foreign authority'],
    [
      'with its own chain and a key of another',
      () => ({ ...own.registry, key: createKey() }),
      'signature',
    ],
  ])('%s', (_, signer, why) => {
    expect(() => verify(signed(signer()))).toThrow(why)
  })

  test('signed by a connector, or by the bus', async () => {
    const { trustDomain } = own
    const connector = await signerBy((issuer, publicKey) =>
      createConnectorCertificate(issuer, { connectorId: 'a', trustDomain, publicKey, days: 1 }),
    )
    expect(() => verify(signed(connector))).toThrow('purpose')
    const bus = await signerBy((issuer, key) =>
      createServerCertificate(issuer, { key, names: ['bus.test'], days: 1 }),
    )
    expect(() => verify(signed(bus))).toThrow('purpose')
  })

  test('signed for the registry by the authority that may only sign connectors', async () => {
    const { trustDomain } = own
    const forged = await signerBy((issuer, key) =>
      createRegistryCertificate(issuer, { key, trustDomain, days: 1 }),
    )
    expect(() => verify(signed(forged))).toThrow('purpose')
  })

  test('of a certificate that is for signing, but names another trust domain', async () => {
    const key = createKey()
    const { chain } = own.registry
    const root = await intermediateFor('signing')
    const other = await createRegistryCertificate(root, { key, trustDomain: 'other', days: 1 })
    expect(() => verify(signed({ key, chain: [other, root.certificate] }))).toThrow(
      'spiffe://other',
    )
    expect(chain.length).toBe(2)
  })

  test('when the certificate has ended, or is not there yet', () => {
    const text = signed()
    const year = 365 * 86_400_000
    const at = (nowMs: number) => () => verifyStatement(own.root, 'applications', text, nowMs)
    expect(at(Date.now() + 3 * year)).toThrow('expired')
    expect(at(Date.now() - year)).toThrow('valid only')
    expect(at(Date.now())()).toEqual(payload)
  })

  test('of another kind', () => {
    expect(() => verify(signed(), 'leaseKeys')).toThrow('in place of leaseKeys')
  })

  test('when anything of it is another', () => {
    const text = signed()
    const parts = text.split('.')
    const [header = '', , signature = ''] = parts
    expect(() =>
      verify([header, encode({ ...payload, group: 'rome' }), signature].join('.')),
    ).toThrow('signature')
    for (const at of [...parts.keys()]) {
      const part = parts[at] ?? ''
      const changed = [...parts]
      changed[at] = `${part.slice(0, 9)}${part[9] === 'A' ? 'B' : 'A'}${part.slice(10)}`
      expect(() => verify(changed.join('.'))).toThrow()
    }
  })

  test.each([
    ['no signature', (parts: string[]) => `${parts[0]}.${parts[1]}.`],
    ['no signature, and says so', (parts: string[]) => `${encode({ alg: 'none' })}.${parts[1]}.`],
    ['something behind it', (parts: string[]) => `${parts.join('.')}.x`],
    ['only a payload', (parts: string[]) => `${parts[1]}`],
    ['nothing', () => ''],
    ['another spelling of the signature', (parts: string[]) => `${parts.join('.')}=`],
  ])('with %s', (_, change) => {
    expect(() => verify(change(signed().split('.')))).toThrow()
  })

  test.each([
    ['an algorithm that is not of the key', { alg: 'EdDSA' }],
    ['a shared secret as algorithm', { alg: 'HS256' }],
    ['a key of its own', { jwk: {} }],
    ['a critical extension', { crit: ['exp'] }],
    ['no certificate', { x5c: [] }],
    ['rubbish for a certificate', { x5c: ['AAAA'] }],
    ['a chain without end', { x5c: new Array(5).fill('AAAA') }],
  ])('with %s in its header', (_, change) => {
    const [header = '', ...rest] = signed().split('.')
    const changed = { ...JSON.parse(Buffer.from(header, 'base64url').toString()), ...change }
    expect(() => verify([encode(changed), ...rest].join('.'))).toThrow()
  })

  test('when it is longer than statements may be, before anything is decoded', () => {
    expect(() => verify('A'.repeat(maxStatementChars + 1))).toThrow('too long')
    expect(() => verify(`${'A'.repeat(100_000)}.A.A`)).toThrow('header is too long')
  })

  test('when a key of another kind signed under the certificate of the registry', () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    expect(() => verify(signed({ ...own.registry, key: privateKey }))).toThrow('algorithm')
  })
})

/** An intermediate of the own root for one purpose. */
async function intermediateFor(purpose: 'signing'): Promise<Issuer> {
  const { readFile } = await import('node:fs/promises')
  const { createPrivateKey } = await import('node:crypto')
  const rootKey = createPrivateKey(await readFile(join(folder, 'own', 'root-key.pem')))
  return createIntermediate(
    { certificate: own.root, key: rootKey },
    { name: 'test', key: createKey(), purposes: [purpose], days: 1 },
  )
}

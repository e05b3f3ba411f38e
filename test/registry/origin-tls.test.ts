/** How an administrator says who an application is and where it may stand. */

import { X509Certificate } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createKey, keyPem } from '#infra/pki.ts'
import { runCommand } from './cli.ts'
import {
  adminToken,
  authority,
  authorityPath,
  publish,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'

const pem = (await authority()).root.toString()
const hex = '0123456789abcdef'.repeat(4)
const octets = Buffer.from(hex, 'hex')
const path = '/applications/wiki/onPremisesPublishing'
const none = {
  isBackendCertificateValidationEnabled: true,
  originCertificateAuthorities: null,
  originServerName: null,
  originCertificatePins: null,
}
let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry()
  await publish(registry, 'wiki')
})
afterAll(() => registry[Symbol.asyncDispose]())
beforeEach(() => registry.send('PATCH', path, { ...none, internalUrl: 'https://wiki.internal/' }))

const settings = async () => (await registry.send('GET', path)).body

describe('an application', () => {
  test('is verified by the public authorities for its own name, unless something else is said', async () => {
    expect(await settings()).toMatchObject(none)
  })

  test('may have its own authorities, name and pins, and lose them again', async () => {
    const own = {
      originCertificateAuthorities: `${pem}${pem}`,
      originServerName: 'Wiki.Internal',
      originCertificatePins: [hex],
    }
    expect((await registry.send('PATCH', path, own)).status).toBe(204)
    expect(await settings()).toMatchObject({ ...own, originServerName: 'wiki.internal' })
    await registry.send('PATCH', path, { originCertificatePins: null, originServerName: null })
    const { originCertificatePins, originServerName } = await settings()
    expect([originCertificatePins, originServerName]).toEqual([null, null])
  })

  test.each([
    ['hex', hex],
    [
      'capital hex with colons, as openssl prints it',
      hex.toUpperCase().match(/../g)?.join(':') ?? '',
    ],
    ['base64', octets.toString('base64')],
    ['base64url', octets.toString('base64url')],
    ['the form of curl', `sha256//${octets.toString('base64')}`],
  ])('may be pinned in %s', async (_, pin) => {
    await registry.send('PATCH', path, { originCertificatePins: [pin] })
    expect((await settings()).originCertificatePins).toEqual([hex])
  })

  test.each<[string, string, unknown]>([
    ['a pin that is too short', 'originCertificatePins', [hex.slice(2)]],
    ['a pin that is no list', 'originCertificatePins', hex],
    ['an empty list of pins', 'originCertificatePins', []],
    ['more pins than anybody rotates', 'originCertificatePins', new Array(9).fill(hex)],
    ['a name with a port', 'originServerName', 'wiki.internal:443'],
    ['a name that is none', 'originServerName', ''],
    ['authorities that are no PEM', 'originCertificateAuthorities', 'CN=Test'],
    ['authorities that are cut off', 'originCertificateAuthorities', pem.slice(0, -40)],
    [
      'a certificate that is none',
      'originCertificateAuthorities',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    ],
    ['a private key beside them', 'originCertificateAuthorities', pem + keyPem(createKey())],
  ])('is not taken with %s, which is named', async (_, property, value) => {
    const answer = await registry.send('PATCH', path, { [property]: value })
    expect(answer.status).toBe(400)
    expect(JSON.stringify(answer.body)).toContain(property)
    expect(await settings()).toMatchObject(none)
  })

  test('with a private key among its authorities is told what is wrong with that', async () => {
    const originCertificateAuthorities = pem + keyPem(createKey())
    const answer = await registry.send('PATCH', path, { originCertificateAuthorities })
    expect(JSON.stringify(answer.body)).toContain('must not hold a private key')
  })

  test.each([
    'http://169.254.169.254/latest/',
    'https://[fe80::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://0.0.0.0:3000/',
    'http://metadata.google.internal/',
    'http://255.255.255.255/',
    'http://239.1.1.1/',
  ])('is not taken at %s', async internalUrl => {
    const answer = await registry.send('PATCH', path, { internalUrl })
    expect(answer.status).toBe(400)
    expect(JSON.stringify(answer.body)).toContain('internalUrl')
    expect((await settings()).internalUrl).toBe('https://wiki.internal/')
  })

  test('is not http:// while the application is to prove who it is', async () => {
    await registry.send('PATCH', path, { originCertificatePins: [hex] })
    const refused = await registry.send('PATCH', path, { internalUrl: 'http://wiki.internal/' })
    expect(refused.status).toBe(400)
    expect(refused.body.detail).toContain('originCertificatePins: is for an internal URL that')
    const both = { internalUrl: 'http://wiki.internal/', originCertificatePins: null }
    expect((await registry.send('PATCH', path, both)).status).toBeLessThan(300)
    const late = await registry.send('PATCH', path, { originServerName: 'other.internal' })
    expect(late.status).toBe(400)
    await registry.send('PATCH', path, { internalUrl: 'https://wiki.internal/' })
  })

  test('is taken at loopback: whether that is allowed, the connector decides', async () => {
    await registry.send('PATCH', path, { internalUrl: 'http://127.0.0.1:3000/' })
    expect((await settings()).internalUrl).toBe('http://127.0.0.1:3000/')
  })
})

describe('on the command line', () => {
  const run = (...args: string[]) =>
    runCommand(args, { SALLYPORT_ADMIN_URL: registry.url, SALLYPORT_ADMIN_TOKEN: adminToken })
  const publishWith = (...args: string[]) => run('publish', 'wiki=https://wiki.internal/', ...args)
  const bundle = join(authorityPath, 'bundle.pem')
  beforeAll(() => writeFileSync(bundle, pem))
  afterAll(() => rmSync(bundle))

  test('all of it can be set, is shown, and taken back', async () => {
    const more = ['--origin-ca', bundle, '--origin-server-name', 'other.internal']
    const { status, stdout } = await publishWith(...more, '--origin-pin', hex)
    expect(status).toBe(0)
    expect(stdout).toContain('other.internal')
    expect(stdout).toContain(hex)
    const { originCertificateAuthorities, originServerName } = await settings()
    expect(new X509Certificate(originCertificateAuthorities).toString()).toBe(pem)
    expect(originServerName).toBe('other.internal')
    const back = ['--origin-ca', 'default', '--origin-server-name', 'default']
    expect((await publishWith(...back, '--origin-pin', 'default')).status).toBe(0)
    expect(await settings()).toMatchObject(none)
  })

  test('an application whose certificate nobody looks at is shown as that', async () => {
    expect((await publishWith('--trust-any-origin-certificate')).stdout).toContain('NOT VERIFIED')
    expect((await settings()).isBackendCertificateValidationEnabled).toBe(false)
    expect((await publishWith('--verify-origin-certificate')).stdout).not.toContain('NOT VERIFIED')
    expect((await settings()).isBackendCertificateValidationEnabled).toBe(true)
  })

  test('a pin for an application without TLS is refused, and taking it back is not', async () => {
    const pinned = await run('publish', 'plain=http://plain.internal/', '--origin-pin', hex)
    expect(pinned).toMatchObject({ status: 2, stdout: '' })
    expect(pinned.stderr).toContain('--origin-pin is for an internal URL that begins with https://')
    const none = await run('publish', 'plain=http://plain.internal/', '--origin-pin', 'default')
    expect(none.status).toBe(0)
  })

  test('a file that is not there is named', async () => {
    const { status, stderr } = await publishWith('--origin-ca', '/nowhere.pem')
    expect(stderr).toContain('--origin-ca: /nowhere.pem cannot be read')
    expect(status).toBe(2)
  })
})

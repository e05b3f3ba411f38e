/** The certificate authority: what it makes, what is refused of what others make, and that openssl agrees. */

import { execFile } from 'node:child_process'
import { createPublicKey, type X509Certificate } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { keepAuthority } from '#infra/authority.ts'
import {
  type ChainCheck,
  checkChain,
  connectorIn,
  pinnedRoot,
  pinOf,
  readChain,
  registrySpiffeId,
  spiffeIdIn,
  trustDomainOf,
} from '#infra/certificates.ts'
import {
  chainPem,
  createConnectorCertificate,
  createIntermediate,
  createKey,
  createRoot,
  createServerCertificate,
  createSigningRequest,
  type Issuer,
  keyPem,
  readSigningRequest,
} from '#infra/pki.ts'
import { createRevocationList, readRevocationList } from '#infra/revocation-list.ts'

const dayMs = 86_400_000
const hourMs = 3_600_000

interface TestAuthority {
  root: Issuer
  connectors: Issuer
  trustDomain: string
}

async function createAuthority(): Promise<TestAuthority> {
  const root = await createRoot({ name: 'Root', key: createKey(), days: 100 })
  const request = { name: 'Connectors', key: createKey(), days: 90 }
  const connectors = await createIntermediate(root, { ...request, purposes: ['client'] })
  return { root, connectors, trustDomain: trustDomainOf(root.certificate) }
}

async function connectorCertificate(
  { connectors, trustDomain }: TestAuthority,
  { connectorId = 'paris-1', days = 30 } = {},
) {
  const key = createKey()
  const { publicKey } = await readSigningRequest(await createSigningRequest(key))
  const request = { connectorId, trustDomain, publicKey, days }
  return { key, certificate: await createConnectorCertificate(connectors, request) }
}

function refusal(check: Partial<ChainCheck> & Pick<ChainCheck, 'chain' | 'anchor'>): string {
  try {
    checkChain({ purpose: 'client', nowMs: Date.now(), ...check })
    return 'taken'
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    return `${code}: ${message}`
  }
}

describe('a chain of certificates', () => {
  it('is taken up to the root and up to the intermediate, for the purpose that it is for', async () => {
    const authority = await createAuthority()
    const { certificate } = await connectorCertificate(authority)
    const intermediate = authority.connectors.certificate
    const root = authority.root.certificate
    expect(refusal({ chain: [certificate, intermediate], anchor: root })).toBe('taken')
    expect(refusal({ chain: [certificate, intermediate, root], anchor: root })).toBe('taken')
    expect(refusal({ chain: [certificate], anchor: intermediate })).toBe('taken')
    expect(connectorIn(certificate, authority.trustDomain)).toBe('paris-1')
    const chain = [certificate, intermediate]
    expect(refusal({ chain, anchor: root, purpose: 'signing' })).toContain('not for this purpose')
    expect(refusal({ chain, anchor: root, purpose: 'server' })).toContain('not for this purpose')
  })

  it('of a foreign authority is refused, whatever names it bears', async () => {
    const [ours, theirs] = [await createAuthority(), await createAuthority()]
    const { certificate } = await connectorCertificate({ ...theirs, trustDomain: ours.trustDomain })
    const anchor = ours.root.certificate
    const whole = [certificate, theirs.connectors.certificate, theirs.root.certificate]
    expect(refusal({ chain: whole, anchor })).toContain('certificate_invalid: ')
    expect(refusal({ chain: whole.slice(0, 2), anchor })).toContain('foreign authority')
    expect(refusal({ chain: [certificate, ours.connectors.certificate], anchor })).toContain(
      'foreign authority',
    )
    expect(refusal({ chain: [certificate], anchor })).toContain('foreign authority')
  })

  it('is refused when a connector signs with its own key what it may not', async () => {
    const authority = await createAuthority()
    const { certificate, key } = await connectorCertificate(authority)
    const forged = await connectorCertificate({ ...authority, connectors: { certificate, key } })
    const chain = [forged.certificate, certificate, authority.connectors.certificate]
    expect(refusal({ chain, anchor: authority.root.certificate })).toContain('may not sign')
  })

  it('is refused when an intermediate has made an authority below it', async () => {
    const { root, connectors, trustDomain } = await createAuthority()
    const request = { name: 'Below', key: createKey(), days: 9, purposes: ['client' as const] }
    const below = await createIntermediate(connectors, request)
    const { certificate } = await connectorCertificate({ root, connectors: below, trustDomain })
    const chain = [certificate, below.certificate, connectors.certificate]
    expect(refusal({ chain, anchor: root.certificate })).toContain('may not sign authorities')
  })

  it('does not make an authority a connector, and is nothing without a certificate', async () => {
    const { root, connectors } = await createAuthority()
    const anchor = root.certificate
    expect(refusal({ chain: [connectors.certificate], anchor })).toContain("authority's own")
    expect(refusal({ chain: [anchor], anchor })).toContain('no certificate before the anchor')
    expect(refusal({ chain: [], anchor })).toContain('no certificate before the anchor')
  })

  it('is good two hours before it was made, until its end, and in its grace when there is one', async () => {
    const authority = await createAuthority()
    const { certificate } = await connectorCertificate(authority, { days: 30 })
    const check = { chain: [certificate], anchor: authority.connectors.certificate }
    const nowMs = Date.now()
    expect(refusal({ ...check, nowMs: nowMs - 1.9 * hourMs })).toBe('taken')
    expect(refusal({ ...check, nowMs: nowMs - 2.1 * hourMs })).toContain('valid only from')
    expect(refusal({ ...check, nowMs: nowMs + 29.9 * dayMs })).toBe('taken')
    const late = { ...check, nowMs: nowMs + 31 * dayMs }
    expect(refusal(late)).toContain('certificate_expired: ')
    expect(refusal({ ...late, graceMs: 2 * dayMs })).toBe('taken')
    expect(refusal({ ...late, graceMs: dayMs / 2 })).toContain('certificate_expired: ')
    expect(refusal({ ...late, nowMs: nowMs + 95 * dayMs, graceMs: 90 * dayMs })).toContain(
      'certificate_invalid: the certificate "CN=Connectors" has expired',
    )
  })

  it('never outlives its issuer', async () => {
    const authority = await createAuthority()
    const { certificate } = await connectorCertificate(authority, { days: 1_000 })
    expect(certificate.validTo).toBe(authority.connectors.certificate.validTo)
  })
})

describe('names', () => {
  it('of a connector are taken from its own trust domain alone', async () => {
    const [ours, theirs] = [await createAuthority(), await createAuthority()]
    const { certificate } = await connectorCertificate(theirs)
    expect(() => connectorIn(certificate, ours.trustDomain)).toThrow('names no connector of')
    for (const connectorId of ['Paris', 'a/../b', '', 'a.b', 'x'.repeat(64)]) {
      const odd = await connectorCertificate(ours, { connectorId })
      expect(() => connectorIn(odd.certificate, ours.trustDomain)).toThrow('names no connector of')
    }
  })

  it('of a host are no names of a connector', async () => {
    const { root, trustDomain } = await createAuthority()
    const request = { key: createKey(), names: ['bus.example', '127.0.0.1', '::1'], days: 9 }
    const server = await createServerCertificate(root, request)
    expect(server.checkHost('bus.example')).toBe('bus.example')
    expect(server.checkIP('127.0.0.1')).toBe('127.0.0.1')
    expect(server.checkIP('::1')).toBe('::1')
    expect(spiffeIdIn(server)).toBeUndefined()
    expect(() => connectorIn(server, trustDomain)).toThrow('names no connector of')
  })
})

describe('a signing request', () => {
  it('is refused when its signature is not of its own key, and when it is something else', async () => {
    const request = await createSigningRequest(createKey())
    const octets = Buffer.from(request.replace(/-----[^-]+-----/g, ''), 'base64')
    octets[octets.length - 1] = (octets.at(-1) as number) ^ 1
    const damaged = pem('CERTIFICATE REQUEST', octets)
    await expect(readSigningRequest(damaged)).rejects.toThrow('not well signed')
    await expect(readSigningRequest('')).rejects.toThrow('not a signing request')
    await expect(readSigningRequest(keyPem(createKey()))).rejects.toThrow('not a signing request')
    await expect(readSigningRequest('x'.repeat(100_000))).rejects.toThrow('too long')
  })
})

function pem(label: string, octets: Buffer): string {
  return `-----BEGIN ${label}-----\n${octets.toString('base64')}\n-----END ${label}-----\n`
}

describe('a revocation list', () => {
  it('names what was revoked, and counts only from its own authority and while it is in date', async () => {
    const [ours, theirs] = [await createAuthority(), await createAuthority()]
    const [gone, kept] = [await connectorCertificate(ours), await connectorCertificate(ours)]
    const nowMs = Date.now()
    const { serialNumber } = gone.certificate
    const revoked = [{ serialNumber, revokedAtMs: nowMs }]
    const options = { revoked, number: 200, nowMs, nextMs: nowMs + dayMs }
    const der = await createRevocationList(ours.connectors, options)
    const issuer = ours.connectors.certificate
    const list = await readRevocationList(der, { issuer, nowMs })
    expect(list.isRevoked(gone.certificate)).toBe(true)
    expect(list.isRevoked(kept.certificate)).toBe(false)
    const foreign = { issuer: theirs.connectors.certificate, nowMs }
    await expect(readRevocationList(der, foreign)).rejects.toThrow('not signed by this authority')
    const late = { issuer, nowMs: nowMs + 2 * dayMs }
    await expect(readRevocationList(der, late)).rejects.toThrow('was good until')
    await expect(readRevocationList(Buffer.from('no'), { issuer, nowMs })).rejects.toThrow(
      'not a revocation list',
    )
  })
})

describe('the folder of an authority', () => {
  it('is made once, for its owner alone, and kept', async () => {
    await using folder = await temporaryFolder()
    const options = { busNames: ['bus.example', '127.0.0.1'] }
    const made = await keepAuthority(folder.path, options)
    const files = await contents(folder.path)
    const kept = await keepAuthority(folder.path, options)
    expect(kept.pin).toBe(made.pin)
    expect(await contents(folder.path)).toEqual(files)
    expect(Object.keys(files)).toHaveLength(10)
    for (const name of Object.keys(files))
      expect((await stat(join(folder.path, name))).mode & 0o777, name).toBe(0o600)
    expect((await stat(folder.path)).mode & 0o777).toBe(0o700)
  })

  it('gives what two processes make at the same time one root', async () => {
    await using folder = await temporaryFolder()
    const all = await Promise.all([1, 2, 3, 4].map(() => keepAuthority(folder.path)))
    expect(new Set(all.map(({ pin }) => pin)).size).toBe(1)
    const { root, registry } = await keepAuthority(folder.path)
    checkChain({ chain: registry.chain, anchor: root, purpose: 'signing', nowMs: Date.now() })
  })

  it('signs for the registry under its root, and does not let the connectors’ part do that', async () => {
    await using folder = await temporaryFolder()
    const { root, registry, connectors, trustDomain } = await keepAuthority(folder.path)
    const [end] = registry.chain as [X509Certificate]
    checkChain({ chain: registry.chain, anchor: root, purpose: 'signing', nowMs: Date.now() })
    expect(spiffeIdIn(end)).toBe(registrySpiffeId(trustDomain))
    expect(createPublicKey(registry.key).equals(end.publicKey)).toBe(true)
    const chain = [end, connectors.certificate]
    expect(refusal({ chain, anchor: root, purpose: 'signing' })).toContain('foreign authority')
  })

  it('goes on without the key of the root, as long as nothing has to be made with it', async () => {
    await using folder = await temporaryFolder()
    const { pin } = await keepAuthority(folder.path)
    await rm(join(folder.path, 'root-key.pem'))
    expect((await keepAuthority(folder.path)).pin).toBe(pin)
    const nowMs = Date.now() + 2_000 * dayMs
    await keepAuthority(folder.path, { nowMs })
    await rm(join(folder.path, 'connectors.pem'))
    await expect(keepAuthority(folder.path)).rejects.toThrow('root-key.pem: is missing')
  })

  it('renews certificates at two thirds of their time with the same keys', async () => {
    await using folder = await temporaryFolder()
    const names = { busNames: ['bus.example'] }
    const before = await keepAuthority(folder.path, names)
    const soon = await keepAuthority(folder.path, { ...names, nowMs: Date.now() + 480 * dayMs })
    expect(serialOf(soon.registry.chain)).toBe(serialOf(before.registry.chain))
    const nowMs = Date.now() + 500 * dayMs
    const after = await keepAuthority(folder.path, { ...names, nowMs })
    expect(serialOf(after.registry.chain)).not.toBe(serialOf(before.registry.chain))
    expect(pinOf(after.registry.chain[0] as X509Certificate)).toBe(
      pinOf(before.registry.chain[0] as X509Certificate),
    )
    expect(after.pin).toBe(before.pin)
    const chain = readChain(await readFile(join(folder.path, 'bus.pem'), 'utf8'))
    checkChain({ chain, anchor: after.root, purpose: 'server', nowMs: nowMs + 700 * dayMs })
  })

  it('makes the certificate of the bus anew for other names', async () => {
    await using folder = await temporaryFolder()
    await keepAuthority(folder.path, { busNames: ['one.example'] })
    await keepAuthority(folder.path, { busNames: ['one.example', 'two.example'] })
    const [bus] = readChain(await readFile(join(folder.path, 'bus.pem'), 'utf8'))
    expect(bus?.checkHost('two.example')).toBe('two.example')
  })

  it('uses a root of the administrator’s own, also one with an RSA key', async () => {
    await using folder = await temporaryFolder()
    const [key, root] = ['root-key.pem', 'root.pem'].map(name => join(folder.path, name))
    const subject = ['-subj', '/O=Example AG/CN=Example Root', '-days', '900', '-nodes']
    const use = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign']
    const files = ['-keyout', key as string, '-out', root as string]
    await openssl(['req', '-x509', '-newkey', 'rsa:2048', ...use, ...subject, ...files])
    const authority = await keepAuthority(folder.path, { busNames: ['bus.example'] })
    expect(authority.root.subject).toContain('Example Root')
    const { registry } = authority
    const nowMs = Date.now()
    checkChain({ chain: registry.chain, anchor: authority.root, purpose: 'signing', nowMs })
    await openssl(verifying(folder.path, 'bus.pem', 'sslserver'))
  })

  it('is refused with the name of the file when something in it is unusable', async () => {
    await using folder = await temporaryFolder()
    const { connectors } = await keepAuthority(folder.path)
    const path = join(folder.path, 'root.pem')
    await writeFile(path, 'nonsense')
    await expect(keepAuthority(folder.path)).rejects.toThrow(`${path}: cannot be used`)
    const { certificate } = await connectorCertificate({
      root: connectors,
      connectors,
      trustDomain: 'sallyport-x',
    })
    await writeFile(path, chainPem([certificate]))
    await expect(keepAuthority(folder.path)).rejects.toThrow('is not a root certificate')
  })
})

it('a pin means the one root of a chain, and nothing else of it', async () => {
  const { root, connectors } = await createAuthority()
  const chain = [connectors.certificate, root.certificate]
  expect(pinnedRoot(chain, pinOf(root.certificate))).toBe(root.certificate)
  expect(() => pinnedRoot(chain, pinOf(connectors.certificate))).toThrow('is not a root')
  expect(() => pinnedRoot([connectors.certificate], pinOf(root.certificate))).toThrow('the pin')
})

// Other programs have to be able to check what this one makes: nats-server above all, which is written in Go.
it('openssl takes chains, purposes, signing requests and revocation lists for what they are', async () => {
  await using folder = await temporaryFolder()
  const authority = await keepAuthority(folder.path, { busNames: ['bus.example'] })
  const { connectors, trustDomain } = authority
  const { certificate, key } = await connectorCertificate({
    root: connectors,
    connectors,
    trustDomain,
  })
  const file = (name: string) => join(folder.path, name)
  await writeFile(file('one.pem'), chainPem([certificate, connectors.certificate]))
  await writeFile(file('request.pem'), await createSigningRequest(key))
  await openssl(verifying(folder.path, 'one.pem', 'sslclient'))
  await openssl(verifying(folder.path, 'bus.pem', 'sslserver'))
  await expect(openssl(verifying(folder.path, 'one.pem', 'sslserver'))).rejects.toThrow('purpose')
  const request = ['req', '-verify', '-noout', '-in', file('request.pem')]
  expect((await openssl(request)).stderr).toContain('verify OK')
  const nowMs = Date.now()
  const revoked = [{ serialNumber: certificate.serialNumber, revokedAtMs: nowMs }]
  const options = { revoked, number: 1, nowMs, nextMs: nowMs + dayMs }
  await writeFile(file('list.der'), await createRevocationList(connectors, options))
  await openssl(['crl', '-inform', 'der', '-in', file('list.der'), '-out', file('list.pem')])
  const checked = [...verifying(folder.path, 'one.pem', 'sslclient')]
  checked.splice(1, 0, '-crl_check', '-CRLfile', file('list.pem'))
  await expect(openssl(checked)).rejects.toThrow('certificate revoked')
})

function verifying(folder: string, name: string, purpose: string): string[] {
  const chain = join(folder, name)
  const anchor = ['-CAfile', join(folder, 'root.pem'), '-untrusted', chain]
  return ['verify', '-x509_strict', '-purpose', purpose, ...anchor, chain]
}

function openssl(args: readonly string[]) {
  return promisify(execFile)('openssl', args)
}

function serialOf(chain: readonly X509Certificate[]): string {
  return chain[0]?.serialNumber ?? ''
}

async function contents(path: string): Promise<Record<string, string>> {
  const names = (await readdir(path)).toSorted()
  const read = async (name: string) => [name, await readFile(join(path, name), 'utf8')]
  return Object.fromEntries(await Promise.all(names.map(read)))
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'sallyport-authority-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A connector's identity on its host: enrolling, keeping, renewing, and every way in which that goes wrong. */

import { spawn, spawnSync } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { pinOf } from '#infra/certificates.ts'
import { decodeToken, encodeToken } from '#infra/connector-token.ts'
import { Connector } from '#infra/contracts/connector.ts'
import { SallyportError } from '#infra/errors.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import {
  chainPem,
  createConnectorCertificate,
  createIntermediate,
  createKey,
  createRoot,
  readSigningRequest,
} from '#infra/pki.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { askDoor } from '../../connector/identity/door.ts'
import { enrol } from '../../connector/identity/enrol.ts'
import { IdentityFolder, identityPathOf } from '../../connector/identity/folder.ts'
import { RegistryTime } from '../../connector/identity/registry-time.ts'
import { dueAt, renewInTime } from '../../connector/identity/renewal.ts'
import { standingOf, watchStanding } from '../../connector/identity/standing.ts'
import { openStore } from '../../registry/store.ts'
import { startTestNats } from '../harness/nats.ts'
import { authority, connectorsPath, listen } from '../registry/fixture.ts'
import { type Door, impostor, openDoor, temporaryFolder } from './fixture.ts'

const log = createLogger('test', 'silent')
const dayMs = 86_400_000

/** As the registry of another installation would answer. */
async function foreignCertificate() {
  const { trustDomain } = await authority()
  const root = await createRoot({ name: 'Evil', key: createKey(), days: 9 })
  const publicKey = createPublicKey(createKey())
  const request = { connectorId: 'a', trustDomain, publicKey, days: 9 }
  const certificate = chainPem([await createConnectorCertificate(root, request), root.certificate])
  const place = { connectorId: 'a', connectorGroupId: 'default', busUrls: [], time: Date.now() }
  return { ...place, certificate }
}

const mounting = ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']
const mayMount = spawnSync('unshare', mounting, { stdio: 'ignore' }).status === 0

let door: Door

beforeAll(async () => {
  door = await openDoor()
})

afterAll(() => door[Symbol.asyncDispose]())

interface Enrolled extends AsyncDisposable {
  readonly folder: IdentityFolder
}

async function enrolledFolder(connectorId: string): Promise<Enrolled> {
  const { path, ...disposal } = await temporaryFolder()
  const folder = new IdentityFolder(join(path, 'identity'))
  await enrol({ token: await door.token(), folder, connectorId, log })
  return { folder, ...disposal }
}

/** Puts a certificate into the folder, and the connector's record, that began and ends at these times. */
async function withLifetime(folder: IdentityFolder, { beganDaysAgo, days }: Lifetime) {
  const identity = (await folder.read()) as NonNullable<Awaited<ReturnType<typeof folder.read>>>
  const { connectors, root, trustDomain } = await authority()
  const { connectorId } = identity
  const certificate = await createConnectorCertificate(connectors, {
    connectorId,
    trustDomain,
    publicKey: createPublicKey(await folder.nextKey()),
    days,
    nowMs: Date.now() - beganDaysAgo * dayMs,
  })
  const chain = [certificate, connectors.certificate, root]
  await folder.accept({ ...identity, chain, root })
  const bus = await door.registry.nats.connect('registry')
  await using store = await openStore(bus, { bucket: buckets.connectors, schema: Connector, log })
  const known = store.get(connectorId)
  const notAfter = certificate.validToDate.toISOString()
  const listed = { serialNumber: certificate.serialNumber, spki: pinOf(certificate), notAfter }
  const record = { ...(known?.value as Connector), certificates: [listed] }
  expect(await store.replace(connectorId, record, known?.revision)).toBe(true)
}

interface Lifetime {
  beganDaysAgo: number
  days: number
}

/** A log that remembers what it was told. */
function remembering(): { log: Logger; lines: string[] } {
  const lines: string[] = []
  const note = (...args: unknown[]) => void lines.push(String(args.at(-1)))
  return { lines, log: { ...log, info: note, warn: note, error: note } as unknown as Logger }
}

describe('enrolling', () => {
  it('stores key, certificate, root and place for the owner alone', async () => {
    await using enrolled = await enrolledFolder('stored')
    const { path } = enrolled.folder
    const names = (await readdir(path)).toSorted()
    expect(names).toEqual(['authority.pem', 'certificate.pem', 'connector.json', 'key.pem'])
    for (const name of names) expect((await stat(join(path, name))).mode & 0o777, name).toBe(0o600)
    expect((await stat(path)).mode & 0o777).toBe(0o700)
    const identity = await enrolled.folder.read()
    expect(identity).toMatchObject({
      connectorId: 'stored',
      connectorGroupId: 'default',
      busUrls: ['wss://bus.example.com'],
      enrolUrl: door.url,
    })
    expect(pinOf(identity?.root as never)).toBe((await authority()).pin)
  })

  it('sends neither the key of the host nor that of the token', async () => {
    const bodies: string[] = []
    await using between = await impostor(async (req, res) => {
      bodies.push(await text(req))
      res.writeHead(403, { 'content-type': 'application/problem+json' })
      res.end(JSON.stringify({ code: 'token_used' }))
    })
    await using temporary = await temporaryFolder()
    const folder = new IdentityFolder(temporary.path)
    const token = await door.token({}, { url: between.url })
    await expect(enrol({ token, folder, log })).rejects.toMatchObject({ code: 'token_used' })
    const [body = ''] = bodies
    expect(body).toContain('CERTIFICATE REQUEST')
    expect(body).not.toContain('PRIVATE')
    expect(body).not.toContain(decodeToken(token).key)
    const { d } = (await folder.nextKey()).export({ format: 'jwk' })
    expect(body).not.toContain(d)
  })

  it('can be taken up again with the same token when it was interrupted', async () => {
    const token = await door.token()
    await using temporary = await temporaryFolder()
    const folder = new IdentityFolder(temporary.path)
    // The registry gave a certificate, but its answer was lost.
    await using between = await impostor(async (req, res) => {
      const body = JSON.parse(await text(req))
      await askDoor({ url: door.url }, 'enroll', { body, answer: z.any() })
      res.destroy()
    })
    const lost = encodeToken({ ...decodeToken(token), url: between.url })
    await expect(enrol({ token: lost, folder, log, patienceMs: 0 })).rejects.toThrow()
    expect(await folder.read()).toBeUndefined()
    const identity = await enrol({ token, folder, log })
    expect(identity.connectorGroupId).toBe('default')
  })

  it('waits for a gateway that is not there yet, and gives up in the end', async () => {
    await using temporary = await temporaryFolder()
    const folder = new IdentityFolder(temporary.path)
    const token = await door.token({}, { url: 'http://127.0.0.1:9/' })
    const { log: told, lines } = remembering()
    await expect(enrol({ token, folder, log: told, patienceMs: 600 })).rejects.toMatchObject({
      code: 'bus_unavailable',
    })
    expect(lines.join('\n')).toContain('ECONNREFUSED')
  })
})

describe('garbage in place of the authority’s answer', () => {
  const html = { 'content-type': 'text/html' }
  const json = { 'content-type': 'application/json' }

  it.each<[string, Parameters<typeof impostor>[0], string]>([
    ['a page', (_, res) => res.writeHead(200, html).end('<h1>Welcome</h1>'), 'protocol_error'],
    ['nothing', (_, res) => res.writeHead(200, json).end(), 'protocol_error'],
    [
      'an object of no meaning',
      (_, res) => res.writeHead(200, json).end('{"a":1}'),
      'protocol_error',
    ],
    ['a number', (_, res) => res.writeHead(200, json).end('7'), 'protocol_error'],
    ['a page with an error', (_, res) => res.writeHead(502, html).end('oops'), 'protocol_error'],
    ['a redirect', (_, res) => res.writeHead(302, { location: '/x' }).end(), 'protocol_error'],
    [
      'a fault that does not exist',
      (_, res) => res.writeHead(403, json).end('{"code":"because"}'),
      'protocol_error',
    ],
    [
      'an answer without end',
      (_, res) => {
        res.writeHead(200, json)
        const more = setInterval(() => res.write('x'.repeat(8_192)), 1)
        res.on('close', () => clearInterval(more))
      },
      'protocol_error',
    ],
  ])('%s: is refused by name, and nothing is stored', async (_, answer, code) => {
    await using between = await impostor(answer)
    await using temporary = await temporaryFolder()
    const folder = new IdentityFolder(temporary.path)
    const token = await door.token({}, { url: between.url })
    const error = await enrol({ token, folder, log, patienceMs: 0 }).catch(caught => caught)
    expect(error).toBeInstanceOf(SallyportError)
    expect(error.code).toBe(code)
    expect(error.message).toContain('does not answer like a gateway of Sallyport')
    expect(await folder.read()).toBeUndefined()
  })

  interface Forging {
    chain: (signingRequest: string) => Promise<string>
    connectorId?: string
  }

  async function forged({ chain, connectorId = 'a' }: Forging) {
    await using between = await impostor(async (req, res) => {
      const { signingRequest } = JSON.parse(await text(req))
      const certificate = await chain(signingRequest)
      const place = { connectorId, connectorGroupId: 'default', busUrls: [], time: Date.now() }
      res.writeHead(200, json).end(JSON.stringify({ ...place, certificate }))
    })
    await using temporary = await temporaryFolder()
    const folder = new IdentityFolder(temporary.path)
    const token = await door.token({}, { url: between.url })
    const error = await enrol({ token, folder, log, patienceMs: 0 }).catch(caught => caught)
    expect(error.code).toBe('certificate_invalid')
    expect(await readdir(temporary.path)).toEqual(['next-key.pem'])
    return error.message
  }

  it('a certificate of another authority does not have the pin of the token', async () => {
    const message = await forged({
      chain: async signingRequest => {
        const root = await createRoot({ name: 'Evil', key: createKey(), days: 9 })
        const named = { name: 'Connectors', key: createKey(), days: 9 }
        const below = await createIntermediate(root, { ...named, purposes: ['client'] })
        const { trustDomain } = await authority()
        const { publicKey } = await readSigningRequest(signingRequest)
        const request = { connectorId: 'a', trustDomain, publicKey, days: 9 }
        const certificate = await createConnectorCertificate(below, request)
        return chainPem([certificate, below.certificate, root.certificate])
      },
    })
    expect(message).toContain('the pin')
  })

  it('a certificate of another authority does not become better by the true root behind it', async () => {
    const message = await forged({
      chain: async signingRequest => {
        const { trustDomain, root } = await authority()
        const evil = await createRoot({ name: 'Sallyport root', key: createKey(), days: 9 })
        const { publicKey } = await readSigningRequest(signingRequest)
        const request = { connectorId: 'a', trustDomain, publicKey, days: 9 }
        return chainPem([await createConnectorCertificate(evil, request), root])
      },
    })
    expect(message).toContain('foreign authority')
  })

  it('a certificate for another key is not ours', async () => {
    const message = await forged({
      chain: async () => {
        const { connectors, root, trustDomain } = await authority()
        const publicKey = createPublicKey(createKey())
        const request = { connectorId: 'a', trustDomain, publicKey, days: 9 }
        const certificate = await createConnectorCertificate(connectors, request)
        return chainPem([certificate, connectors.certificate, root])
      },
    })
    expect(message).toContain('another key')
  })

  it('a certificate for another connector is not ours', async () => {
    const message = await forged({
      connectorId: 'b',
      chain: async signingRequest => {
        const { connectors, root, trustDomain } = await authority()
        const { publicKey } = await readSigningRequest(signingRequest)
        const request = { connectorId: 'a', trustDomain, publicKey, days: 9 }
        const certificate = await createConnectorCertificate(connectors, request)
        return chainPem([certificate, connectors.certificate, root])
      },
    })
    expect(message).toContain('is for "a"')
  })

  it('text that is no certificate is refused', async () => {
    expect(await forged({ chain: async () => 'hello' })).toContain('not a certificate')
  })
})

describe('the folder', () => {
  it('has no identity before it is enrolled', async () => {
    await using temporary = await temporaryFolder()
    expect(await new IdentityFolder(join(temporary.path, 'none')).read()).toBeUndefined()
  })

  it.each(['authority.pem', 'connector.json', 'key.pem'])(
    'without %s is not an identity, and says so',
    async name => {
      await using enrolled = await enrolledFolder(`without-${name.replace('.', '-')}`)
      await rm(join(enrolled.folder.path, name))
      await expect(enrolled.folder.read()).rejects.toThrow('enrol the connector again')
    },
  )

  it.each(['authority.pem', 'connector.json', 'key.pem', 'certificate.pem'])(
    'with a damaged %s is not an identity, and says so',
    async name => {
      await using enrolled = await enrolledFolder(`damaged-${name.replace('.', '-')}`)
      await writeFile(join(enrolled.folder.path, name), 'nonsense')
      await expect(enrolled.folder.read()).rejects.toThrow('enrol the connector again')
    },
  )

  // A file that not even root may read.
  const unreadable = '/proc/sys/vm/compact_memory'
  it.skipIf(!existsSync(unreadable))(
    'that belongs to another user need not be moved away',
    async () => {
      await using folder = await temporaryFolder()
      await symlink(unreadable, join(folder.path, 'certificate.pem'))
      await expect(new IdentityFolder(folder.path).read()).rejects.toThrow(
        /EACCES.*; start the connector as the user whom the folder belongs to$/,
      )
    },
  )

  // The power may fail between any two steps.
  it('has a key and a certificate that belong together wherever a renewal is interrupted', async () => {
    await using enrolled = await enrolledFolder('interrupted')
    const { folder } = enrolled
    const file = (name: string) => join(folder.path, name)
    const before = await folder.read()
    await folder.nextKey()
    expect((await folder.read())?.certificate.serialNumber).toBe(before?.certificate.serialNumber)
    const [oldKey, nextKey] = await Promise.all(
      ['key.pem', 'next-key.pem'].map(name => readFile(file(name), 'utf8')),
    )
    await withLifetime(folder, { beganDaysAgo: 0, days: 30 })
    const after = await folder.read()
    // The last step undone: the new certificate is there, its key has the name of the next one still.
    await rename(file('key.pem'), file('next-key.pem'))
    await writeFile(file('key.pem'), oldKey as string)
    expect(await readFile(file('next-key.pem'), 'utf8')).toBe(nextKey)
    const found = await folder.read()
    expect(found?.certificate.serialNumber).toBe(after?.certificate.serialNumber)
    expect(createPublicKey(found?.key as never).equals(found?.certificate.publicKey as never)).toBe(
      true,
    )
  })

  it('stands where it was told, or where the system keeps the state of services', () => {
    expect(identityPathOf({ SALLYPORT_CONNECTOR_IDENTITY_PATH: '/a', HOME: '/h' })).toBe('/a')
    expect(identityPathOf({ STATE_DIRECTORY: '/var/lib/x:/var/lib/y', HOME: '/h' })).toBe(
      '/var/lib/x',
    )
    expect(identityPathOf({ HOME: '/h' })).toBe('/h/.local/state/sallyport-connector')
    expect(() => identityPathOf({})).toThrow('SALLYPORT_CONNECTOR_IDENTITY_PATH')
  })
})

describe('renewing', () => {
  const running = async (folder: IdentityFolder, told: Logger = log) => {
    const bus = await door.registry.nats.connect('registry')
    const time = new RegistryTime(told)
    return renewInTime({ folder, bus: () => bus, time, log: told, retryMs: 20 })
  }

  const serialOf = async (folder: IdentityFolder) => (await folder.read())?.certificate.serialNumber

  it('begins when two thirds of the time are over, not before', async () => {
    await using enrolled = await enrolledFolder('due')
    const { folder } = enrolled
    await withLifetime(folder, { beganDaysAgo: 0, days: 30 })
    const identity = await folder.read()
    const dueDays = (dueAt(identity as never) - Date.now()) / dayMs
    expect(dueDays).toBeGreaterThan(19)
    expect(dueDays).toBeLessThanOrEqual(20)
  })

  it('gives a new key and certificate, and keeps the one before good', async () => {
    await using enrolled = await enrolledFolder('renewed')
    const { folder } = enrolled
    await withLifetime(folder, { beganDaysAgo: 21, days: 30 })
    const before = await folder.read()
    await using _ = await running(folder)
    await expect.poll(() => serialOf(folder)).not.toBe(before?.certificate.serialNumber)
    const after = await folder.read()
    expect(
      createPublicKey(after?.key as never).equals(before?.certificate.publicKey as never),
    ).toBe(false)
    expect(after?.certificate.validToDate.getTime()).toBeGreaterThan(Date.now() + 29 * dayMs)
    const { body } = await door.registry.send('GET', `${connectorsPath}/renewed`)
    expect(body.certificates).toHaveLength(2)
    const old = { ...before, enrolUrl: door.url } as never
    await expect(standingOf(old, { time: new RegistryTime(log) })).resolves.toMatchObject({
      connectorId: 'renewed',
    })
  })

  it('is tried again until it works, and the old pair is kept meanwhile', async () => {
    await using enrolled = await enrolledFolder('patient')
    const { folder } = enrolled
    await withLifetime(folder, { beganDaysAgo: 25, days: 30 })
    const before = await serialOf(folder)
    const path = `${connectorsPath}/patient`
    await door.registry.send('PATCH', path, { isEnabled: false })
    const { log: told, lines } = remembering()
    await using _ = await running(folder, told)
    await expect
      .poll(() => lines.filter(line => line.includes('could not be')).length)
      .toBeGreaterThan(1)
    expect(lines.join('\n')).toContain('The present one is kept and is good until')
    expect(await serialOf(folder)).toBe(before)
    await door.registry.send('PATCH', path, { isEnabled: true })
    await expect.poll(() => serialOf(folder), { timeout: 5_000 }).not.toBe(before)
  })

  it('is tried again when the identity could not be read for a while', async () => {
    await using enrolled = await enrolledFolder('unread')
    const { folder } = enrolled
    await withLifetime(folder, { beganDaysAgo: 25, days: 30 })
    const before = await serialOf(folder)
    const { log: told, lines } = remembering()
    await rename(folder.path, `${folder.path}.away`)
    await using _ = await running(folder, told)
    await expect.poll(() => lines.join('\n')).toContain('identity of the connector is gone')
    await mkdir(folder.path)
    await writeFile(join(folder.path, 'certificate.pem'), 'no certificate')
    await expect.poll(() => lines.join('\n')).toContain('the identity of the connector cannot be')
    await rm(folder.path, { recursive: true })
    await rename(`${folder.path}.away`, folder.path)
    await expect.poll(() => serialOf(folder), { timeout: 5_000 }).not.toBe(before)
  })

  it.each<[string, () => Promise<unknown>, string]>([
    [
      'an object of no meaning',
      async () => ({ a: 1 }),
      'the answer of the registry is not a certificate',
    ],
    ['a certificate of another authority', foreignCertificate, 'the pin'],
  ])('by %s changes nothing and is said', async (_, answer, said) => {
    await using enrolled = await enrolledFolder(`garbage-${said.length}`)
    const { folder } = enrolled
    await withLifetime(folder, { beganDaysAgo: 25, days: 30 })
    const before = await serialOf(folder)
    await using nats = await startTestNats()
    const impostorBus = await nats.connect('registry')
    impostorBus.serve(subjects.renewRequests, { request: z.unknown(), handle: answer })
    await impostorBus.connection.flush()
    const bus = await nats.connect('registry')
    const { log: told, lines } = remembering()
    const time = new RegistryTime(log)
    await using renewal = renewInTime({ folder, bus: () => bus, time, log: told, retryMs: 20 })
    await expect.poll(() => lines.join('\n')).toContain(said)
    expect(renewal).toBeDefined()
    expect(await serialOf(folder)).toBe(before)
  })

  // A real file system without room: mounted in a name space of its own, where that is allowed.
  it.skipIf(!mayMount)(
    'on a full disk keeps the old pair, says so, and succeeds when there is room again',
    async () => {
      await using enrolled = await enrolledFolder('full-disk')
      const { folder } = enrolled
      await withLifetime(folder, { beganDaysAgo: 25, days: 30 })
      const program = fileURLToPath(new URL('./full-disk-program.ts', import.meta.url))
      const url = door.registry.nats.server.urlFor('registry')
      const child = spawn('unshare', ['-rm', process.execPath, program, folder.path, url], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const said = JSON.parse(await text(child.stdout))
      expect(said.whenFull).toMatch(/the disk is full\. The present one is kept and is good until/)
      expect(said.serialWhenFull).toBe(said.serialBefore)
      expect(said.serialAfter).not.toBe(said.serialBefore)
    },
    15_000,
  )
})

describe('while the bus does not take it', () => {
  const watching = (folder: IdentityFolder, told: Logger = log, time = new RegistryTime(told)) =>
    watchStanding({
      folder,
      bus: () => undefined,
      time,
      log: told,
      waitsMs: { first: 20, longest: 50 },
    })

  it('ends for good when it was removed', async () => {
    await using enrolled = await enrolledFolder('removed')
    await door.registry.send('DELETE', `${connectorsPath}/removed`)
    await using watch = watching(enrolled.folder)
    await expect(watch.ended).rejects.toThrow('The connector has been removed.')
  })

  it('waits while it is disabled, and says so', async () => {
    await using enrolled = await enrolledFolder('disabled')
    await door.registry.send('PATCH', `${connectorsPath}/disabled`, { isEnabled: false })
    const { log: told, lines } = remembering()
    await using watch = watching(enrolled.folder, told)
    await expect.poll(() => lines.join('\n')).toContain('The connector has been disabled.')
    const still = await Promise.race([watch.ended, 'still there'])
    expect(still).toBe('still there')
  })

  it('waits for an administrator when its certificate has expired, and goes on by itself then', async () => {
    await using enrolled = await enrolledFolder('expired')
    const { folder } = enrolled
    await withLifetime(folder, { beganDaysAgo: 40, days: 30 })
    const before = await folder.read()
    const { log: told, lines } = remembering()
    await using _ = watching(folder, told)
    await expect.poll(() => lines.join('\n')).toContain('sallyport renew-connector ID')
    const path = `${connectorsPath}/expired/allowRenewal`
    expect((await door.registry.send('POST', path, {})).status).toBe(201)
    const serial = async () => (await folder.read())?.certificate.serialNumber
    await expect.poll(serial, { timeout: 5_000 }).not.toBe(before?.certificate.serialNumber)
    const after = await folder.read()
    expect(after?.certificate.validToDate.getTime()).toBeGreaterThan(Date.now() + 29 * dayMs)
  })

  it('goes on asking when nobody answers', async () => {
    await using enrolled = await enrolledFolder('alone')
    const { folder } = enrolled
    const file = join(folder.path, 'connector.json')
    const place = JSON.parse(await readFile(file, 'utf8'))
    await writeFile(file, JSON.stringify({ ...place, enrolUrl: 'http://127.0.0.1:9/' }))
    const { log: told, lines } = remembering()
    await using _ = watching(folder, told)
    await expect
      .poll(() => lines.filter(line => line.includes('ECONNREFUSED')).length)
      .toBeGreaterThan(1)
  })
})

describe('the registry’s time', () => {
  it('is used in place of a clock that is wrong by an hour', () => {
    const { log: told, lines } = remembering()
    const time = new RegistryTime(told)
    const hourMs = 3_600_000
    time.measured(Date.now() + hourMs, Date.now())
    expect(Math.abs(time.now() - Date.now() - hourMs)).toBeLessThan(1_000)
    expect(lines.join('\n')).toContain("60 min behind the registry's")
    time.measured(Date.now() - hourMs, Date.now())
    expect(Math.abs(time.now() - Date.now() + hourMs)).toBeLessThan(1_000)
    expect(lines.join('\n')).toContain("60 min ahead of the registry's")
  })

  it('refuses by name a clock that is wrong by more', () => {
    const time = new RegistryTime(log)
    const measured = () => time.measured(Date.now() + 3 * 3_600_000, Date.now())
    expect(measured).toThrow("the clock of this host is 180 min behind the registry's")
  })
})

describe('the way in', () => {
  const post = (path: string, body: string, headers: Record<string, string> = {}) => {
    const { port } = new URL(door.url)
    const host = { host: `portal.sallyport.localhost:${port}`, 'content-type': 'application/json' }
    return send(Number(port), { method: 'POST', path, headers: { ...host, ...headers }, body })
  }

  it('takes small bodies only', async () => {
    const answer = await post('/.sallyport/connectors/enroll', `{"a":"${'x'.repeat(40_000)}"}`)
    expect(answer.status).toBe(413)
    expect((await post('/.sallyport/connectors/enroll', 'nonsense')).status).toBe(400)
    expect((await post('/.sallyport/connectors/enroll', '')).status).toBe(400)
  })

  it('serves the revocation list to anybody', async () => {
    const { port } = new URL(door.url)
    const host = { host: `portal.sallyport.localhost:${port}` }
    const path = '/.sallyport/connectors/revoked.crl'
    const answer = await send(Number(port), { method: 'GET', path, headers: host })
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe('application/pkix-crl')
  })

  it('lets one address ask so often, and then says when to come back', async () => {
    await using narrow = await openDoor({ SALLYPORT_GATEWAY_RATE_OF_ENROLMENT: '1/3' })
    const { port } = new URL(narrow.url)
    const headers = { host: `portal.sallyport.localhost:${port}` }
    const ask = () =>
      send(Number(port), {
        method: 'POST',
        path: '/.sallyport/connectors/status',
        headers: { ...headers, 'content-type': 'application/json' },
        body: '{"request":"x"}',
      })
    const answers = [await ask(), await ask(), await ask(), await ask()]
    expect(answers.map(({ status }) => status)).toEqual([400, 400, 400, 429])
    expect(Number(answers[3]?.headers['retry-after'])).toBeGreaterThan(0)
  })
})

it('a refusal at the door reaches the auditors with the address that it came from', async () => {
  const events = await listen(door.registry.nats, 'auditor', 'sallyport.audit.connector.>')
  const token = await door.token()
  const enrolAs = async (connectorId: string) => {
    const { path, ...disposal } = await temporaryFolder()
    await using _ = disposal
    return await enrol({ token, folder: new IdentityFolder(path), connectorId, log })
  }
  await enrolAs('audited')
  await expect(enrolAs('refused')).rejects.toMatchObject({ code: 'token_used' })
  await expect
    .poll(() => events.find(event => event.connector === 'refused'))
    .toMatchObject({ outcome: 'refused', reason: 'token_used', clientAddress: '127.0.0.1' })
})

interface Sent {
  method: string
  path: string
  headers: Record<string, string>
  body?: string
}

/** Fetch would not let the host be chosen. */
async function send(port: number, { body, ...sent }: Sent) {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  request({ host: '127.0.0.1', port, ...sent }, resolve)
    .on('error', reject)
    .end(body)
  const response = await promise
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

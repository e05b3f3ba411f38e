/**
 * Connections to origins, in each of the ways in which they are made: only to addresses that may be dialled, only to
 * whom the application means, and nothing is said before that is known.
 */

import { createHash, type X509Certificate } from 'node:crypto'
import dns from 'node:dns'
import { once } from 'node:events'
import { createSecureServer } from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Application } from '#infra/contracts/application.ts'
import { createKey, createRoot, createServerCertificate, type Issuer, keyPem } from '#infra/pki.ts'
import { destinationOf } from '../../connector/destination.ts'
import { createDialer } from '../../connector/dial.ts'
import type { OriginSink } from '../../connector/origin.ts'
import type { OriginError } from '../../connector/origin-error.ts'
import { openOrigins } from '../../connector/origins.ts'
import { application } from '../harness/application.ts'

const dialer = createDialer({ refusesLoopback: false })
const origins = openOrigins(4, dialer)
const server = createSecureServer({ allowHTTP1: true }, (_req, res) => res.end('here'))
const seen = { requests: 0, names: [] as unknown[] }
let root: Issuer
let ca: string
let url: string

beforeAll(async () => {
  root = await createRoot({ name: 'Test authority', key: createKey(), days: 10 })
  ca = root.certificate.toString()
  server.on('request', () => seen.requests++)
  server.on('upgrade', (_req, socket) => {
    seen.requests++
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n')
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    seen.names.push(socket.servername)
    socket.on('error', () => undefined)
  })
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `https://localhost:${(server.address() as AddressInfo).port}/`
})
afterAll(async () => {
  await origins[Symbol.asyncDispose]()
  server.close()
})
beforeEach(() => {
  Object.assign(seen, { requests: 0, names: [] })
})

const day = 86_400_000

/** Has the origin show another certificate from now on. */
async function show({ names = ['localhost'], by = root, nowMs = Date.now() } = {}) {
  const key = createKey()
  const certificate = await createServerCertificate(by, { key, names, days: 1, nowMs })
  server.setSecureContext({ key: keyPem(key), cert: certificate.toString() })
  return certificate
}

const sha256 = (octets: Buffer) => createHash('sha256').update(octets).digest()
const keyOf = ({ publicKey }: X509Certificate) => publicKey.export({ type: 'spki', format: 'der' })

type Outcome = 'there' | Pick<OriginError, 'code' | 'message' | 'isStarted'>

const request = { method: 'GET', target: '/', headers: ['Host', 'localhost'], body: null }
const head = { method: 'RDG_OUT_DATA', target: '/', headers: ['Host', 'localhost'] }

/** Each way in which a request gets a connection. */
const ways = {
  'from the pool': (app: Application) => answered(app, {}),
  'on a connection of its own': (app: Application) =>
    answered(app, {
      ...{ method: 'POST', body: Readable.from([Buffer.from('x')]) },
      headers: [...request.headers, 'Trailer', 'x-sum'],
    }),
  'over HTTP/2': (app: Application) =>
    answered(withPublishing(app, { originHttpVersion: 'http2' }), {}),
  'for an upgrade': (app: Application) =>
    upgraded(app, { headers: [...request.headers, 'Connection', 'Upgrade', 'Upgrade', 'test'] }),
  'for raw bytes': (app: Application) =>
    upgraded(app, {
      ...head,
      raw: { asked: head, translate: (it: typeof head) => it, answered: () => undefined },
    }),
} as const

function answered(app: Application, more: object): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const sink: OriginSink = {
    started: () => undefined,
    information: () => undefined,
    head: () => undefined,
    data: () => undefined,
    end: () => resolve('there'),
    failed: resolve,
  }
  origins.send(app, { ...request, ...more }, sink)
  return promise
}

async function upgraded(app: Application, more: object, by = origins): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const end = by.upgrade(
    app,
    { ...request, ...more },
    {
      started: () => undefined,
      information: () => undefined,
      upgraded: (_reason, _headers, socket) => {
        socket.on('error', () => undefined).destroy()
        resolve('there')
      },
      declined: () => resolve({ code: 'origin_protocol_error', message: '', isStarted: true }),
      failed: resolve,
    },
  )
  return promise.finally(end)
}

function withPublishing(app: Application, publishing: object): Application {
  const { externalUrl, internalUrl } = app.onPremisesPublishing
  const all = { ...app.onPremisesPublishing, ...publishing }
  return application(app.id, externalUrl, { internalUrl, publishing: all })
}

let destinations = 0

/** An application at the origin, with these settings, that shares no connection with another one. */
const at = (publishing: object = {}, internalUrl = url) => {
  const connectTimeoutInSeconds = 20 + (destinations++ % 500)
  const all = { connectTimeoutInSeconds, ...publishing }
  return application('app', 'https://app.test/', { internalUrl, publishing: all })
}

describe.each(Object.entries(ways))('%s, a connection', (_, dialled) => {
  const refused = async (app: Application, code: string, ...told: string[]) => {
    const outcome = await dialled(app)
    expect(outcome).toMatchObject({ code, isStarted: false })
    for (const part of told)
      expect(outcome).toHaveProperty('message', expect.stringContaining(part))
    // What had been said would have arrived before this.
    await dialer.probe(new URL(url).origin, 2_000)
    expect(seen.requests).toBe(0)
    expect(dialer.problemOf(destinationOf(app))).toContain(code)
  }

  test('is made when the authority of the application vouches for the name', async () => {
    await show()
    expect(await dialled(at({ originCertificateAuthorities: ca }))).toBe('there')
    await expect.poll(() => seen.names).toEqual(['localhost'])
  })

  test('is refused when nobody vouches for the certificate, and the reason names its issuer', async () => {
    await show()
    await refused(at(), 'origin_tls_untrusted', 'CN=Test authority')
  })

  test('is refused when the authority of another application vouches for it', async () => {
    await show()
    const other = await createRoot({ name: 'Other', key: createKey(), days: 1 })
    const app = at({ originCertificateAuthorities: other.certificate.toString() })
    await refused(app, 'origin_tls_untrusted', 'CN=Test authority')
  })

  test('is refused when the certificate is for another name, and the reason names both', async () => {
    await show({ names: ['wiki.internal'] })
    const app = at({ originCertificateAuthorities: ca })
    await refused(app, 'origin_tls_wrong_name', 'wiki.internal', 'localhost')
  })

  test('is made when the application says for which name the certificate is', async () => {
    await show({ names: ['wiki.internal'] })
    const originServerName = 'wiki.internal'
    expect(await dialled(at({ originCertificateAuthorities: ca, originServerName }))).toBe('there')
    await expect.poll(() => seen.names).toEqual([originServerName])
  })

  test('is refused when the certificate has ended, and the reason names the day', async () => {
    const { validToDate } = await show({ nowMs: Date.now() - 5 * day })
    const app = at({ originCertificateAuthorities: ca })
    await refused(app, 'origin_tls_expired', validToDate.toISOString())
  })

  test('is made when the certificate, or its key, is the one that is pinned', async () => {
    const certificate = await show()
    const pins = [
      sha256(certificate.raw).toString('hex'),
      sha256(keyOf(certificate)).toString('base64'),
    ]
    for (const pin of pins) {
      const app = at({ originCertificateAuthorities: ca, originCertificatePins: [pin] })
      expect(await dialled(app)).toBe('there')
    }
  })

  test('is refused when the certificate is good, but not the one that is pinned', async () => {
    const pin = sha256(keyOf(await show())).toString('hex')
    const certificate = await show()
    const app = at({ originCertificateAuthorities: ca, originCertificatePins: [pin] })
    await refused(app, 'origin_tls_wrong_pin', pin, sha256(keyOf(certificate)).toString('hex'))
  })

  test('needs no authority with a pin alone, and the pin alone to match', async () => {
    const pin = sha256(keyOf(await show({ names: ['other.test'] }))).toString('hex')
    const pinned = { isBackendCertificateValidationEnabled: false, originCertificatePins: [pin] }
    expect(await dialled(at(pinned))).toBe('there')
    seen.requests = 0
    await show({ names: ['other.test'] })
    await refused(at(pinned), 'origin_tls_wrong_pin', pin)
  })

  test('is made to whoever answers when the application says so', async () => {
    await show({ names: ['other.test'], nowMs: Date.now() - 5 * day })
    expect(await dialled(at({ isBackendCertificateValidationEnabled: false }))).toBe('there')
  })

  test.each(['169.254.169.254', '[fe80::1]', '0.0.0.0', '[::]', '224.0.0.1', '255.255.255.255'])(
    'is never tried to %s',
    async host => {
      for (const scheme of ['http', 'https'])
        await refused(at({}, `${scheme}://${host}/`), 'origin_address_refused', 'not dialled')
    },
  )

  test('is never tried to a name of cloud metadata, whatever it resolves to', async () => {
    using names = resolving({ 'metadata.google.internal': ['127.0.0.1'] })
    const app = at({}, url.replace('localhost', 'metadata.google.internal'))
    await refused(app, 'origin_address_refused', 'cloud metadata')
    expect(names.asked).toEqual([])
  })

  test.each(['169.254.169.254', 'fe80::1', '::ffff:169.254.169.254', 'fd00:ec2::254'])(
    'is never tried to a name that resolves to %s',
    async address => {
      using _names = resolving({ 'app.internal': [address] })
      const app = at({}, url.replace('localhost', 'app.internal'))
      await refused(app, 'origin_address_refused', 'app.internal', address)
    },
  )

  test('goes to the address that was judged: the name is resolved once for each', async () => {
    await show({ names: ['app.internal'] })
    using names = resolving({ 'app.internal': ['127.0.0.1', '169.254.169.254'] })
    const publishing = { originCertificateAuthorities: ca }
    const internalUrl = url.replace('localhost', 'app.internal')
    expect(await dialled(at(publishing, internalUrl))).toBe('there')
    expect(names.asked).toEqual(['app.internal'])
    seen.requests = 0
    await refused(at(publishing, internalUrl), 'origin_address_refused', '169.254.169.254')
    expect(names.asked).toEqual(['app.internal', 'app.internal'])
  })
})

describe('this host itself', () => {
  const strict = createDialer({ refusesLoopback: true })
  const reach = (internalUrl: string, via = strict) => {
    const { promise, resolve } = Promise.withResolvers<string>()
    via.dial(
      destinationOf(at({ isBackendCertificateValidationEnabled: false }, internalUrl)),
      { protocols: [] },
      {
        connected: socket => {
          socket.destroy()
          resolve('there')
        },
        failed: ({ code }) => resolve(code),
      },
    )
    return promise
  }

  test.each(['localhost', '127.0.0.1', '127.1.2.3', '[::1]', '[::ffff:127.0.0.1]'])(
    'is out of reach as %s when its owner wants it so',
    async host => {
      expect(await reach(url.replace('localhost', host))).toBe('origin_address_refused')
    },
  )

  test('is in reach otherwise', async () => {
    expect(await reach(url, dialer)).toBe('there')
  })
})

describe('a probe of an origin that was down', () => {
  test('finds it when it is there, and goes nowhere else than requests do', async () => {
    expect(await dialer.probe(new URL(url).origin, 2_000)).toBe(true)
    using names = resolving({ 'app.internal': ['169.254.169.254'] })
    expect(await dialer.probe('http://app.internal', 2_000)).toBe(false)
    expect(names.asked).toEqual(['app.internal'])
    expect(await dialer.probe('http://169.254.169.254', 2_000)).toBe(false)
  })
})

describe('the channels of one Remote Desktop Gateway connection', () => {
  const addresses = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5']
  const connectors = [origins, openOrigins(4, createDialer({ refusesLoopback: false }))]
  async function farm(there: readonly string[], port = 0) {
    const servers = new DisposableStack()
    for (const address of there) {
      const one = createServer(socket => socket.on('error', () => undefined).resume())
      one.on('connection', ({ localAddress = '' }: Socket) => reached.push(localAddress))
      await once(one.listen(port, address), 'listening')
      port = (one.address() as AddressInfo).port
      servers.defer(() => one.close())
    }
    return { port, [Symbol.dispose]: () => servers.dispose() }
  }
  let reached: string[] = []
  beforeEach(() => {
    reached = []
  })
  afterAll(() => connectors[1]?.[Symbol.asyncDispose]())

  /** Where OUT by one connector and IN by another one arrive. */
  async function arriveAt(port: number, connectionId: string): Promise<Set<string>> {
    reached = []
    const app = at({}, `http://farm.internal:${port}/`)
    for (const [index, method] of ['RDG_OUT_DATA', 'RDG_IN_DATA'].entries()) {
      const headers = ['Host', 'farm.internal', 'RDG-Connection-Id', connectionId]
      const asked = { method, target: '/', headers }
      const raw = { asked, translate: (it: typeof asked) => it }
      expect(await upgraded(app, { ...asked, raw }, connectors[index])).toBe('there')
    }
    await expect.poll(() => reached.length).toBe(2)
    return new Set(reached)
  }

  test('reach the same one of several servers, and different connections different ones', async () => {
    using servers = await farm(addresses)
    using _names = shuffled('farm.internal', addresses)
    const used = new Set<string>()
    for (let i = 0; i < 20; i++) {
      const both = await arriveAt(servers.port, `{connection-${i}}`)
      expect(both.size).toBe(1)
      for (const address of both) used.add(address)
    }
    expect(used.size).toBeGreaterThan(1)
  })

  test('reach the same other one when theirs is down, and those of other servers stay', async () => {
    const before = new Map<string, string>()
    let port = 0
    {
      using servers = await farm(addresses)
      using _names = shuffled('farm.internal', addresses)
      port = servers.port
      for (let i = 0; i < 12; i++)
        before.set(`{${i}}`, [...(await arriveAt(port, `{${i}}`))].join())
    }
    using _rest = await farm(addresses.slice(1), port)
    using _names = shuffled('farm.internal', addresses)
    for (const [id, address] of before) {
      const [now, ...more] = await arriveAt(port, id)
      expect(more).toEqual([])
      if (address === addresses[0]) expect(now).not.toBe(address)
      else expect(now).toBe(address)
    }
  })
})

test('an origin that takes connections and says nothing is given up in time', async () => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const app = at({ connectTimeoutInSeconds: 1 }, `https://127.0.0.1:${port}/`)
  expect(await ways['from the pool'](app)).toMatchObject({
    code: 'origin_unreachable',
    message: expect.stringContaining('connect time-out'),
    isStarted: false,
  })
  const waiting = connect(port, '127.0.0.1').on('error', () => undefined)
  waiting.destroy()
  silent.close()
})

const { lookup } = dns
afterEach(() => {
  dns.lookup = lookup
})

/** A name with all of these addresses, in another order each time. */
function shuffled(host: string, addresses: readonly string[]) {
  let turn = 0
  const resolve = (name: string, options: dns.LookupAllOptions, done: AllFound) => {
    if (name !== host) return Reflect.apply(lookup, dns, [name, options, done])
    const from = turn++ % addresses.length
    const turned = [...addresses.slice(from), ...addresses.slice(0, from)]
    done(
      null,
      turned.map(address => ({ address, family: 4 })),
    )
  }
  dns.lookup = resolve as unknown as typeof dns.lookup
  return {
    [Symbol.dispose]: () => {
      dns.lookup = lookup
    },
  }
}

type AllFound = (error: null, found: dns.LookupAddress[]) => void

/** Names that resolve to one address after the other; the last one stays. */
function resolving(hosts: Record<string, string[]>) {
  const asked: string[] = []
  const left = new Map(Object.entries(hosts))
  const resolve = (name: string, ...rest: unknown[]) => {
    const addresses = left.get(name)
    const [next = name] = addresses ?? []
    if (addresses) asked.push(name)
    if (addresses && addresses.length > 1) addresses.shift()
    return Reflect.apply(lookup, dns, [next, ...rest])
  }
  dns.lookup = resolve as typeof dns.lookup
  return {
    asked,
    [Symbol.dispose]: () => {
      dns.lookup = lookup
    },
  }
}

/** Requests, addresses and settings that are wrong: each is told clearly, none hangs or does harm. */

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { keepAuthority } from '#infra/authority.ts'
import { startNatsServer } from '#infra/embedded/nats-server.ts'
import { freePort } from '#infra/embedded/ports.ts'
import type { BusRole } from '#infra/permissions.ts'
import { busUrlOf, createRoleKeys } from '#infra/role-keys.ts'
import { administer } from '../harness/admin.ts'
import { Client, exchangeRaw } from '../harness/client.ts'
import { runCommand } from '../harness/commands.ts'
import { binary } from '../harness/nats.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'
import { clientId, startTestProvider } from '../policy/identity-provider.ts'

const page = [['Accept', 'text/html']] as const

const gatewayOn = (busUrl: string) => ({
  SALLYPORT_BUS_URL: busUrl,
  SALLYPORT_GATEWAY_PORT: '0',
  SALLYPORT_GATEWAY_PORTAL_URL: 'http://portal.example.com/',
  SALLYPORT_GATEWAY_IDENTITY_PROVIDER: 'https://login.example.com/',
  SALLYPORT_GATEWAY_CLIENT_ID: 'x',
})

describe('a request', () => {
  let origin: Origin
  let system: TestSystem
  let client: Client

  beforeAll(async () => {
    origin = await startOrigin()
    const { url: internalUrl } = origin
    const open = { displayName: 'Open', internalUrl, access: 'passthrough' } as const
    system = await startSystem({
      publish: [
        { ...open, name: 'open' },
        { ...open, name: 'shared' },
      ],
    })
    client = at('open.sallyport.localhost')
    await administer(system, 'POST', '/applications', {
      id: 'below',
      displayName: 'Below',
      onPremisesPublishing: {
        externalUrl: `http://shared.sallyport.localhost:${system.port}/below/`,
        internalUrl,
      },
    })
  })
  afterAll(async () => {
    client[Symbol.dispose]()
    await system[Symbol.asyncDispose]()
    await origin[Symbol.asyncDispose]()
  })

  const gateway = () => system.gatewayUrls[0] as string
  const at = (name: string) =>
    new Client(gateway(), { headers: { host: `${name}:${system.port}` } })
  const raw = (...lines: string[]) =>
    exchangeRaw(gateway(), `${[...lines, 'Connection: close'].join('\r\n')}\r\n\r\n`)
  const openHost = () => `open.sallyport.localhost:${system.port}`

  test('to a host that nobody has published is a 404, a page for people and JSON for programs', async () => {
    using nobody = at('nobody.sallyport.localhost')
    const forPeople = await nobody.send('/', { headers: page })
    expect(forPeople.status).toBe(404)
    expect(forPeople.text).toContain('Nothing is published at this address')
    expect(forPeople.text).toContain(system.portal)
    const forPrograms = await nobody.send('/x', { method: 'POST', body: Buffer.from('{}') })
    expect(forPrograms).toMatchObject({ status: 404 })
    expect(forPrograms.json()).toMatchObject({ code: 'unknown_host', status: 404 })
  })

  test('to a path of the portal that is no page is a 404, by a wrong method a 405', async () => {
    using portal = at('portal.sallyport.localhost')
    expect(await portal.send('/admin', { headers: page })).toMatchObject({ status: 404 })
    expect(await portal.send('/.sallyport/nothing')).toMatchObject({ status: 404 })
    expect(await portal.send('/.sallyport/sign-out')).toMatchObject({ status: 405 })
    expect(await client.send('/.sallyport/nothing')).toMatchObject({ status: 404 })
  })

  test('to a path that the application does not have gets the answer of the application', async () => {
    const answer = await client.send('/no/such/page')
    expect(answer).toMatchObject({ status: 404, text: 'the origin has no such page' })
  })

  test.each([
    ['by address', '127.0.0.1'],
    ['with a dot at the end', 'open.sallyport.localhost.'],
    ['of a longer name', 'open.sallyport.localhost.evil.example'],
    ['below a published name', 'x.open.sallyport.localhost'],
    ['that is the parent domain', 'sallyport.localhost'],
    ['that is a name of every object', '__proto__'],
  ])('to a host %s finds no application', async (_how, name) => {
    const before = origin.seen.length
    expect(await raw('GET / HTTP/1.1', `Host: ${name}`)).toMatch(/^HTTP\/1\.1 40[04] /)
    expect(origin.seen).toHaveLength(before)
  })

  test('finds its host in whatever case and under whatever port it is asked for', async () => {
    for (const host of ['OPEN.Sallyport.LOCALHOST', 'open.sallyport.localhost:1']) {
      expect(await raw('GET /bytes/2 HTTP/1.1', `Host: ${host}`)).toMatch(/^HTTP\/1\.1 200 /)
    }
  })

  test.each([
    ['no Host', ['GET / HTTP/1.1']],
    ['an empty Host', ['GET / HTTP/1.1', 'Host:']],
    ['two Hosts', ['GET / HTTP/1.1', 'Host: HOST', 'Host: HOST']],
    ['a list of Hosts', ['GET / HTTP/1.1', 'Host: HOST, other']],
    ['user information in its Host', ['GET / HTTP/1.1', 'Host: me@HOST']],
    ['a path in its Host', ['GET / HTTP/1.1', 'Host: HOST/x']],
    ['another host in its target', ['GET http://other/ HTTP/1.1', 'Host: HOST']],
    ['a fragment', ['GET /a#b HTTP/1.1', 'Host: HOST']],
    ['a space in its target', ['GET /a b HTTP/1.1', 'Host: HOST']],
    ['a target that is no path', ['GET a HTTP/1.1', 'Host: HOST']],
    ['a header of several lines', ['GET / HTTP/1.1', 'Host: HOST', 'X: a', ' folded']],
    ['a space before a colon', ['GET / HTTP/1.1', 'Host: HOST', 'X : a']],
    ['a header without a colon', ['GET / HTTP/1.1', 'Host: HOST', 'nonsense']],
    ['a NUL', ['GET / HTTP/1.1', 'Host: HOST', 'X: a\0b']],
    ['two lengths', ['POST / HTTP/1.1', 'Host: HOST', 'Content-Length: 1', 'Content-Length: 2']],
    [
      'a length and chunks',
      ['POST / HTTP/1.1', 'Host: HOST', 'Content-Length: 1', 'Transfer-Encoding: chunked'],
    ],
    ['a length that is none', ['POST / HTTP/1.1', 'Host: HOST', 'Content-Length: +1']],
    ['HTTP/2.0 on its first line', ['GET / HTTP/2.0', 'Host: HOST']],
    ['HTTP/0.9', ['GET /']],
  ])('with %s is refused and reaches nobody', async (_what, lines) => {
    const before = origin.seen.length
    const answer = await raw(...lines.map(line => line.replace('HOST', openHost())))
    expect(answer).toMatch(/^HTTP\/1\.1 (400|505) /)
    expect(origin.seen).toHaveLength(before)
  })

  test.each([
    ['CONNECT', 'CONNECT open.sallyport.localhost:443 HTTP/1.1'],
    ['TRACE', 'TRACE / HTTP/1.1'],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1'],
  ])('by %s is answered 405', async (_what, line) => {
    expect(await raw(line, `Host: ${openHost()}`)).toMatch(/^HTTP\/1\.1 405 /)
  })

  test('in a transfer coding that is not known is answered 501', async () => {
    const answer = await raw(
      'POST / HTTP/1.1',
      `Host: ${openHost()}`,
      'Transfer-Encoding: gzip, chunked',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 501 /)
  })

  test.each([
    '/a/../b',
    '/a/%2e%2e/b',
    '/a/.%2E/b',
    '/..;/b',
    '/a/%2f../b',
    '/a\\b',
    '/a%5cb',
    '/a%00',
  ])('for %s, which can be read in two ways, is refused', async path => {
    const answer = await raw(`GET ${path} HTTP/1.1`, `Host: ${openHost()}`)
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(answer).toContain('ambiguous_path')
  })

  test.each(['/a//b', '/a%2fb', '/%zz', '/a%', '/caf%C3%A9', '/a;b=c', "/~!$&'()*+,=:@"])(
    'for %s reaches an application that has its host for itself, byte by byte',
    async path => {
      await client.send(path)
      expect(origin.seen.at(-1)?.path).toBe(path)
    },
  )

  test('with slashes that some collapse is refused where applications share a host', async () => {
    using shared = at('shared.sallyport.localhost')
    for (const path of ['//below/x', '/below%2fx', '/x//below/']) {
      const answer = await shared.send(path)
      expect(answer).toMatchObject({ status: 400 })
      expect(answer.json()).toMatchObject({ code: 'ambiguous_path' })
    }
  })

  test('with more than 64 KB of headers is answered 431, of address 414, with a little less it is served', async () => {
    const long = (bytes: number) =>
      raw('GET /bytes/1 HTTP/1.1', `Host: ${openHost()}`, `X-Long: ${'x'.repeat(bytes)}`)
    expect(await long(66_000)).toMatch(/^HTTP\/1\.1 431 /)
    expect(await long(60_000)).toMatch(/^HTTP\/1\.1 200 /)
    expect(await raw(`GET /${'x'.repeat(66_000)} HTTP/1.1`, `Host: ${openHost()}`)).toMatch(
      /^HTTP\/1\.1 414 /,
    )
  })
})

describe('a configuration that cannot be used', () => {
  test.each([
    [
      'gateway',
      {
        SALLYPORT_BUS_URL: 'http://bus',
        SALLYPORT_GATEWAY_PORT: '70000',
        SALLYPORT_GATEWAY_PORTAL_URL: 'https://portal.example.com/app',
        SALLYPORT_GATEWAY_IDENTITY_PROVIDER: 'http://login.example.com',
        SALLYPORT_GATEWAY_CLIENT_SECRET_FILE: '/does/not/exist',
        SALLYPORT_GATEWAY_TRUSTED_PROXIES: '10.0.0.0/99',
      },
      [
        /SALLYPORT_BUS_URL: must be tls:\/\/SEED@host:port/,
        /SALLYPORT_GATEWAY_PORT: must be a port number from 0 to 65535/,
        /SALLYPORT_GATEWAY_PORTAL_URL: must have no path/,
        /SALLYPORT_GATEWAY_IDENTITY_PROVIDER: must be https/,
        /SALLYPORT_GATEWAY_CLIENT_ID: is required; set it, or .* SALLYPORT_GATEWAY_CLIENT_ID_FILE/,
        /SALLYPORT_GATEWAY_CLIENT_SECRET_FILE: \/does\/not\/exist cannot be read \(ENOENT\)/,
        /SALLYPORT_GATEWAY_TRUSTED_PROXIES: must be IP addresses or CIDR ranges/,
      ],
    ],
    [
      'connector',
      {
        SALLYPORT_BUS_URL: 'http://bus',
        SALLYPORT_CONNECTOR_ID: 'Not A Name',
        SALLYPORT_CONNECTOR_GROUP: 'A_B',
        SALLYPORT_CONNECTOR_MAX_EXCHANGES: '0',
        SALLYPORT_LOG_LEVEL: 'loud',
      },
      [
        /SALLYPORT_BUS_URL: must be tls/,
        /SALLYPORT_CONNECTOR_ID: must be 1 to 63/,
        /SALLYPORT_CONNECTOR_GROUP: must be 1 to 63/,
        /SALLYPORT_CONNECTOR_MAX_EXCHANGES: must be a whole number from 1/,
        /SALLYPORT_LOG_LEVEL: .*"info"/,
      ],
    ],
    [
      'policy',
      {
        SALLYPORT_BUS_URL: 'nats://policy@127.0.0.1:4222',
        SALLYPORT_POLICY_IDENTITY_PROVIDER: 'http://login.example.com',
        SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: 'yes',
      },
      [
        /SALLYPORT_POLICY_IDENTITY_PROVIDER: must be https/,
        /SALLYPORT_POLICY_CLIENT_ID: is required/,
        /SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: must be true or false/,
      ],
    ],
    [
      'registry',
      {
        SALLYPORT_REGISTRY_ADMIN_TOKEN: 'too short',
        SALLYPORT_REGISTRY_REPLICAS: '2',
        SALLYPORT_REGISTRY_PORT: 'http',
      },
      [
        /SALLYPORT_BUS_URL: is required/,
        /SALLYPORT_REGISTRY_ADMIN_TOKEN: must have at least 24/,
        /SALLYPORT_REGISTRY_REPLICAS: must be 1, 3 or 5/,
        /SALLYPORT_REGISTRY_PORT: must be a port number/,
      ],
    ],
  ])(
    'of the %s is told whole, every variable with its fix, and ends with 78',
    async (role, environment, problems) => {
      const command = runCommand([role], environment)
      expect(await command.exited).toBe(78)
      for (const problem of problems) expect(command.errors).toMatch(problem)
      expect(command.errors).not.toContain('too short')
      expect(command.errors).not.toMatch(/\n\s+at /)
    },
  )

  test('on the command line is told whole too', async () => {
    const wrong = ['wiki', 'portal=http://x', 'a=ftp://x', 'b=http://x,open', 'a=http://y?q=1']
    const words = wrong.flatMap(value => ['--publish', value])
    const command = runCommand(['up', '--port', 'eighty', '--connectors', '-1', ...words])
    expect(await command.exited).toBe(78)
    expect(command.errors).toMatch(/--port: must be a port number/)
    expect(command.errors).toMatch(/--connectors: must be a whole number/)
    expect(command.errors).toMatch(/--publish wiki: must be NAME=URL, as in/)
    expect(command.errors).toMatch(/--publish portal=http:\/\/x: .*portal's own/)
    expect(command.errors).toMatch(/--publish a=ftp:\/\/x: the URL must be an http:\/\/ or https:/)
    expect(command.errors).toMatch(/--publish b=http:\/\/x,open: only "passthrough"/)
    expect(command.errors).toMatch(/--publish a=http:\/\/y\?q=1: .*no query/)
  })

  const takenPort = async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void taken.close())
    await once(taken, 'listening')
    return `${(taken.address() as AddressInfo).port}`
  }

  test('with a port that is taken names the port', async () => {
    const port = await takenPort()
    const command = runCommand(['up', '--port', port])
    expect(await command.exited).toBe(78)
    expect(command.errors).toContain(`--port: ${port} is in use by another program`)
  })

  // Whoever starts services again does so after 1, and not after 78: the one before it may be about to end.
  test.each([
    ['SALLYPORT_GATEWAY_PORT', { SALLYPORT_GATEWAY_WORKERS: '2' }],
    ['SALLYPORT_GATEWAY_MONITORING_PORT', {}],
  ])('with a port that is taken of a service names %s, and ends with 1', async (name, more) => {
    const port = await takenPort()
    const bus = busUrlOf('gateway', createRoleKeys(), 'nats://127.0.0.1:4222')
    const command = runCommand(['gateway'], { ...gatewayOn(bus), ...more, [name]: port })
    expect(await command.exited).toBe(1)
    expect(command.errors).toContain(
      `cannot listen on 127.0.0.1:${port}: another program uses this port; stop it, or set ${name} to another one`,
    )
  })
})

test('a sign-in of somebody in too many groups says so, and is no bad request', async () => {
  await using origin = await startOrigin()
  await using provider = await startTestProvider()
  const { issuer } = provider
  await using system = await startSystem({
    identityProvider: { issuer, clientId },
    publish: [signedInApplication('wiki', origin.url)],
  })
  using agent = new UserAgent()
  provider.vouchFor({ groups: Array.from({ length: 2_000 }, () => randomUUID()) })
  const answer = await agent.visit(`http://wiki.sallyport.localhost:${system.port}/`)
  expect(answer.status).toBe(403)
  expect(answer.text).toContain('The identity provider says more about you than can be taken.')
  provider.vouchFor({})
  const again = await agent.visit(`http://wiki.sallyport.localhost:${system.port}/bytes/1`)
  expect(again.status).toBe(200)
})

describe('a bus', () => {
  const folder = async () => {
    const path = await mkdtemp(join(tmpdir(), 'sallyport-bad-input-'))
    onTestFinished(() => rm(path, { recursive: true, force: true }))
    return path
  }

  test('that is down at the start is waited for, with a message, and used when it comes', async () => {
    const [storeDirectory, port] = [await folder(), await freePort()]
    const keys = createRoleKeys()
    const bus = (role: BusRole) => busUrlOf(role, keys, `nats://127.0.0.1:${port}`)
    const registry = runCommand(['registry'], {
      SALLYPORT_BUS_URL: bus('registry'),
      SALLYPORT_REGISTRY_PORT: '0',
      SALLYPORT_REGISTRY_ADMIN_TOKEN: 'x'.repeat(24),
    })
    const gateway = runCommand(['gateway'], gatewayOn(bus('gateway')))
    for (const service of [registry, gateway]) {
      await service.said(
        new RegExp(`the bus at 127.0.0.1:${port} cannot be reached .*trying again`),
      )
      // Many times a second, and told every five.
      await service.said(/attempt \d{2,}/)
      expect(service.errors.match(/cannot be reached/g)?.length).toBeLessThan(4)
      expect(service.process.exitCode).toBe(null)
      expect(service.errors).not.toMatch(/SU[A-Z2-7]{20}/)
    }
    await using _server = await startNatsServer({ storeDirectory, port, keys, binary })
    expect(await registry.ready).toMatchObject({ admin: expect.stringContaining('http://') })
    const { port: gatewayPort } = await gateway.ready
    using client = new Client(`http://127.0.0.1:${gatewayPort}`, {
      headers: { host: 'portal.example.com' },
    })
    expect((await client.send('/.sallyport/health')).json()).toEqual({
      status: 'ready',
      missing: [],
    })
  })

  test('that no dial could reach is refused with the variable, and not waited for', async () => {
    const gateway = (environment: Record<string, string>) =>
      runCommand(['gateway'], {
        SALLYPORT_BUS_URL: 'tls://127.0.0.1:1',
        SALLYPORT_GATEWAY_PORTAL_URL: 'http://portal.example.com/',
        SALLYPORT_GATEWAY_IDENTITY_PROVIDER: 'https://login.example.com/',
        SALLYPORT_GATEWAY_CLIENT_ID: 'x',
        ...environment,
      })
    const rootless = gateway({ SALLYPORT_BUS_CA_PATH: '/nowhere.pem' })
    expect(await rootless.exited).toBe(78)
    expect(rootless.errors).toContain('SALLYPORT_BUS_CA_PATH: /nowhere.pem cannot be read (ENOENT)')
    const mistyped = gateway({ SALLYPORT_BUS_URL: `tls://SU${'A'.repeat(56)}@127.0.0.1:1` })
    expect(await mistyped.exited).toBe(78)
    expect(mistyped.errors).toMatch(/^SALLYPORT_BUS_URL: its user is .*NATS key/)
    expect(mistyped.errors).not.toContain('AAAA')
  })

  test('that never comes does not keep a service from ending in order', async () => {
    const authority = await folder()
    await keepAuthority(authority)
    const connector = runCommand(['connector'], {
      SALLYPORT_BUS_URL: `nats://connector:x@127.0.0.1:${await freePort()}`,
      SALLYPORT_BUS_CA_PATH: join(authority, 'root.pem'),
    })
    await connector.said(/trying again/)
    connector.process.kill('SIGTERM')
    expect(await connector.exited).toBe(0)
  })
})

/**
 * How a connector reaches the bus: outwards, by secure WebSocket, through what stands between; and that nothing can
 * reach it.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'
import type { ServiceProcess } from '#infra/embedded/service-process.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { Client } from '../harness/client.ts'
import { startConnectProxy } from '../harness/connect-proxy.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { startSniPort } from '../harness/haproxy.ts'
import { descendantsOf } from '../harness/processes.ts'
import { missingOf, without } from '../harness/programs.ts'
import { startRogue } from '../harness/rogue.ts'
import { listeningSocketsOf } from '../harness/sockets.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: CountingOrigin
let system: TestSystem
let wiki: Client
let busAddress: string

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({
    connectors: 0,
    ownLogLevel: 'silent',
    publish: [signedInApplication('wiki', origin.url)],
  })
  wiki = new Client(system.gatewayUrls[0] ?? '', await signInTo(system, 'wiki'))
  busAddress = `127.0.0.1:${system.parts.nats.web?.port}`
})
afterAll(async () => {
  wiki?.[Symbol.dispose]()
  await system?.[Symbol.asyncDispose]()
  await origin?.[Symbol.asyncDispose]()
})

const isServed = async () => (await wiki.send('/')).status
const eventually = () => expect.poll(isServed, { timeout: 15_000 }).toBe(200)

async function during(
  environment: Record<string, string>,
  act: (one: ServiceProcess) => Promise<void>,
) {
  const connector = await system.add('connector', environment)
  try {
    await act(connector)
  } finally {
    await system.stop(connector)
  }
}

describe('through an HTTP proxy', () => {
  test.each([
    ['without authentication', undefined],
    ['with Basic authentication', { user: 'corp', password: 'p@ss:word/1' }],
  ])('%s it serves, and comes back when the proxy cuts it', async (_, account) => {
    await using proxy = await startConnectProxy(
      account && { user: account.user, password: account.password },
    )
    const url = account
      ? proxy.url.replace(/\/\/.*@/, `//${account.user}:${encodeURIComponent(account.password)}@`)
      : proxy.url
    await during({ HTTPS_PROXY: url, NO_PROXY: '' }, async () => {
      await eventually()
      expect(proxy.asked).toEqual([busAddress])
      proxy.cut()
      await expect.poll(() => proxy.asked.length, { timeout: 15_000 }).toBeGreaterThan(1)
      await eventually()
    })
    expect(proxy.refused).toBe(0)
  })

  test('a host in NO_PROXY is reached without it', async () => {
    await using proxy = await startConnectProxy()
    await during({ HTTPS_PROXY: proxy.url, NO_PROXY: '127.0.0.1' }, async () => {
      await eventually()
      expect(proxy.asked).toEqual([])
    })
  })

  test('a proxy that wants another password is named as the reason', async () => {
    await using proxy = await startConnectProxy({ user: 'corp', password: 'right' })
    await using client = await startRogue(system, 'wrong-password', 'default')
    const settings = { HTTPS_PROXY: proxy.url.replace('right', 'wrong') }
    await expect(client.come(undefined, settings)).rejects.toThrow(
      /the proxy wants a user and a password \(407\)/,
    )
    expect(proxy.refused).toBe(1)
  })

  test('a proxy that is not there is named as the reason', async () => {
    await using client = await startRogue(system, 'no-proxy', 'default')
    const settings = { HTTPS_PROXY: 'http://127.0.0.1:1' }
    await expect(client.come(undefined, settings)).rejects.toThrow(
      /refused: nothing listens at 127\.0\.0\.1 port 1$/,
    )
  })
})

test('a connector has no listening socket, nor has any of its workers', async () => {
  await during({ SALLYPORT_CONNECTOR_WORKERS: '2' }, async ({ pid = 0 }) => {
    await eventually()
    const workers = (await descendantsOf(pid)).map(worker => worker.pid)
    expect(workers).toHaveLength(2)
    for (const one of [pid, ...workers]) expect(await listeningSocketsOf(one)).toEqual([])
  })
  // The same look at a process that does listen.
  const [gateway] = system.services.of('gateway')
  expect(await listeningSocketsOf(gateway?.pid ?? 0)).toHaveLength(1)
})

test('a connector that is asked for it shows metrics and readiness, at its own host alone', async () => {
  const port = await freePort()
  await during({ SALLYPORT_CONNECTOR_MONITORING_PORT: String(port) }, async ({ pid = 0 }) => {
    await eventually()
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`)
    expect({ status: ready.status, text: await ready.text() }).toEqual({
      status: 200,
      text: 'ready\n',
    })
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    expect(metrics).toContain('# TYPE sallyport_exchanges_served_total counter\n')
    expect(metrics).toMatch(/^sallyport_exchanges_served_total [1-9]/m)
    // 127.0.0.1, as the kernel writes it.
    const address = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
    expect(await listeningSocketsOf(pid)).toEqual([address])
  })
})

const missing = missingOf('haproxy')
describe.skipIf(missing.length > 0)(`one port for users and connectors${without(missing)}`, () => {
  let certificate: TestCertificate
  let secure: TestSystem

  beforeAll(async () => {
    certificate = await createCertificate()
    secure = await startSystem({
      connectors: 0,
      publish: [signedInApplication('wiki', origin.url)],
      environment: certificate.environment,
    })
  })
  afterAll(async () => {
    await secure?.[Symbol.asyncDispose]()
    await certificate?.[Symbol.asyncDispose]()
  })

  test('is told apart by host name, with TLS untouched to the end on both ways', async () => {
    const { port: gatewayPort, parts } = secure
    await using shared = await startSniPort({
      busName: 'localhost',
      busPort: parts.nats.web?.port ?? 0,
      gatewayPort,
    })
    // The client certificate gets through: nothing else lets a connector in.
    await secure.add('connector', { SALLYPORT_BUS_URL: `wss://localhost:${shared.port}` })
    using agent = new UserAgent({
      ca: certificate.cert,
      connectTo: ({ port }) =>
        port === String(gatewayPort) ? { host: '127.0.0.1', port: shared.port } : undefined,
    })
    const [user] = parts.identityProvider.users
    const url = `https://wiki.sallyport.localhost:${gatewayPort}/`
    const page = await agent.signIn(url, user?.name ?? '', user?.password ?? '')
    expect(page.status).toBe(200)
  })
})

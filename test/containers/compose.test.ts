/**
 * infra/deploy/compose.yaml as an operator brings it up, with an application beside the connectors. Needs the Compose
 * plugin (version 2); without it these tests are skipped.
 */

import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { prepare } from '#infra/deploy/prepare.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { makeConnectorToken, publishAll } from '#infra/embedded/publish-all.ts'
import { images, imagesOrFail } from '../harness/containers.ts'
import { UserAgent } from '../harness/user-agent.ts'

const composeFile = join(import.meta.dirname, '../../infra/deploy/compose.yaml')
const hasCompose = images !== null && isThere('docker', ['compose', 'version'])
if (images && !hasCompose)
  process.stderr.write('docker compose is not installed: compose.yaml is not tested\n')

describe.skipIf(!hasCompose)('compose.yaml', () => {
  const stack = new AsyncDisposableStack()
  const ports = { portal: 0, second: 0, admin: 0 }
  let compose: (...args: string[]) => Promise<string>

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-compose-'))
    stack.defer(() => rm(folder, { recursive: true, force: true }))
    await prepare(join(folder, 'secrets'), { nodes: ['nats-1', 'nats-2', 'nats-3'] })
    ports.portal = await freePort()
    ports.second = await freePort()
    ports.admin = await freePort()
    const addition = join(folder, 'addition.yaml')
    await writeFile(addition, JSON.stringify(additionForTests()))
    const project = `sallyport-test-${randomBytes(4).toString('hex')}`
    const files = ['-p', project, '-f', composeFile, '-f', addition]
    compose = async (...args) => {
      const env = { ...process.env, ...settings(folder, ports) }
      const { stdout } = await run('docker', ['compose', ...files, ...args], { env })
      return stdout
    }
    stack.defer(async () => {
      await compose('--profile', 'connectors', 'down', '--volumes', '--timeout', '0')
    })
    await compose('up', '--detach', '--wait', '--pull', 'never', '--no-build').catch(
      async cause => {
        throw new Error(await compose('logs', '--no-color', '--tail', '20'), { cause })
      },
    )
    const token = (await readFile(join(folder, 'secrets/admin-token'), 'utf8')).trim()
    const api = { url: `http://127.0.0.1:${ports.admin}`, token }
    for (const number of [1, 2]) {
      const file = join(folder, `connector-token-${number}`)
      await writeFile(file, await makeConnectorToken(api, 'default'), { mode: 0o644 })
    }
    await compose('--profile', 'connectors', 'up', '--detach', '--pull', 'never', '--no-build')
    const published = {
      name: 'hello',
      displayName: 'Hello',
      internalUrl: 'http://hello:3000/',
      access: 'passthrough',
    } as const
    await publishAll(api, [published], {
      port: ports.portal,
      scheme: 'http',
    })
  })
  afterAll(() => stack.disposeAsync())

  test('serves an application beside the connectors through both gateways', async () => {
    await expectHello(ports.portal)
    await expectHello(ports.second)
  })

  test("offers the administrators' commands inside a registry", async () => {
    const list = await compose('exec', '-T', 'registry-2', 'node', 'sallyport.ts', 'applications')
    expect(list).toMatch(/hello/)
  })

  test('keeps connectors and services in networks of their own', async () => {
    expect(await isResolved('connector-1', 'nats-1')).toBe(true)
    expect(await isResolved('connector-1', 'hello')).toBe(true)
    for (const service of ['registry-1', 'policy', 'gateway-1'])
      expect(await isResolved('connector-1', service)).toBe(false)
    expect(await isResolved('gateway-1', 'hello')).toBe(false)
  })

  test('goes on without one of the three nodes', async () => {
    await compose('kill', 'nats-1')
    await expectHello(ports.portal)
    await expectHello(ports.second)
  })

  async function expectHello(port: number): Promise<void> {
    using agent = new UserAgent({ connectTo: () => ({ host: '127.0.0.1', port }) })
    const hello = async () => {
      const url = `http://hello.sallyport.localhost:${ports.portal}/`
      const { status, text } = await agent.request(url)
      return [status, text]
    }
    await expect.poll(hello, { timeout: 10_000 }).toEqual([200, 'hello'])
  }

  async function isResolved(service: string, name: string): Promise<boolean> {
    const script = `require('node:dns').lookup('${name}', error => console.log(!error))`
    return (await compose('exec', '-T', service, 'node', '-e', script)).trim() === 'true'
  }
})

const run = promisify(execFile)

function isThere(program: string, args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function settings(folder: string, ports: { portal: number; second: number; admin: number }) {
  return {
    SALLYPORT_IMAGE: imagesOrFail().sallyport,
    SALLYPORT_NATS_IMAGE: imagesOrFail().nats,
    SALLYPORT_SECRETS: join(folder, 'secrets'),
    SALLYPORT_GATEWAY_1: `127.0.0.1:${ports.portal}`,
    SALLYPORT_GATEWAY_2: `127.0.0.1:${ports.second}`,
    SALLYPORT_REGISTRY_1: `127.0.0.1:${ports.admin}`,
    // As connectors reach it, through what stands in for a load balancer.
    SALLYPORT_PORTAL_URL: `http://${portalName}:8080/`,
    SALLYPORT_CONNECTOR_TOKEN_1: join(folder, 'connector-token-1'),
    SALLYPORT_CONNECTOR_TOKEN_2: join(folder, 'connector-token-2'),
    SALLYPORT_IDENTITY_PROVIDER: 'https://login.example.com/',
    SALLYPORT_CLIENT_ID: 'sallyport',
    SALLYPORT_AUDIT_MAX_BYTES: String(64 * 2 ** 20),
  }
}

const portalName = 'portal.sallyport.test'

/**
 * An application in the connectors' network, what leads from there to a gateway, and the label by which a failed run is
 * cleaned up.
 */
function additionForTests() {
  const { labels, node } = imagesOrFail()
  const names = ['nats-1', 'nats-2', 'nats-3', 'gateway-1', 'gateway-2', 'policy']
  const labelled = [...names, 'connector-1', 'connector-2'].map(name => [name, { labels }])
  // Applications in the group that every installation has, to need no other one.
  const environment = { SALLYPORT_REGISTRY_DEFAULT_GROUP_SERVES: 'true' }
  const registries = ['registry-1', 'registry-2'].map(name => [name, { labels, environment }])
  const networks = ['outside', 'administration', 'routes', 'bus', 'connector-bus', 'private']
  const hello = {
    image: node,
    entrypoint: ['node'],
    command: ['-e', 'http.createServer((_, res) => res.end("hello")).listen(3000)'],
    init: true,
    networks: ['private'],
    labels,
  }
  const forward =
    "net.createServer(s => s.pipe(net.connect(8080, 'gateway-1')).pipe(s)).listen(8080)"
  const portal = {
    image: node,
    entrypoint: ['node'],
    command: ['-e', forward],
    init: true,
    networks: { outside: {}, private: { aliases: [portalName] } },
    labels,
  }
  return {
    services: { ...Object.fromEntries([...labelled, ...registries]), hello, portal },
    networks: Object.fromEntries(networks.map(name => [name, { labels }])),
  }
}

/** The image that infra/deploy/Dockerfile makes: every service runs from it, as an operator would start it. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serialized, serverSettings } from '#infra/embedded/nats-config.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { publishAll } from '#infra/embedded/publish-all.ts'
import type { ServiceRole } from '#infra/embedded/service-process.ts'
import { serviceRoles } from '#infra/embedded/service-process.ts'
import type { BusRole } from '#infra/permissions.ts'
import { busUrlOf, createRoleKeys } from '#infra/role-keys.ts'
import { createTestAuthority } from '../harness/authority.ts'
import {
  images,
  imagesOrFail,
  runToEnd,
  startContainer,
  startServiceContainer,
  type TestContainer,
  TestNetwork,
} from '../harness/containers.ts'
import { UserAgent } from '../harness/user-agent.ts'

const keys = createRoleKeys()
const adminToken = 'a-token-of-administrators-for-tests'
const issuer = 'https://login.example.com/'
const authorityPlace = '/etc/sallyport/authority'

describe.skipIf(!images)('the image', () => {
  const stack = new AsyncDisposableStack()
  const services = new Map<ServiceRole, TestContainer>()
  let network: TestNetwork
  let gatewayPort: number
  let adminUrl: string

  beforeAll(async () => {
    network = stack.use(await TestNetwork.outer('image'))
    const nats = stack.use(await startNats(network))
    gatewayPort = await freePort()
    const adminPort = await freePort()
    adminUrl = `http://127.0.0.1:${adminPort}`
    const busUrl = (role: BusRole) => busUrlOf(role, keys, `nats://${nats.name}:4222`)
    const settings: Record<ServiceRole, Record<string, string>> = {
      registry: {
        SALLYPORT_REGISTRY_SYSTEM_BUS_URL: busUrl('system'),
        SALLYPORT_REGISTRY_ADMIN_TOKEN: adminToken,
        SALLYPORT_REGISTRY_AUDIT_MAX_BYTES: '67108864',
      },
      policy: {
        SALLYPORT_POLICY_IDENTITY_PROVIDER: issuer,
        SALLYPORT_POLICY_CLIENT_ID: 'sallyport',
      },
      connector: {},
      gateway: {
        SALLYPORT_GATEWAY_PORTAL_URL: `http://portal.sallyport.localhost:${gatewayPort}/`,
        SALLYPORT_GATEWAY_IDENTITY_PROVIDER: issuer,
        SALLYPORT_GATEWAY_CLIENT_ID: 'sallyport',
      },
    }
    const ports: Partial<Record<ServiceRole, Record<number, number>>> = {
      gateway: { 8080: gatewayPort },
      registry: { 8081: adminPort },
    }
    // What the registry tells connectors is signed, also on a bus without TLS.
    const authority = stack.use(await createTestAuthority())
    const files = await authority.filesIn(authorityPlace)
    const common = {
      SALLYPORT_BUS_CA_PATH: `${authorityPlace}/root.pem`,
      SALLYPORT_REGISTRY_AUTHORITY_PATH: authorityPlace,
      SALLYPORT_REGISTRY_DEFAULT_GROUP_SERVES: 'true',
    }
    for (const role of serviceRoles) {
      const environment = { ...common, SALLYPORT_BUS_URL: busUrl(role), ...settings[role] }
      const service = await startServiceContainer(role, {
        network,
        environment,
        files,
        ports: ports[role] ?? {},
      })
      services.set(role, stack.use(service))
    }
  })
  afterAll(() => stack.disposeAsync())

  test('runs every service, which together serve an application', async () => {
    await using origin = await startContainer({
      image: imagesOrFail().node,
      network,
      kind: 'origin',
      entrypoint: ['node'],
      command: [
        '-e',
        'http.createServer((_, res) => res.end("hello")).listen(3000, () => console.log("ready"))',
      ],
      readyLine: /ready/,
    })
    const published = {
      name: 'hello',
      displayName: 'Hello',
      internalUrl: `http://${origin.name}:3000/`,
      access: 'passthrough',
    } as const
    await publishAll({ url: adminUrl, token: adminToken }, [published], {
      port: gatewayPort,
      scheme: 'http',
    })
    using anyone = new UserAgent()
    const hello = async () => {
      const { status, text } = await anyone.request(
        `http://hello.sallyport.localhost:${gatewayPort}/`,
      )
      return [status, text]
    }
    await expect.poll(hello, { timeout: 5_000 }).toEqual([200, 'hello'])
  })

  test('runs them as a user that may not write the program', async () => {
    for (const [, service] of services) {
      expect(Number(await service.run('id', '-u'))).toBeGreaterThan(0)
      await expect(service.run('cp', 'package.json', 'another.json')).rejects.toThrow(/ermission/)
    }
  })

  test('ends every service with 0 when it is asked to stop', async () => {
    const codes: Record<string, number> = {}
    for (const role of serviceRoles.toReversed())
      codes[role] = (await services.get(role)?.stop()) ?? -1
    expect(codes).toEqual({ gateway: 0, connector: 0, policy: 0, registry: 0 })
  })

  test('says how it is used when it is started without a command', async () => {
    const { exitCode, output } = await runToEnd(imagesOrFail().sallyport, [])
    expect(output).toMatch(/^Usage: sallyport/)
    expect(exitCode).toBe(0)
  })

  test('refuses a configuration that cannot be used and lists every problem', async () => {
    const { exitCode, output } = await runToEnd(imagesOrFail().sallyport, ['gateway'], {
      SALLYPORT_BUS_URL: 'http://bus:4222',
      SALLYPORT_GATEWAY_PORT: 'eighty',
      SALLYPORT_GATEWAY_CLIENT_SECRET_FILE: '/run/secrets/none',
    })
    expect(exitCode).toBe(78)
    for (const name of [
      'BUS_URL',
      'GATEWAY_PORT',
      'GATEWAY_PORTAL_URL',
      'GATEWAY_CLIENT_ID',
      'GATEWAY_CLIENT_SECRET_FILE',
    ])
      expect(output).toMatch(new RegExp(`^  SALLYPORT_${name}: .+$`, 'm'))
  })
})

function startNats(network: TestNetwork): Promise<TestContainer> {
  const config = { port: 4222, jetstream: { store_dir: '/data' }, ...serverSettings({ keys }) }
  return startContainer({
    image: imagesOrFail().nats,
    network,
    kind: 'nats',
    command: ['--config', '/etc/nats/nats.conf'],
    files: { '/etc/nats/nats.conf': serialized(config) },
    readyLine: /Server is ready/,
  })
}

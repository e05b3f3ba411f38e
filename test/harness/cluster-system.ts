/**
 * The services on a NATS cluster in containers, each a process started as `sallyport up` starts it. Those that are
 * `near` know only the first two nodes, those that are `far` only the third: so a test says who is cut off.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBucket } from '#infra/bucket.ts'
import { connectBus } from '#infra/bus.ts'
import { startIdentityProvider } from '#infra/embedded/identity-provider.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { localUrl, type Publication, portalName } from '#infra/embedded/publications.ts'
import { type AdminApi, publishAll } from '#infra/embedded/publish-all.ts'
import { startSampleApplications } from '#infra/embedded/sample-applications.ts'
import type { ServiceProcess, ServiceRole } from '#infra/embedded/service-process.ts'
import { Services } from '#infra/embedded/services.ts'
import { createLogger } from '#infra/log.ts'
import { createTestAuthority, type TestAuthority } from './authority.ts'
import type { NatsCluster, NodeName } from './nats-cluster.ts'

export interface ClusterSystem extends AsyncDisposable {
  /** Signs what connectors are told. */
  readonly authority: TestAuthority
  readonly services: Services
  readonly user: { name: string; password: string }
  /** The internal URL of a sample application. */
  readonly handbook: string
  /** Where an application answers; its port is the near gateway's. */
  urlOf(name: string): string
  publish(name: string, internalUrl: string, access?: Publication['access']): Promise<void>
  /** Creates a connector group and publishes to everybody an application that it serves. */
  publishInGroup(group: string, name: string, internalUrl: string): Promise<void>
  add(role: ServiceRole, place: Place): Promise<ServiceProcess>
  /** What a bucket holds under a key, as a gateway reads it. */
  stored(bucket: string, key: string): Promise<string | undefined>
}

export type Place = keyof typeof places

const places = {
  near: ['nats-1', 'nats-2'],
  far: ['nats-3'],
} as const satisfies Record<string, readonly NodeName[]>

const quiet = createLogger('test', 'silent')
const clientId = 'sallyport'
const secret = 'a-secret-of-the-client-for-tests'
const adminToken = 'a-token-of-administrators-for-tests'

export async function startClusterSystem(cluster: NatsCluster): Promise<ClusterSystem> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-cluster-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const port = await freePort()
  const entrance = { port, scheme: 'http' } as const
  const portal = localUrl(portalName, entrance)
  const provider = stack.use(await startProvider(folder, portal))
  const samples = stack.use(await startSampleApplications())
  const authority = stack.use(await createTestAuthority())
  const clientSecretFile = join(folder, 'client-secret')
  await writeFile(clientSecretFile, secret)
  const services = stack.use(
    new Services({
      busUrl: role => cluster.urlFor(role, places.near),
      busCaPath: authority.rootPath,
      authority: authority.folder,
      identityProvider: { ...provider, clientId, clientSecretFile, isPlainHttp: true },
      adminToken,
      spillDirectory: folder,
      portal,
      place: entrance,
      environment: { ...process.env, ...clusterSettings },
      logLevel: 'silent',
      log: createLogger('test', 'error'),
    }),
  )
  const add = (role: ServiceRole, place: Place) =>
    services.add(role, { SALLYPORT_BUS_URL: cluster.urlFor(role, places[place]) })
  const registry = await add('registry', 'near')
  const api = { url: String(registry.details.admin), token: adminToken }
  const publish: ClusterSystem['publish'] = async (name, internalUrl, access = 'passthrough') => {
    await publishAll(api, [{ name, displayName: name, internalUrl, access }], entrance)
  }
  await Promise.all([add('registry', 'near'), add('policy', 'near'), add('policy', 'near')])
  await Promise.all([add('connector', 'near'), add('gateway', 'near')])
  await Promise.all([add('connector', 'far'), add('gateway', 'far')])
  await publish('handbook', samples.handbook, 'signed-in')
  await publish('open', samples.handbook)
  const running = stack.move()
  const [user = { name: '', password: '' }] = provider.users
  return {
    services,
    authority,
    user,
    handbook: samples.handbook,
    urlOf: name => localUrl(name, entrance),
    publish,
    publishInGroup: async (group, name, internalUrl) => {
      await ask(api, 'POST', groupsPath, { id: group, name: group })
      await publish(name, internalUrl)
      await ask(api, 'PUT', `/v1.0/applications/${name}/connectorGroup`, { id: group })
    },
    add,
    stored: async (name, key) => {
      const url = cluster.urlFor('gateway', places.near)
      await using bus = await connectBus({ url, role: 'gateway', log: quiet })
      const bucket = await openBucket(bus, name, { timeoutMs: 5_000, log: quiet })
      return (await bucket.read(key))?.text
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

const groupsPath = '/v1.0/onPremisesPublishingProfiles/applicationProxy/connectorGroups'

async function ask(api: AdminApi, method: string, path: string, body: object): Promise<void> {
  const response = await fetch(new URL(path, api.url), {
    method,
    headers: { authorization: `Bearer ${api.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!response.ok)
    throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
}

/** Small enough for the disk of a test machine. */
const clusterSettings = {
  SALLYPORT_REGISTRY_REPLICAS: '3',
  SALLYPORT_REGISTRY_AUDIT_MAX_BYTES: String(64 * 2 ** 20),
}

function startProvider(folder: string, portal: string) {
  return startIdentityProvider({
    storeDirectory: folder,
    clients: [
      {
        id: clientId,
        secret,
        redirectUris: [`${portal}.sallyport/callback`],
        postLogoutRedirectUris: [`${portal}.sallyport/signed-out`],
      },
    ],
  })
}

/**
 * The registry service, put together: storage, the resources in it, what connectors are told, and the admin API.
 * It keeps nothing that is not in the bus's storage; any number of registries may run side by side.
 */

import { openAudit } from '#infra/audit.ts'
import { openBucket } from '#infra/bucket.ts'
import { type Bus, connectBus } from '#infra/bus.ts'
import { isPublished, RegisteredApplication } from '#infra/contracts/application.ts'
import { Connector, ConnectorGroup } from '#infra/contracts/connector.ts'
import { LeaseKey } from '#infra/contracts/policy.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { Revoker } from '#infra/revocations.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets } from '#infra/subjects.ts'
import { startAdminApi } from './admin-api/server.ts'
import { ApplicationIndex } from './application-index.ts'
import { openApplications } from './applications.ts'
import type { RegistryConfig } from './config.ts'
import { followConnections } from './connections.ts'
import { feedConnectors } from './connector-feed.ts'
import { openConnectorGroups } from './connector-groups.ts'
import { openConnectors } from './connectors.ts'
import { tellPaces } from './pace.ts'
import { prepareStorage } from './storage.ts'
import { openStore, type Store } from './store.ts'

const service = 'registry'

const storeTimeoutMs = 3_000

export async function startRegistry(
  config: RegistryConfig,
  signal?: AbortSignal,
): Promise<Service> {
  const log = createLogger(service, config.logLevel)
  await using stack = new AsyncDisposableStack()
  const cancel = signal ? { signal } : {}
  const bus = stack.use(await connectBus({ url: config.busUrl, role: service, log, ...cancel }))
  await prepareStorage(bus, { ...config, log, ...cancel })
  const audit = stack.use(openAudit(bus, { service, log }))
  const stores = await openStores(bus, log, stack, signal)
  const groups = openConnectorGroups({ ...stores, store: stores.groups })
  await groups.ensureDefault()
  const revoker = stack.use(await openRevoker(bus, stores.applications, { log, ...cancel }))
  const applications = openApplications({
    ...stores,
    revoke: revocation => revoker.revoke(revocation),
    store: stores.applications,
    index: new ApplicationIndex(stores.applications),
    externalBaseUrl: config.externalBaseUrl,
    maxMessageBytes: bus.maxPayloadBytes,
  })
  const connectors = stack.use(
    openConnectors({ ...config, bus, store: stores.connectors, audit, log }),
  )
  if (config.systemBusUrl !== undefined) {
    const onLost = (memberId: string) => connectors.lost(memberId)
    stack.use(await followConnections({ url: config.systemBusUrl, log, ...cancel, onLost }))
  }
  stack.use(feedConnectors({ ...stores, bus, log }))
  stack.use(tellPaces(bus))
  // Who hears that this registry is ready may rely on being heard by it.
  await bus.connection.flush()
  const context = { applications, groups, connectors, audit, log }
  const { host, port, adminToken: token } = config
  const api = stack.use(await startAdminApi({ ...context, host, port, token }))
  if (!isLoopback(host))
    log.warn({ host }, 'the admin API has no TLS of its own: put it behind one')
  log.info({ admin: api.url }, 'serving')
  const running = stack.move()
  return {
    details: { admin: api.url },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

async function openStores(
  bus: Bus,
  log: Logger,
  stack: AsyncDisposableStack,
  signal: AbortSignal | undefined,
) {
  const common = { log, ...(signal && { signal }) }
  const bucket = async <Resource extends AsyncDisposable>(opened: Promise<Resource>) =>
    stack.use(await opened)
  return {
    applications: await bucket(
      openStore(bus, { ...common, bucket: buckets.applications, schema: RegisteredApplication }),
    ),
    groups: await bucket(
      openStore(bus, { ...common, bucket: buckets.connectorGroups, schema: ConnectorGroup }),
    ),
    connectors: await bucket(
      openStore(bus, { ...common, bucket: buckets.connectors, schema: Connector }),
    ),
    leaseKeys: await bucket(
      watchBucket(bus, { ...common, bucket: buckets.leaseKeys, schema: LeaseKey }),
    ),
  }
}

/** Of an application that was published anew meanwhile, nothing is revoked late. */
async function openRevoker(
  bus: Bus,
  applications: Store<RegisteredApplication>,
  options: { log: Logger; signal?: AbortSignal },
): Promise<Revoker> {
  const { kv } = await openBucket(bus, buckets.revocations, {
    ...options,
    timeoutMs: storeTimeoutMs,
  })
  return new Revoker({
    bus,
    bucket: kv,
    log: options.log,
    isStillMeant: ({ id, revision = 0 }) => {
      const present = applications.get(id)
      return !(present && isPublished(present.value) && present.revision > revision)
    },
  })
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

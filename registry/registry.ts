/**
 * The registry service, put together: storage, the resources in it, what connectors are told, and the admin API.
 * It keeps nothing that is not in the bus's storage; any number of registries may run side by side.
 */

import { openAudit } from '#infra/audit.ts'
import { openBucket } from '#infra/bucket.ts'
import { type Bus, connectBus } from '#infra/bus.ts'
import { busAddress } from '#infra/bus-connection.ts'
import { isPublished, RegisteredApplication } from '#infra/contracts/application.ts'
import { AssertionKey } from '#infra/contracts/assertion.ts'
import { Connector, ConnectorGroup } from '#infra/contracts/connector.ts'
import { LeaseKey, type Revocation } from '#infra/contracts/policy.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { meteredAudit, missing } from '#infra/monitoring/meters.ts'
import { monitor } from '#infra/monitoring/monitoring.ts'
import { Revoker } from '#infra/revocations.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets } from '#infra/subjects.ts'
import { startAdminApi } from './admin-api/server.ts'
import { ApplicationIndex } from './application-index.ts'
import { openApplications } from './applications.ts'
import { tellAssertionKeys } from './assertion-keys.ts'
import { openConditionalAccess } from './conditional-access/conditional-access.ts'
import type { RegistryConfig } from './config.ts'
import { openConnectorGroups } from './connector-groups.ts'
import { openConnectorSide } from './connector-side.ts'
import { openDiagnoses } from './diagnosis.ts'
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
  const monitoring = stack.use(await monitor(config.monitoring, { service, log }))
  const bus = stack.use(await connectBus({ ...busAddress(config), role: service, log, ...cancel }))
  await prepareStorage(bus, { ...config, log, ...cancel })
  const audit = stack.use(
    meteredAudit(monitoring, bus, openAudit(bus, { service, log, redacted: config.auditRedacted })),
  )
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
    doesDefaultGroupServe: config.doesDefaultGroupServe,
    maxMessageBytes: bus.maxPayloadBytes,
  })
  const parts = { bus, audit, log, stores, ...cancel }
  const { connectors, placement, enrolment } = await openConnectorSide(config, parts, stack)
  stack.use(tellPaces(bus))
  stack.use(tellAssertionKeys(bus, stores.assertionKeys))
  // Who hears that this registry is ready may rely on being heard by it.
  await bus.connection.flush()
  const access = await openConditionalAccess(bus, stack, { log, ...cancel })
  const revoke = (revocation: Revocation) => revoker.revoke(revocation)
  const diagnose = openDiagnoses(bus, connectors)
  const administered = { applications, groups, connectors, placement, enrolment, diagnose }
  const known = { ...administered, revoke, audit, log }
  const { host, port, adminToken: token } = config
  const api = stack.use(await startAdminApi({ ...known, ...access, host, port, token }))
  if (!isLoopback(host))
    log.warn({ host }, 'the admin API has no TLS of its own: put it behind one')
  stack.defer(() => monitoring?.stopping())
  monitoring?.ready(() => missing(bus, audit))
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
    assertionKeys: await bucket(
      watchBucket(bus, { ...common, bucket: buckets.assertionKeys, schema: AssertionKey }),
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
    isStillMeant: ({ kind, id, revision = 0 }) => {
      if (kind !== 'application') return true
      const present = applications.get(id)
      return !(present && isPublished(present.value) && present.revision > revision)
    },
  })
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

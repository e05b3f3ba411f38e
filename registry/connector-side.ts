/**
 * All of the registry that is about connectors, put together: who they are, how they get in, what they are told, which
 * connections they have. Without an authority nobody can be enrolled and nothing is told; without the bus's questions
 * (auth callout) all connectors are one user of the bus.
 */

import type { Audit } from '#infra/audit.ts'
import { type Authority, keepAuthority } from '#infra/authority.ts'
import { type Bus, connectBus, type Message } from '#infra/bus.ts'
import { busAddress } from '#infra/bus-connection.ts'
import { ConfigurationError } from '#infra/config.ts'
import type { RegisteredApplication } from '#infra/contracts/application.ts'
import type { Connector, ConnectorGroup } from '#infra/contracts/connector.ts'
import type { LeaseKey } from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import { openBusAccess } from './bus-access/bus-access.ts'
import { Floods } from './bus-access/floods.ts'
import { cutOffMisbehaving, type Misbehaviours } from './bus-access/misbehaviour.ts'
import type { RegistryConfig } from './config.ts'
import { followConnections } from './connections.ts'
import { feedConnectors } from './connector-feed.ts'
import { type BusAccess, type ConnectorPlacement, placeConnectors } from './connector-placement.ts'
import { type Connectors, openConnectors } from './connectors.ts'
import { type Enrolment, openEnrolment } from './enrolment/enrolment.ts'
import type { Store } from './store.ts'

export interface ConnectorSideParts {
  bus: Bus
  audit: Audit
  log: Logger
  signal?: AbortSignal
  stores: {
    applications: Store<RegisteredApplication>
    groups: Store<ConnectorGroup>
    connectors: Store<Connector>
    leaseKeys: Snapshot<LeaseKey>
  }
}

export interface ConnectorSide {
  readonly connectors: Connectors
  readonly placement: ConnectorPlacement
  /** Undefined without a certificate authority. */
  readonly enrolment: Enrolment | undefined
}

/** Everything that it opens is closed with `stack`. */
export async function openConnectorSide(
  config: RegistryConfig,
  { stores, bus, audit, log, signal }: ConnectorSideParts,
  stack: AsyncDisposableStack,
): Promise<ConnectorSide> {
  const cancel = signal ? { signal } : {}
  const { authorityPath } = config
  const authority = authorityPath === undefined ? undefined : await keepAuthority(authorityPath)
  if (authority) stack.use(warnInTime(authority, log))
  const isEnrolmentRequired = config.calloutBusUrl !== undefined
  // Where connectors have no identity of their own, nobody vouches for who it was.
  let misbehaviours: Misbehaviours | undefined
  const floods = new Floods(connectorId => void misbehaviours?.cutOff(connectorId, 'flood'))
  const isTooMuch = (message: Message) => isEnrolmentRequired && floods.isTooMuch(message)
  const connectors = stack.use(
    openConnectors({
      ...config,
      isEnrolmentRequired,
      isTooMuch,
      timeoutMs: config.inactiveAfterMs,
      bus,
      store: stores.connectors,
      audit,
      log,
    }),
  )
  const records = stores.connectors
  const enrolling = {
    ...{ ...config, ...stores, ...cancel, bus, audit, log, connectors, records },
    isTooMuch,
  }
  const enrolment = authority && stack.use(await openEnrolment({ ...enrolling, authority }))
  const system = await openSystemBus(config, { log, ...cancel }, stack)
  if (system) {
    const onConnected = (memberId: string, address: string) =>
      connectors.connected(memberId, address)
    const onLost = (memberId: string) => connectors.lost(memberId)
    stack.use(await followConnections({ bus: system, onConnected, onLost }))
  }
  const accessing = { ...stores, ...cancel, audit, log, authority, enrolment, system }
  const busAccess = await openAccess(config, accessing, stack)
  const placement = stack.use(
    placeConnectors({
      ...stores,
      store: stores.connectors,
      bus,
      log,
      connectors,
      busAccess,
      isEnrolmentRequired,
      isTooMuch,
      revoke: enrolment?.revoke,
      signer: authority?.registry,
    }),
  )
  if (busAccess) {
    const judging = { bus, placement, connectors: stores.connectors, audit, log }
    misbehaviours = stack.use(cutOffMisbehaving(judging))
  }
  // Connectors believe nothing that is not signed.
  if (authority) stack.use(feedConnectors({ ...stores, bus, signer: authority.registry, log }))
  else log.error('connectors are told nothing: set SALLYPORT_REGISTRY_AUTHORITY_PATH')
  return { connectors, placement, enrolment }
}

const dayMs = 86_400_000
/** Long enough to be heard. */
const warnBeforeMs = 90 * dayMs

/** Its certificates are renewed when a registry starts; one that runs for years has to be told. */
function warnInTime({ endsAtMs }: Authority, log: Logger): Disposable {
  const look = () => {
    if (endsAtMs - Date.now() > warnBeforeMs) return
    const end = new Date(endsAtMs).toISOString()
    log.error(
      `a certificate of the authority ends at ${end}: restart this registry before that, with root-key.pem and services-key.pem in SALLYPORT_REGISTRY_AUTHORITY_PATH`,
    )
  }
  look()
  const timer = setInterval(look, dayMs)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

interface Watching {
  log: Logger
  signal?: AbortSignal
}

/** A second connection, to the server's own account. */
async function openSystemBus(
  { systemBusUrl: busUrl, busCaPath }: RegistryConfig,
  watching: Watching,
  stack: AsyncDisposableStack,
): Promise<Bus | undefined> {
  if (busUrl === undefined) return undefined
  const address = busAddress({ busUrl, busCaPath })
  return stack.use(await connectBus({ ...address, role: 'system', ...watching }))
}

interface Accessing extends Watching {
  connectors: Store<Connector>
  groups: Store<ConnectorGroup>
  audit: Audit
  authority: Authority | undefined
  enrolment: Enrolment | undefined
  system: Bus | undefined
}

/** Lets connectors in by certificate, where they have any. */
async function openAccess(
  { calloutBusUrl: busUrl, busCaPath }: RegistryConfig,
  { authority, enrolment, system, ...parts }: Accessing,
  stack: AsyncDisposableStack,
): Promise<BusAccess | undefined> {
  if (busUrl === undefined) return undefined
  if (!authority || !enrolment || !system) {
    const missing = authority ? 'SYSTEM_BUS_URL' : 'AUTHORITY_PATH'
    throw new ConfigurationError(
      `SALLYPORT_REGISTRY_CALLOUT_BUS_URL: needs SALLYPORT_REGISTRY_${missing} too`,
    )
  }
  const { trustDomain } = authority
  const callout = busAddress({ busUrl, busCaPath })
  const isRevoked = (serialNumber: string) => enrolment.isRevoked(serialNumber)
  return stack.use(await openBusAccess({ ...parts, callout, system, trustDomain, isRevoked }))
}

/**
 * A gateway: connects to the bus, keeps the published applications in memory, listens. It keeps nothing of its own;
 * any gateway serves any session, and any number of them may run.
 */

import { type Audit, openAudit } from '#infra/audit.ts'
import { type Bus, connectBus } from '#infra/bus.ts'
import { busAddress } from '#infra/bus-connection.ts'
import { type Application, PublishedEntry } from '#infra/contracts/application.ts'
import { AssertionKey } from '#infra/contracts/assertion.ts'
import { Reevaluation, Revocation } from '#infra/contracts/policy.ts'
import type { FaultCode } from '#infra/errors.ts'
import { parseJson } from '#infra/json.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { gauge, meteredAudit, missing } from '#infra/monitoring/meters.ts'
import { type Monitoring, monitor } from '#infra/monitoring/monitoring.ts'
import { type Snapshot, watchBucket } from '#infra/snapshot.ts'
import { StreamBudget } from '#infra/stream-budget.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import type { Worker } from '#infra/worker.ts'
import { ApplicationSignIn } from './application-sign-in.ts'
import { Authorizer } from './authorize.ts'
import { trustedProxies } from './client-address.ts'
import type { GatewayConfig } from './config.ts'
import { openConnectorsDoor } from './connectors-door.ts'
import { ContinuousAccess } from './continuous-access.ts'
import { readCertificate } from './front/certificate.ts'
import { createFront, type Front } from './front/front.ts'
import { Patience } from './front/patience.ts'
import { HandoverCodes } from './handover.ts'
import { createIdentityProvider } from './identity-provider.ts'
import { IncomingReader } from './incoming.ts'
import { CountLimit, Limits, limitConnections } from './limits.ts'
import { followMembers } from './members.ts'
import { problemMessage } from './problem.ts'
import { type Publication, PublicationIndex } from './publish.ts'
import { isTouched, type Question, touchedBy } from './question.ts'
import { Relay, type RelayContext } from './relay.ts'
import { Revoked } from './revoked.ts'
import { createRequestPath } from './server.ts'
import { SessionStore } from './session.ts'
import { shareLimits } from './shared-limits.ts'
import { SignIn } from './sign-in.ts'
import { spillFileOf } from './spill-file.ts'

/** Signing in is the one path that waits for the store. */
const storeTimeoutMs = 5_000

export interface GatewaySurroundings {
  signal?: AbortSignal | undefined
  /** Set when this process is one of several that are the gateway. */
  worker?: Worker | undefined
}

export async function startGateway(
  config: GatewayConfig,
  { signal, worker }: GatewaySurroundings = {},
): Promise<Service> {
  const log = logOf(config, worker)
  const watching = { log, ...(signal && { signal }) }
  await using stack = new AsyncDisposableStack()
  const certificate = config.tls && stack.use(readCertificate(config.tls, log))
  const at = { service: 'gateway', slot: worker?.place.slot, log }
  const monitoring = stack.use(await monitor(config.monitoring, at))
  const bus = stack.use(await connectBus({ ...busAddress(config), role: 'gateway', ...watching }))
  const audit = stack.use(auditOf(bus, log, { config, worker, monitoring }))
  const { applications, sessions, codes, ...state } = await openState(bus, watching, stack)
  const publication = followPublication(applications)
  const { portalUrl } = config
  const authorizer = new Authorizer(bus, log, { applications, revocations: state.revocations })
  const signingIn = { bus, authorizer, sessions, codes, publication, log }
  const { signIn, applicationSignIn } = signInOf(config, signingIn)
  const members = stack.use(followMembers(bus))
  const uploads = stack.use(new Patience(config.uploadIdleSeconds))
  const relay = stack.use(relayOf(config, { bus, log, members, uploads }))
  const access = stack.use(new ContinuousAccess(relay.openExchanges, authorizer, log))
  meterRelay(monitoring, relay, authorizer)
  followChanges(bus, { applications, ...state, authorizer, access })
  const { limits, connections } = openLimits(config, worker, stack)
  const portal = {
    portalUrl,
    signIn,
    applicationSignIn,
    sessions,
    connectors: openConnectorsDoor({ bus, limits, uploads, direct: relay.direct }),
    applications: () => applications.entries,
    assertionKeys: () => state.assertionKeys.entries,
    unavailable: () => missing(bus, audit),
  }
  const isTrustedProxy = trustedProxies(config.trustedProxies)
  const reader = new IncomingReader(bus.instance, isTrustedProxy)
  const listener = createRequestPath({
    applicationSignIn,
    limits,
    audit,
    authorizer,
    log,
    portal,
    publication,
    reader,
    relay,
    sessions,
    uploads,
    isSecure: certificate !== undefined,
  })
  const refusal = (fault: FaultCode) => problemMessage(fault, reader.nextId())
  const patience = { download: config.downloadIdleSeconds, keepAlive: config.keepAliveSeconds }
  const front = createFront({ listener, refusal, certificate, patience })
  limitConnections(front.server, connections, isTrustedProxy)
  const port = await front.listen(config.host, config.port, worker !== undefined)
  stack.defer(() => close(front, relay, config.drainGraceMs))
  stack.defer(() => monitoring?.stopping())
  // Ready means that the server has the subscriptions, not that they are on their way.
  await bus.connection.flush()
  monitoring?.ready(() => missing(bus, audit))
  log.info({ port, portal: portalUrl }, 'listening')
  const running = stack.move()
  return {
    details: { port },
    drainMs: config.drainGraceMs,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

function logOf({ logLevel }: GatewayConfig, worker: Worker | undefined): Logger {
  const log = createLogger('gateway', logLevel)
  return worker ? log.child({ worker: worker.place.slot }) : log
}

interface SigningIn {
  bus: Bus
  authorizer: Authorizer
  sessions: SessionStore
  codes: HandoverCodes
  publication: () => Publication
  log: Logger
}

/** At the portal, and at the hosts of applications. */
function signInOf(
  { portalUrl, identityProvider }: GatewayConfig,
  { bus, authorizer, log, ...shared }: SigningIn,
) {
  const provider = createIdentityProvider(identityProvider, { portalUrl, log })
  const decide = (question: Question) => authorizer.ask(question)
  const context = { ...shared, portalUrl }
  return {
    signIn: new SignIn({ ...context, bus, provider }),
    applicationSignIn: new ApplicationSignIn({ ...context, decide }),
  }
}

interface Recording {
  config: GatewayConfig
  worker: Worker | undefined
  monitoring: Monitoring | undefined
}

function auditOf(bus: Bus, log: Logger, { config, worker, monitoring }: Recording): Audit {
  const path = config.auditSpillFile
  const spilling = path !== undefined && { spillFile: spillFileOf(path, worker?.place) }
  const options = { service: 'gateway', log, redacted: config.auditRedacted, ...spilling }
  return meteredAudit(monitoring, bus, openAudit(bus, options))
}

function relayOf({ streamMemoryBytes }: GatewayConfig, rest: Omit<RelayContext, 'budget'>): Relay {
  return new Relay({ ...rest, budget: new StreamBudget({ memoryBytes: streamMemoryBytes }) })
}

function meterRelay(
  monitoring: Monitoring | undefined,
  relay: Relay,
  authorizer: Authorizer,
): void {
  if (!monitoring) return
  const answering = '0 while policy has left the last question without an answer.'
  gauge(monitoring.registry, 'sallyport_policy_answering', answering, () =>
    Number(authorizer.isPolicyAnswering),
  )
  const help = 'Exchanges with connectors under way.'
  gauge(monitoring.registry, 'sallyport_open_exchanges', help, () => relay.openExchanges.size)
  const lines = 'Connections of connectors that answer past the bus.'
  gauge(monitoring.registry, 'sallyport_answer_lines', lines, () => relay.openLines)
}

function openLimits(
  config: GatewayConfig,
  worker: Worker | undefined,
  stack: AsyncDisposableStack,
) {
  const isShared = worker !== undefined
  const limits = new Limits(config.rates, isShared)
  const connections = new CountLimit(config.connectionsPerAddress, isShared)
  if (worker) stack.use(shareLimits(limits, connections, worker))
  return { limits, connections }
}

/** The index of what is published, which follows the applications. */
function followPublication(applications: Snapshot<Application>): () => Publication {
  const publication = new PublicationIndex(applications.entries.values())
  applications.onChange(changes => publication.apply(changes))
  return () => publication
}

interface Watching {
  log: Logger
  signal?: AbortSignal
}

/** What gateways share through the store. */
async function openState(bus: Bus, watching: Watching, stack: AsyncDisposableStack) {
  const [applications, revocations, assertionKeys] = await Promise.all([
    watchBucket(bus, { bucket: buckets.applications, schema: PublishedEntry, ...watching }),
    watchBucket(bus, { bucket: buckets.revocations, schema: Revocation, ...watching }),
    watchBucket(bus, { bucket: buckets.assertionKeys, schema: AssertionKey, ...watching }),
  ])
  stack.use(assertionKeys)
  stack.use(applications)
  stack.use(revocations)
  const storing = { ...watching, timeoutMs: storeTimeoutMs }
  const revoked = new Revoked(revocations)
  const sessions = await SessionStore.open(bus, {
    ...storing,
    isRevoked: session => revoked.has(session),
  })
  const codes = await HandoverCodes.open(bus, storing)
  return { applications, assertionKeys, revocations, revoked, sessions, codes }
}

interface Changing {
  applications: Snapshot<Application>
  /** Their tombstones. */
  revocations: Snapshot<Revocation>
  revoked: Revoked
  authorizer: Authorizer
  access: ContinuousAccess
}

/** A revocation takes the leases that it touches and ends the open exchanges; a change has them decided anew. */
function followChanges(
  bus: Bus,
  { applications, revocations, revoked, authorizer, access }: Changing,
): void {
  bus.subscribe(subjects.revocations, {
    callback: message => {
      const revocation = parseJson(Revocation, message.data, 'revocation')
      revoked.hear(revocation)
      authorizer.revoke(revocation)
      access.revoke(revocation)
    },
  })
  // What only the tombstone has told here may be over: policy knows who has signed in again since.
  revocations.onChange(changes => {
    for (const { after } of changes) {
      if (after === undefined || revoked.hasHeard(after)) continue
      authorizer.revokeByTombstone(after)
      access.recheck(question => isTouched(question, after.kind, after.id))
    }
  })
  bus.subscribe(subjects.reevaluate, {
    callback: ({ data }) => {
      const reevaluation = parseJson(Reevaluation, data, 'reevaluation')
      if (!authorizer.reevaluate(reevaluation)) return
      const { touches } = reevaluation
      access.recheck(touches === 'all' ? () => true : touchedBy(touches))
    },
  })
  bus.onStatus(status => {
    if (status !== 'connected') return
    authorizer.forgetAll()
    access.recheck(() => true)
  })
  applications.onChange(changes => {
    for (const { key } of changes) {
      authorizer.forget(key)
      access.recheck(({ applicationId }) => applicationId === key)
    }
  })
}

/** Takes no new connection, lets requests under way finish, and ends what is left after the grace. */
async function close(front: Front, relay: Relay, graceMs: number): Promise<void> {
  const closed = front.close()
  relay.drain()
  const grace = setTimeout(() => {
    relay.end()
    front.destroy()
  }, graceMs)
  await closed
  clearTimeout(grace)
}

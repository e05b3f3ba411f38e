/**
 * A gateway: connects to the bus, keeps the published applications in memory, listens. It keeps nothing of its own;
 * any gateway serves any session, and any number of them may run.
 */

import { openAudit } from '#infra/audit.ts'
import { type Bus, connectBus, parseJson } from '#infra/bus.ts'
import { type Application, PublishedEntry } from '#infra/contracts/application.ts'
import { Revocation, revocationKey } from '#infra/contracts/policy.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { type Snapshot, watchBucket } from '#infra/snapshot.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { Authorizer } from './authorize.ts'
import { trustedProxies } from './client-address.ts'
import type { GatewayConfig } from './config.ts'
import { readCertificate } from './front/certificate.ts'
import { createFront, type Front } from './front/front.ts'
import { HandoverCodes } from './handover.ts'
import { createIdentityProvider } from './identity-provider.ts'
import { IncomingReader } from './incoming.ts'
import { Limits, limitConnections } from './limits.ts'
import { followMembers } from './members.ts'
import { indexApplications, type Publication } from './publish.ts'
import { Relay } from './relay.ts'
import { createRequestPath } from './server.ts'
import { type SessionRecord, SessionStore } from './session.ts'
import { SignIn } from './sign-in.ts'

/** Signing in is the one path that waits for the store. */
const storeTimeoutMs = 5_000

export async function startGateway(config: GatewayConfig, signal?: AbortSignal): Promise<Service> {
  const log = createLogger('gateway', config.logLevel)
  const watching = { log, ...(signal && { signal }) }
  await using stack = new AsyncDisposableStack()
  const certificate = config.tls && stack.use(readCertificate(config.tls, log))
  const bus = stack.use(await connectBus({ url: config.busUrl, role: 'gateway', ...watching }))
  const audit = stack.use(
    openAudit(bus, {
      service: 'gateway',
      log,
      ...(config.auditSpillFile !== undefined && { spillFile: config.auditSpillFile }),
    }),
  )
  const { applications, sessions, codes } = await openState(bus, watching, stack)
  const publication = followPublication(applications)
  const { portalUrl } = config
  const provider = createIdentityProvider(config.identityProvider, portalUrl)
  const signIn = new SignIn({ bus, portalUrl, provider, sessions, codes, publication })
  const authorizer = new Authorizer(bus, log, () => applications.revision)
  const members = stack.use(followMembers(bus))
  const relay = stack.use(new Relay({ bus, log, members, authorizer }))
  followChanges(bus, { applications, authorizer, relay })
  const portal = {
    portalUrl,
    signIn,
    sessions,
    applications: () => applications.entries,
    unavailable: () => [...(bus.isConnected ? [] : ['bus']), ...(audit.isHealthy ? [] : ['audit'])],
  }
  const isTrustedProxy = trustedProxies(config.trustedProxies)
  const reader = new IncomingReader(bus.instance, isTrustedProxy)
  const listener = createRequestPath({
    limits: new Limits(config.rates),
    audit,
    authorizer,
    log,
    portal,
    publication,
    reader,
    relay,
    sessions,
    signIn,
    isSecure: certificate !== undefined,
  })
  const front = createFront({ listener, certificate })
  limitConnections(front.server, config.connectionsPerAddress, isTrustedProxy)
  const port = await front.listen(config.host, config.port)
  stack.defer(() => close(front, relay, config.drainGraceMs))
  // Ready means that the server has the subscriptions, not that they are on their way.
  await bus.connection.flush()
  log.info({ port, portal: portalUrl }, 'listening')
  const running = stack.move()
  return {
    details: { port },
    drainMs: config.drainGraceMs,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** The index of what is published, built anew when applications change. */
function followPublication(applications: Snapshot<Application>): () => Publication {
  let publication = indexApplications(applications.entries.values())
  applications.onChange(() => {
    publication = indexApplications(applications.entries.values())
  })
  return () => publication
}

interface Watching {
  log: Logger
  signal?: AbortSignal
}

/** What gateways share through the store. */
async function openState(bus: Bus, watching: Watching, stack: AsyncDisposableStack) {
  const [applications, revocations] = await Promise.all([
    watchBucket(bus, { bucket: buckets.applications, schema: PublishedEntry, ...watching }),
    watchBucket(bus, { bucket: buckets.revocations, schema: Revocation, ...watching }),
  ])
  stack.use(applications)
  stack.use(revocations)
  const storing = { ...watching, timeoutMs: storeTimeoutMs }
  const sessions = await SessionStore.open(bus, {
    ...storing,
    isRevoked: session => isRevoked(revocations.entries, session),
  })
  return { applications, sessions, codes: await HandoverCodes.open(bus, storing) }
}

interface Changing {
  applications: Snapshot<Application>
  authorizer: Authorizer
  relay: Relay
}

/** A revocation takes the leases that it touches and ends the open exchanges; a change has them decided anew. */
function followChanges(bus: Bus, { applications, authorizer, relay }: Changing): void {
  bus.subscribe(subjects.revocations, {
    callback: message => {
      const revocation = parseJson(Revocation, message.data, 'revocation')
      authorizer.revoke(revocation)
      relay.revoke(revocation)
    },
  })
  applications.onChange(changes => {
    for (const { key } of changes) {
      authorizer.forget(key)
      relay.recheck(key)
    }
  })
}

/** Whether a session was ended, by itself or with everything of its user up to a time. */
function isRevoked(
  revocations: ReadonlyMap<string, Revocation>,
  { sessionId, userPrincipalName, signedInAtMs }: SessionRecord,
): boolean {
  if (revocations.has(revocationKey('session', sessionId))) return true
  const ofUser = revocations.get(revocationKey('user', userPrincipalName.toLowerCase()))
  return ofUser !== undefined && signedInAtMs <= ofUser.atMs
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

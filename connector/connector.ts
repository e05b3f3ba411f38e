/**
 * A connector: connects to the bus, learns its group's applications and the lease keys from registry, joins the
 * group's queue, answers. It listens on no socket and keeps nothing on disk.
 */

import { type Bus, connectBus, parseJson } from '#infra/bus.ts'
import { Revocation } from '#infra/contracts/policy.ts'
import { createLeaseVerifier } from '#infra/lease.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import { version } from '#infra/version.ts'
import { createClock } from './clock.ts'
import type { ConnectorConfig } from './config.ts'
import { type Directory, openDirectory } from './directory.ts'
import { createOrigins } from './origin.ts'
import { withHttp2 } from './origin-http2.ts'
import { watchReadiness } from './readiness.ts'
import { type Serving, serve } from './serve.ts'
import { reportStatus } from './status.ts'

export async function startConnector(
  config: ConnectorConfig,
  signal?: AbortSignal,
): Promise<Service> {
  const { connectorId, groupId, maxExchanges } = config
  const log = createLogger('connector', config.logLevel).child({ connector: connectorId })
  await using stack = new AsyncDisposableStack()
  const bus = stack.use(await connectBus(busOptions(config, log, signal)))
  const verifier = createLeaseVerifier({ groupId, onUnknownKey: () => directory?.refresh() })
  let directory: Directory | undefined
  let serving: Serving | undefined
  const clock = createClock(() => directory?.refresh())
  const readiness = stack.use(watchReadiness(log, () => reports.turn()))
  const applications = () => directory?.applications ?? new Map()
  const reports = stack.use(
    reportStatus({
      bus,
      connectorId,
      groupId,
      maxExchanges,
      version,
      readiness,
      applications,
      serving: () => serving,
    }),
  )
  directory = stack.use(
    await openDirectory({
      bus,
      log,
      groupId,
      clock,
      ...(signal && { signal }),
      onApplications: () => log.debug('applications changed'),
      onKeys: keys => verifier.setKeys(keys),
    }),
  )
  const origins = stack.use(withHttp2(createOrigins(maxExchanges)))
  serving = stack.use(
    serve({
      bus,
      log,
      connectorId,
      groupId,
      maxExchanges,
      clock,
      origins,
      readiness,
      applications,
      verifyLease: (lease, applicationId, nowMs) =>
        verifier.verify(lease, { applicationId, nowMs }),
      onMembership: () => reports.turn(),
    }),
  )
  followRevocations(bus, serving, log)
  stack.defer(() => reports.turn('stopped'))
  stack.defer(async () => {
    reports.turn('draining')
    await serving?.drain(config.drainGraceMs)
  })
  reports.turn()
  // Ready means that the server has the subscriptions, not that they are on their way.
  await bus.connection.flush()
  log.info({ group: groupId, server: bus.connection.getServer() }, 'serving')
  const running = stack.move()
  return {
    details: { connectorId, group: groupId },
    drainMs: config.drainGraceMs,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

function busOptions(config: ConnectorConfig, log: Logger, signal: AbortSignal | undefined) {
  return {
    url: config.busUrl,
    role: 'connector',
    instance: config.connectorId,
    log,
    ...(signal && { signal }),
  }
}

/** A revocation ends the open exchanges that it names at once. */
function followRevocations(bus: Bus, serving: Serving, log: Logger): void {
  bus.subscribe(subjects.revocations, {
    callback: message => {
      const { kind, id } = parseJson(Revocation, message.data, 'revocation')
      log.info({ kind, id }, 'revoked')
      serving.cancel(claims => {
        if (kind === 'session') return claims.session === id
        if (kind === 'user') return claims.sub.toLowerCase() === id.toLowerCase()
        return kind === 'application' && claims.app === id
      }, 'session_revoked')
    },
  })
}

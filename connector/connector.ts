/**
 * A connector: connects to the bus, learns its group's applications and the lease keys from registry, joins the
 * group's queue, answers. It listens on no socket and keeps nothing on disk.
 */

import { type Bus, connectBus, parseJson } from '#infra/bus.ts'
import { memberIdOf } from '#infra/contracts/connector.ts'
import { Revocation } from '#infra/contracts/policy.ts'
import { createLeaseVerifier } from '#infra/lease.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { StreamBudget } from '#infra/stream-budget.ts'
import { subjects } from '#infra/subjects.ts'
import { version } from '#infra/version.ts'
import type { Worker } from '#infra/worker.ts'
import { createClock } from './clock.ts'
import type { ConnectorConfig } from './config.ts'
import { type Directory, openDirectory } from './directory.ts'
import { createOrigins, type Origins } from './origin.ts'
import { withTrailers } from './origin-alone.ts'
import { withHttp2 } from './origin-http2.ts'
import { withRaw } from './origin-raw.ts'
import { watchReadiness } from './readiness.ts'
import { type Serving, serve } from './serve.ts'
import { reportStatus, type StatusReports } from './status.ts'

export interface ConnectorSurroundings {
  signal?: AbortSignal | undefined
  /** Set when this process is one of several that are the connector. */
  worker?: Worker | undefined
}

export async function startConnector(
  config: ConnectorConfig,
  { signal, worker }: ConnectorSurroundings = {},
): Promise<Service> {
  const { connectorId, groupId } = config
  const memberId = memberIdOf({ connectorId, worker: worker?.place.number })
  const maxExchanges = shareOf(config.maxExchanges, worker)
  const log = logOf(config, worker)
  await using stack = new AsyncDisposableStack()
  const bus = stack.use(await connectBus(busOptions(config, { log, signal, memberId })))
  const leases = createLeaseVerifier({ groupId, onUnknownKey: () => directory?.refresh() })
  let directory: Directory | undefined
  let serving: Serving | undefined
  const clock = createClock(() => directory?.refresh())
  const readiness = stack.use(watchReadiness(log, () => reports.turn()))
  const applications = () => directory?.applications ?? new Map()
  const reports = stack.use(
    reportStatus({
      bus,
      connectorId,
      place: worker?.place,
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
      onKeys: keys => leases.setKeys(keys),
    }),
  )
  const origins = stack.use(openOrigins(maxExchanges))
  serving = stack.use(
    serve({
      bus,
      log,
      memberId,
      groupId,
      maxExchanges,
      clock,
      origins,
      budget: new StreamBudget({ memoryBytes: config.streamMemoryBytes }),
      readiness,
      applications,
      leases,
    }),
  )
  followRevocations(bus, serving, log)
  drainAtEnd(stack, { reports, serving, graceMs: config.drainGraceMs })
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

function openOrigins(maxConnections: number): Origins {
  return withRaw(withHttp2(withTrailers(createOrigins(maxConnections))))
}

function logOf({ connectorId, logLevel }: ConnectorConfig, worker: Worker | undefined): Logger {
  const whose = { connector: connectorId, ...(worker && { worker: worker.place.slot }) }
  return createLogger('connector', logLevel).child(whose)
}

interface Connecting {
  log: Logger
  signal: AbortSignal | undefined
  memberId: string
}

function busOptions({ busUrl }: ConnectorConfig, { log, signal, memberId }: Connecting) {
  return { url: busUrl, role: 'connector', instance: memberId, log, ...(signal && { signal }) }
}

/** This worker's part of what the connector takes; together they take all of it. */
function shareOf(maxExchanges: number, worker: Worker | undefined): number {
  if (!worker) return maxExchanges
  const { slot, count } = worker.place
  return Math.floor(maxExchanges / count) + (slot <= maxExchanges % count ? 1 : 0)
}

interface Draining {
  reports: StatusReports
  serving: Serving
  graceMs: number
}

function drainAtEnd(stack: AsyncDisposableStack, { reports, serving, graceMs }: Draining): void {
  stack.defer(() => reports.turn('stopped'))
  stack.defer(async () => {
    reports.turn('draining')
    await serving.drain(graceMs)
  })
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

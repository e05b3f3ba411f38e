/**
 * A connector: connects to the bus, asks registry which group it belongs to, and serves that group (residence.ts,
 * membership.ts). It listens on no socket; who it is is all that it keeps on disk (identity/).
 */

import { X509Certificate } from 'node:crypto'
import { connectBus } from '#infra/bus.ts'
import { memberIdOf } from '#infra/contracts/connector.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { counter, gauge } from '#infra/monitoring/meters.ts'
import { type Monitoring, monitor } from '#infra/monitoring/monitoring.ts'
import { accessLifetimeMs } from '#infra/permissions.ts'
import type { Worker } from '#infra/worker.ts'
import { Carried } from './carried.ts'
import type { ConnectorConfig } from './config.ts'
import { DirectDialer } from './direct-dialer.ts'
import { type OpenIdentity, openIdentity } from './identity/identity.ts'
import type { Member } from './membership.ts'
import { Residence } from './residence.ts'
import { openSignOn } from './sign-on/sign-on.ts'
import { readTrustedRoot } from './trusted-root.ts'
import { watchVeto } from './veto/site-veto.ts'

/** A certificate that is nearly over is renewed, and not answered with ever new connections. */
const shortestLifetimeMs = 60_000

const workerPatienceMs = 10_000

export interface ConnectorSurroundings {
  signal?: AbortSignal | undefined
  /** Set when this process is one of several that are the connector. */
  worker?: Worker | undefined
}

export async function startConnector(
  config: ConnectorConfig,
  { signal = new AbortController().signal, worker }: ConnectorSurroundings = {},
): Promise<Service> {
  const { connectorId, busUrl: url } = config
  const memberId = memberIdOf({ connectorId, worker: worker?.place.number })
  const log = logOf(config, worker)
  await using stack = new AsyncDisposableStack()
  const at = { service: 'connector', slot: worker?.place.slot, log }
  const monitoring = stack.use(await monitor(config.monitoring, at))
  const { vetoPath, identityPath: path, proxy, directGatewayUrl: gatewayUrl } = config
  const identity = path === undefined ? undefined : await openIdentity({ path, proxy, log })
  const member: Member = {
    config,
    memberId,
    place: worker?.place,
    startedDateTime: worker?.place.startedDateTime ?? new Date().toISOString(),
    carried: new Carried(),
    root: identity?.root ?? (await readTrustedRoot(config.busCaPath)),
    veto: vetoPath === undefined ? undefined : stack.use(await watchVeto(vetoPath, log)),
    signOn: stack.use(await openSignOn(config.kerberos, log)),
    direct: gatewayUrl === undefined ? undefined : new DirectDialer({ gatewayUrl, proxy, log }),
    log,
  }
  const access = { url, role: 'connector', identity: identity?.forBus, proxy }
  const residence = stack.use(
    new Residence({
      member,
      dial: signal => connectBus({ ...access, instance: memberId, log, signal }),
      lifetimeMs: async () => identity && (await lifetimeOf(identity)),
      signal,
    }),
  )
  const isKeeper = !worker || worker.place.slot === 1
  const { promise: waiting, resolve: wait } = Promise.withResolvers<void>()
  const kept =
    isKeeper && identity ? stack.use(identity.keep(() => residence.bus, wait)) : undefined
  // The first worker was ready before the others began: if they are not soon, it waits as well by now.
  if (!isKeeper) setTimeout(wait, workerPatienceMs).unref()
  const ended = Promise.race([residence.ended, ...(kept ? [kept.ended] : [])])
  if (monitoring) meter(monitoring, residence, member.carried)
  // One that is disabled is there all the same: it comes in by itself when it may.
  await Promise.race([residence.begin(), ended, waiting])
  stack.defer(() => monitoring?.stopping())
  monitoring?.ready(() => residence.missing)
  const running = stack.move()
  return {
    details: { connectorId, group: residence.groupId ?? null },
    drainMs: config.drainGraceMs,
    ended,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

function meter({ registry }: Monitoring, residence: Residence, carried: Carried): void {
  const open = 'Exchanges under way.'
  gauge(registry, 'sallyport_open_exchanges', open, () => residence.openExchanges)
  const served = 'Exchanges served since the start.'
  counter(
    registry,
    'sallyport_exchanges_served_total',
    served,
    () => carried.report().exchangesServed,
  )
  const connected = '1 while the bus is connected.'
  const isConnected = () => Number(!residence.missing.includes('bus'))
  gauge(registry, 'sallyport_bus_connected', connected, isConnected)
}

/** What the bus gives the present certificate; without one, rights do not end. */
async function lifetimeOf(identity: OpenIdentity): Promise<number> {
  const { certificate } = await identity.forBus()
  const leftMs = new X509Certificate(certificate).validToDate.getTime() - Date.now()
  return Math.max(Math.min(leftMs, accessLifetimeMs), shortestLifetimeMs)
}

function logOf({ connectorId, logLevel }: ConnectorConfig, worker: Worker | undefined): Logger {
  const whose = { connector: connectorId, ...(worker && { worker: worker.place.slot }) }
  return createLogger('connector', logLevel).child(whose)
}

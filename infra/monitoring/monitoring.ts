/**
 * What a service tells those who operate it, on a port of its own that is closed unless it is asked for: metrics for
 * Prometheus at `/metrics`, `/livez` (200 while the process answers) and `/readyz` (200 while it can do its work, else
 * 503 and what is missing). It is open before the service is ready and stays so while it drains.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { ConfigurationError } from '../config.ts'
import { cannotListen } from '../listen-problem.ts'
import type { Logger } from '../log.ts'
import { version } from '../version.ts'

const highestPort = 65_535

export interface MonitoringPlace {
  host: string
  /** 0 for a free one. */
  port: number
}

export interface MonitoringOptions {
  /** The role, as in `gateway`. */
  service: string
  /** Of one of several workers, from 1: each has the next port. */
  slot?: number | undefined
  log: Logger
}

export interface Monitoring extends AsyncDisposable {
  readonly port: number
  /** Of this process; whoever has something to count registers it here. */
  readonly registry: Registry
  /** The service has started. `missing` names what it cannot do without and does not have at the moment. */
  ready(missing: () => readonly string[]): void
  /** The service takes nothing new. */
  stopping(): void
}

/** Opens it where the configuration says, if it says so. */
export async function monitor(
  place: MonitoringPlace | undefined,
  options: MonitoringOptions,
): Promise<Monitoring | undefined> {
  return place && (await openMonitoring(place, options))
}

export async function openMonitoring(
  place: MonitoringPlace,
  options: MonitoringOptions,
): Promise<Monitoring> {
  const { service, log } = options
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'sallyport_build_info',
    help: 'Which version of which service this is; always 1.',
    labelNames: ['service', 'version'],
    registers: [registry],
  }).set({ service, version }, 1)
  let missing: () => readonly string[] = () => ['started']
  const server = createServer((req, res) => {
    answer(req, res, { registry, missing }).catch(error => {
      log.error({ error }, 'a request for monitoring failed')
      res.destroy()
    })
  })
  const port = await listen(server, place, options)
  log.info({ monitoring: port }, 'metrics and readiness are served')
  return {
    port,
    registry,
    ready: next => {
      missing = next
    },
    stopping: () => {
      missing = () => ['stopping']
    },
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function listen(
  server: Server,
  { host, port: firstPort }: MonitoringPlace,
  { service, slot = 1 }: MonitoringOptions,
): Promise<number> {
  const port = firstPort === 0 ? 0 : firstPort + slot - 1
  const variables = `SALLYPORT_${service.toUpperCase()}_MONITORING`
  if (port > highestPort) {
    const problem = `leaves no port for worker ${slot}, since each has the next one; choose a lower one`
    throw new ConfigurationError(`${variables}_PORT: ${firstPort} ${problem}`)
  }
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw cannotListen(cause, { host, port, variables })
  }
  return (server.address() as AddressInfo).port
}

interface Telling {
  registry: Registry
  missing: () => readonly string[]
}

async function answer(
  { method, url }: IncomingMessage,
  res: ServerResponse,
  { registry, missing }: Telling,
): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') return send(res, 405, 'GET or HEAD alone\n')
  const [path] = (url ?? '').split('?')
  if (path === '/livez') return send(res, 200, 'alive\n')
  if (path === '/readyz') {
    const names = missing()
    return send(res, names.length === 0 ? 200 : 503, `${names.join(', ') || 'ready'}\n`)
  }
  if (path !== '/metrics') return send(res, 404, '/metrics, /livez and /readyz are here\n')
  res.setHeader('content-type', registry.contentType)
  send(res, 200, await registry.metrics())
}

function send(res: ServerResponse, status: number, text: string): void {
  if (!res.hasHeader('content-type')) res.setHeader('content-type', 'text/plain; charset=utf-8')
  res.setHeader('cache-control', 'no-store')
  res.writeHead(status).end(text)
}

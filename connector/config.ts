/** What a connector reads from its environment. */

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { z } from 'zod'
import {
  BusUrl,
  Flag,
  monitoringPlace,
  Port,
  StreamMemory,
  WholeNumber,
  WorkerCount,
} from '#infra/config.ts'
import { Slug } from '#infra/contracts/application.ts'
import { connectorIdPattern, defaultConnectorGroupId } from '#infra/contracts/connector.ts'
import { logLevels } from '#infra/log.ts'
import { isKerberosWhole, kerberosConfig, kerberosVariables } from './sign-on/kerberos/config.ts'

const ConnectorId = z
  .string()
  .regex(connectorIdPattern, 'must be 1 to 63 lower-case letters, digits or hyphens')

const GatewayUrl = z.url({
  protocol: /^https?$/,
  error: 'must be an http:// or https:// URL, as in https://portal.example.com/',
})

/** Most of them are idle connections of users who have a page open: some 14 KiB each. */
const defaultExchangesOfWorker = 4_096
const defaultAwaitedOfWorker = 1_024

/** Limits of the connector as a whole. */
const sharedByWorkers = [
  'SALLYPORT_CONNECTOR_MAX_EXCHANGES',
  'SALLYPORT_CONNECTOR_MAX_AWAITED',
] as const

export const ConnectorConfig = z
  .object({
    SALLYPORT_BUS_URL: BusUrl,
    SALLYPORT_BUS_CA_PATH: z.string().optional(),
    /** Folder of key and certificate; only with a bus that wants them (wss://). */
    SALLYPORT_CONNECTOR_IDENTITY_PATH: z.string().optional(),
    /** Where its gateways answer: the address of the portal. Enrolled connectors know it. */
    SALLYPORT_CONNECTOR_GATEWAY_URL: GatewayUrl.optional(),
    /** Whether answers and large bodies go by connections to the gateway itself, where it can be reached. */
    SALLYPORT_CONNECTOR_DIRECT_CONNECTIONS: Flag.default(true),
    HTTPS_PROXY: z.string().optional(),
    NO_PROXY: z.string().optional(),
    SALLYPORT_LOG_LEVEL: z.enum(logLevels).default('info'),
    SALLYPORT_CONNECTOR_ID: ConnectorId.default(generatedId),
    SALLYPORT_CONNECTOR_GROUP: Slug.default(defaultConnectorGroupId),
    /** Processes that share its work under its one id. */
    SALLYPORT_CONNECTOR_WORKERS: WorkerCount.default(1),
    /** Exchanges at once, long ones included, of all workers together; above it the connector leaves the queue group. */
    SALLYPORT_CONNECTOR_MAX_EXCHANGES: WholeNumber(1, 100_000).optional(),
    /** Of them, those of one application that wait for its answer; above it only this application is refused. */
    SALLYPORT_CONNECTOR_MAX_AWAITED: WholeNumber(1, 100_000).optional(),
    /** What windows of bodies and connections may take, in each worker. */
    SALLYPORT_CONNECTOR_STREAM_MEMORY_MIB: StreamMemory,
    /** Metrics and readiness, at this host alone: nothing else of a connector listens. */
    SALLYPORT_CONNECTOR_MONITORING_PORT: Port.optional(),
    /** The site owner's own rules (connector/veto/rules.ts): nobody else can lift them. */
    SALLYPORT_CONNECTOR_VETO_PATH: z.string().min(1).optional(),
    /** Whether applications may be published that stand on this very host. */
    SALLYPORT_CONNECTOR_ALLOW_LOOPBACK: Flag.default(true),
    ...kerberosVariables,
    /** Seconds that open exchanges get to finish after a signal. */
    SALLYPORT_CONNECTOR_DRAIN_SECONDS: WholeNumber(0, 3_600).default(20),
  })
  .superRefine((env, context) => {
    for (const name of sharedByWorkers) {
      const most = env[name] ?? Number.POSITIVE_INFINITY
      // Either of them may be wrong by itself, which is no reason to blame the other.
      if (!(most < env.SALLYPORT_CONNECTOR_WORKERS)) continue
      const message = 'must be at least SALLYPORT_CONNECTOR_WORKERS, since the workers share it'
      context.addIssue({ code: 'custom', path: [name], message })
    }
  })
  .refine(isKerberosWhole, {
    path: ['SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH'],
    error: 'goes together with SALLYPORT_CONNECTOR_KERBEROS_REALM; set both or none',
  })
  .transform(env => ({
    busUrl: env.SALLYPORT_BUS_URL,
    busCaPath: env.SALLYPORT_BUS_CA_PATH,
    identityPath: env.SALLYPORT_BUS_URL.startsWith('wss:')
      ? env.SALLYPORT_CONNECTOR_IDENTITY_PATH
      : undefined,
    directGatewayUrl: env.SALLYPORT_CONNECTOR_DIRECT_CONNECTIONS
      ? env.SALLYPORT_CONNECTOR_GATEWAY_URL
      : undefined,
    proxy: { HTTPS_PROXY: env.HTTPS_PROXY, NO_PROXY: env.NO_PROXY },
    logLevel: env.SALLYPORT_LOG_LEVEL,
    connectorId: env.SALLYPORT_CONNECTOR_ID,
    groupId: env.SALLYPORT_CONNECTOR_GROUP,
    monitoring: monitoringPlace('127.0.0.1', env.SALLYPORT_CONNECTOR_MONITORING_PORT),
    vetoPath: env.SALLYPORT_CONNECTOR_VETO_PATH,
    allowsLoopback: env.SALLYPORT_CONNECTOR_ALLOW_LOOPBACK,
    kerberos: kerberosConfig(env),
    drainGraceMs: env.SALLYPORT_CONNECTOR_DRAIN_SECONDS * 1_000,
    streamMemoryBytes: env.SALLYPORT_CONNECTOR_STREAM_MEMORY_MIB * 2 ** 20,
    workers: env.SALLYPORT_CONNECTOR_WORKERS,
    maxExchanges:
      env.SALLYPORT_CONNECTOR_MAX_EXCHANGES ??
      defaultExchangesOfWorker * env.SALLYPORT_CONNECTOR_WORKERS,
    maxAwaited:
      env.SALLYPORT_CONNECTOR_MAX_AWAITED ??
      defaultAwaitedOfWorker * env.SALLYPORT_CONNECTOR_WORKERS,
  }))
export type ConnectorConfig = Readonly<z.output<typeof ConnectorConfig>>

function generatedId(): string {
  const host = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return `${host.slice(0, 40) || 'connector'}-${randomBytes(3).toString('hex')}`
}

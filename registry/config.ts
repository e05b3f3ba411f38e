/**
 * What a registry reads from its environment. Sizes and ages of the stores belong to it because it creates them; all
 * registries of one installation should be given the same ones, for the last to start sets them.
 */

import { z } from 'zod'
import { BusUrl, Flag, List, monitoringPlace, Port, Redaction, WholeNumber } from '#infra/config.ts'
import { statusTimeoutMs } from '#infra/contracts/connector.ts'
import { logLevels } from '#infra/log.ts'

const dayMs = 86_400_000

/** Where applications get their external URL when none is given: `http://NAME.<host>:<port>/`. */
const BaseUrl = z
  .url({
    protocol: /^https?$/,
    error: 'must be an http:// or https:// URL, as in https://apps.example.com/',
  })
  .refine(value => new URL(value).pathname === '/' && new URL(value).search === '', {
    error: 'must have no path and no query',
  })

/** Every connector gets these with its certificate. */
const ConnectorBusUrls = List.refine(
  urls => urls.every(url => URL.parse(url)?.protocol === 'wss:' && !url.includes('@')),
  { error: 'must be wss:// URLs separated by commas, as in wss://bus.example.com' },
)

export const RegistryConfig = z
  .object({
    SALLYPORT_BUS_URL: BusUrl,
    SALLYPORT_LOG_LEVEL: z.enum(logLevels).default('info'),
    SALLYPORT_AUDIT_REDACT: Redaction,
    SALLYPORT_BUS_CA_PATH: z.string().optional(),
    SALLYPORT_REGISTRY_SYSTEM_BUS_URL: BusUrl.optional(),
    /** Left out, connectors share one user of the bus and have no certificates. */
    SALLYPORT_REGISTRY_CALLOUT_BUS_URL: BusUrl.optional(),
    /** Metrics and readiness; without a port there are none. */
    SALLYPORT_REGISTRY_MONITORING_HOST: z.string().default('127.0.0.1'),
    SALLYPORT_REGISTRY_MONITORING_PORT: Port.optional(),
    SALLYPORT_REGISTRY_HOST: z.string().default('127.0.0.1'),
    SALLYPORT_REGISTRY_PORT: Port.default(8081),
    /** Folder of the certificate authority (infra/authority.ts); left out, connectors cannot be enrolled. */
    SALLYPORT_REGISTRY_AUTHORITY_PATH: z.string().optional(),
    /** Where connectors enrol: the portal. Stands in every token. */
    SALLYPORT_REGISTRY_ENROLMENT_URL: BaseUrl.optional(),
    /** Where enrolled connectors find the bus. */
    SALLYPORT_REGISTRY_CONNECTOR_BUS_URLS: ConnectorBusUrls.default([]),
    SALLYPORT_REGISTRY_CONNECTOR_CERTIFICATE_DAYS: WholeNumber(1, 90).default(30),
    SALLYPORT_REGISTRY_ADMIN_TOKEN: z
      .string()
      .regex(/^[\x21-\x7e]{24,}$/, 'must have at least 24 printable ASCII characters, no spaces'),
    SALLYPORT_REGISTRY_EXTERNAL_BASE_URL: BaseUrl.optional(),
    SALLYPORT_REGISTRY_REPLICAS: z
      .enum(['1', '3', '5'], { error: 'must be 1, 3 or 5' })
      .default('1'),
    SALLYPORT_REGISTRY_AUDIT_MAX_BYTES: WholeNumber(2 ** 20, 2 ** 49).default(10 * 2 ** 30),
    SALLYPORT_REGISTRY_AUDIT_MAX_AGE_DAYS: WholeNumber(1, 36_500).default(90),
    /** Seconds without a sign of life after which a connector is tagged inactive. */
    SALLYPORT_REGISTRY_INACTIVE_AFTER_SECONDS: WholeNumber(10, 86_400).default(
      statusTimeoutMs / 1_000,
    ),
    SALLYPORT_REGISTRY_REMOVE_INACTIVE_AFTER_DAYS: WholeNumber(1, 3_650).default(10),
    /** Whether applications may be published from the connector group that every installation has. */
    SALLYPORT_REGISTRY_DEFAULT_GROUP_SERVES: Flag.default(false),
  })
  .transform(env => ({
    auditRedacted: env.SALLYPORT_AUDIT_REDACT,
    monitoring: monitoringPlace(
      env.SALLYPORT_REGISTRY_MONITORING_HOST,
      env.SALLYPORT_REGISTRY_MONITORING_PORT,
    ),
    busUrl: env.SALLYPORT_BUS_URL,
    busCaPath: env.SALLYPORT_BUS_CA_PATH,
    systemBusUrl: env.SALLYPORT_REGISTRY_SYSTEM_BUS_URL,
    calloutBusUrl: env.SALLYPORT_REGISTRY_CALLOUT_BUS_URL,
    logLevel: env.SALLYPORT_LOG_LEVEL,
    host: env.SALLYPORT_REGISTRY_HOST,
    port: env.SALLYPORT_REGISTRY_PORT,
    authorityPath: env.SALLYPORT_REGISTRY_AUTHORITY_PATH,
    enrolmentUrl: env.SALLYPORT_REGISTRY_ENROLMENT_URL,
    connectorBusUrls: env.SALLYPORT_REGISTRY_CONNECTOR_BUS_URLS,
    connectorCertificateDays: env.SALLYPORT_REGISTRY_CONNECTOR_CERTIFICATE_DAYS,
    adminToken: env.SALLYPORT_REGISTRY_ADMIN_TOKEN,
    externalBaseUrl: env.SALLYPORT_REGISTRY_EXTERNAL_BASE_URL,
    replicas: Number(env.SALLYPORT_REGISTRY_REPLICAS),
    auditMaxBytes: env.SALLYPORT_REGISTRY_AUDIT_MAX_BYTES,
    auditMaxAgeMs: env.SALLYPORT_REGISTRY_AUDIT_MAX_AGE_DAYS * dayMs,
    inactiveAfterMs: env.SALLYPORT_REGISTRY_INACTIVE_AFTER_SECONDS * 1_000,
    removeInactiveAfterMs: env.SALLYPORT_REGISTRY_REMOVE_INACTIVE_AFTER_DAYS * dayMs,
    doesDefaultGroupServe: env.SALLYPORT_REGISTRY_DEFAULT_GROUP_SERVES,
  }))
export type RegistryConfig = Readonly<z.output<typeof RegistryConfig>>

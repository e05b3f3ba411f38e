/**
 * What a registry reads from its environment. Sizes and ages of the stores belong to it because it creates them; all
 * registries of one installation should be given the same ones, for the last to start sets them.
 */

import { z } from 'zod'
import { BusUrl, Port, WholeNumber } from '#infra/config.ts'
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

export const RegistryConfig = z
  .object({
    SALLYPORT_BUS_URL: BusUrl,
    SALLYPORT_LOG_LEVEL: z.enum(logLevels).default('info'),
    SALLYPORT_REGISTRY_SYSTEM_BUS_URL: BusUrl.optional(),
    SALLYPORT_REGISTRY_HOST: z.string().default('127.0.0.1'),
    SALLYPORT_REGISTRY_PORT: Port.default(8081),
    SALLYPORT_REGISTRY_ADMIN_TOKEN: z
      .string()
      .regex(/^[\x21-\x7e]{24,}$/, 'must have at least 24 printable ASCII characters, no spaces'),
    SALLYPORT_REGISTRY_EXTERNAL_BASE_URL: BaseUrl.optional(),
    SALLYPORT_REGISTRY_REPLICAS: z
      .enum(['1', '3', '5'], { error: 'must be 1, 3 or 5' })
      .default('1'),
    SALLYPORT_REGISTRY_AUDIT_MAX_BYTES: WholeNumber(2 ** 20, 2 ** 49).default(10 * 2 ** 30),
    SALLYPORT_REGISTRY_AUDIT_MAX_AGE_DAYS: WholeNumber(1, 36_500).default(90),
    SALLYPORT_REGISTRY_REMOVE_INACTIVE_AFTER_DAYS: WholeNumber(1, 3_650).default(10),
  })
  .transform(env => ({
    busUrl: env.SALLYPORT_BUS_URL,
    systemBusUrl: env.SALLYPORT_REGISTRY_SYSTEM_BUS_URL,
    logLevel: env.SALLYPORT_LOG_LEVEL,
    host: env.SALLYPORT_REGISTRY_HOST,
    port: env.SALLYPORT_REGISTRY_PORT,
    adminToken: env.SALLYPORT_REGISTRY_ADMIN_TOKEN,
    externalBaseUrl: env.SALLYPORT_REGISTRY_EXTERNAL_BASE_URL,
    replicas: Number(env.SALLYPORT_REGISTRY_REPLICAS),
    auditMaxBytes: env.SALLYPORT_REGISTRY_AUDIT_MAX_BYTES,
    auditMaxAgeMs: env.SALLYPORT_REGISTRY_AUDIT_MAX_AGE_DAYS * dayMs,
    removeInactiveAfterMs: env.SALLYPORT_REGISTRY_REMOVE_INACTIVE_AFTER_DAYS * dayMs,
  }))
export type RegistryConfig = Readonly<z.output<typeof RegistryConfig>>

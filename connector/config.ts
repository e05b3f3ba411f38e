/** What a connector reads from its environment. */

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { z } from 'zod'
import { BusUrl, WholeNumber } from '#infra/config.ts'
import { Slug } from '#infra/contracts/application.ts'
import { connectorIdPattern, defaultConnectorGroupId } from '#infra/contracts/connector.ts'
import { logLevels } from '#infra/log.ts'

const ConnectorId = z
  .string()
  .regex(connectorIdPattern, 'must be 1 to 63 lower-case letters, digits or hyphens')

export const ConnectorConfig = z
  .object({
    SALLYPORT_BUS_URL: BusUrl,
    SALLYPORT_LOG_LEVEL: z.enum(logLevels).default('info'),
    SALLYPORT_CONNECTOR_ID: ConnectorId.default(generatedId),
    SALLYPORT_CONNECTOR_GROUP: Slug.default(defaultConnectorGroupId),
    /** Exchanges at once, long ones included; above it the connector leaves the queue group. */
    SALLYPORT_CONNECTOR_MAX_EXCHANGES: WholeNumber(1, 100_000).default(128),
    /** Seconds that open exchanges get to finish after a signal. */
    SALLYPORT_CONNECTOR_DRAIN_SECONDS: WholeNumber(0, 3_600).default(20),
  })
  .transform(env => ({
    busUrl: env.SALLYPORT_BUS_URL,
    logLevel: env.SALLYPORT_LOG_LEVEL,
    connectorId: env.SALLYPORT_CONNECTOR_ID,
    groupId: env.SALLYPORT_CONNECTOR_GROUP,
    drainGraceMs: env.SALLYPORT_CONNECTOR_DRAIN_SECONDS * 1_000,
    maxExchanges: env.SALLYPORT_CONNECTOR_MAX_EXCHANGES,
  }))
export type ConnectorConfig = Readonly<z.output<typeof ConnectorConfig>>

function generatedId(): string {
  const host = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return `${host.slice(0, 40) || 'connector'}-${randomBytes(3).toString('hex')}`
}

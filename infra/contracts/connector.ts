/** Connectors and the groups they belong to. Names are Graph's (`connector`, `connectorGroup`) where it has them. */

import { z } from 'zod'
import { Slug } from './application.ts'

/** The group that every installation has. */
export const defaultConnectorGroupId = 'default'

export const ConnectorGroup = z.object({
  /** The name that stands in subjects and in a connector's configuration. Never changes. */
  id: Slug,
  name: z.string().min(1).max(256),
  connectorGroupType: z.literal('applicationProxy').default('applicationProxy'),
  isDefault: z.boolean().default(false),
  /** While it is being deleted: it takes no application any more. */
  isClosing: z.boolean().default(false),
  createdDateTime: z.iso.datetime(),
})
export type ConnectorGroup = z.output<typeof ConnectorGroup>

export const connectorIdPattern = /^[a-z0-9][a-z0-9-]{0,62}$/

/** What the bus knows a connector by, or one of its workers: in data subjects and as the name of its connection. */
export const memberIdPattern = /^[a-z0-9][a-z0-9-]{0,62}(_\d{1,9})?$/

/** No connector's own id has an underscore. Without a worker it is the connector's id itself. */
export function memberIdOf({
  connectorId,
  worker,
}: Pick<ConnectorStatus, 'connectorId' | 'worker'>) {
  return worker === undefined ? connectorId : `${connectorId}_${worker}`
}

/** The connector of a member: what administrators and audit call it. */
export function connectorIdOf(memberId: string): string {
  const end = memberId.indexOf('_')
  return end < 0 ? memberId : memberId.slice(0, end)
}

/** What a connector, or each of its workers, says of itself every few seconds, and at once when it starts, drains or stops. */
export const ConnectorStatus = z.object({
  connectorId: z.string().regex(connectorIdPattern),
  /** Which of several workers this is; each number is used once in the life of a connector. */
  worker: z.number().int().positive().optional(),
  groupId: Slug,
  state: z.enum(['serving', 'saturated', 'draining', 'stopped']),
  version: z.string(),
  machineName: z.string().max(253),
  startedDateTime: z.iso.datetime(),
  sentDateTime: z.iso.datetime(),
  /** Exchanges under way, and how many it takes at once. */
  openExchanges: z.number().int().nonnegative(),
  maxExchanges: z.number().int().positive(),
  exchangesServed: z.number().int().nonnegative(),
  lastExchangeDateTime: z.iso.datetime().nullable(),
  /** Applications whose origin does not answer, with the reason for operators. */
  notReady: z.array(z.object({ applicationId: Slug, reason: z.string().max(300) })),
})
export type ConnectorStatus = z.output<typeof ConnectorStatus>

/** How often a connector sends its status, and after how long without one it counts as inactive. */
export const statusIntervalMs = 5_000
export const statusTimeoutMs = 15_000

/** Milliseconds until the response head, as a geometric mean: a few long ones among them do not decide. */
const answerMs = z.number().positive().max(1_000_000)
const paceOfApplications = z.array(z.object({ applicationId: Slug, answerMs })).max(1_000)

/** How fast a member of a group has answered lately, for applications of which there were enough requests to tell. */
export const PaceReport = z.object({
  answersPerSecond: z.number().nonnegative().max(1_000_000),
  applications: paceOfApplications,
})
export type PaceReport = z.output<typeof PaceReport>

/** The same of the median member of the group. */
export const GroupPace = PaceReport
export type GroupPace = PaceReport

/** How often both are told, and after how long without one the last counts no more. */
export const paceIntervalMs = 1_000
export const paceTimeoutMs = 2_500

/** A connector as registry keeps it (bucket `connectors`). */
export const Connector = z.object({
  id: z.string().regex(connectorIdPattern),
  connectorGroupId: Slug,
  machineName: z.string(),
  version: z.string(),
  status: z.enum(['active', 'inactive']),
  lastSeenDateTime: z.iso.datetime(),
  lastStatus: ConnectorStatus,
})
export type Connector = z.output<typeof Connector>

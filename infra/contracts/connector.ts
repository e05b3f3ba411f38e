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

/** A status names so many applications at most: it goes to every gateway and registry. */
export const maxCarriedFor = 20

/** What was carried for one application since the connector started. */
export const CarriedFor = z.object({
  applicationId: Slug,
  exchanges: z.number().int().nonnegative(),
  bytes: z.number().nonnegative(),
  lastByteDateTime: z.iso.datetime().nullable(),
})
export type CarriedFor = z.output<typeof CarriedFor>

/** What a connector, or each of its workers, says of itself every few seconds, and when it starts, drains or stops. */
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
  /** The host's own address on the way to the bus; what others see of it may be another. */
  address: z.string().max(64).nullable().default(null),
  /** Bytes of bodies and upgraded connections, both ways, since it started, and when the last one was carried. */
  carriedBytes: z.number().nonnegative().default(0),
  lastByteDateTime: z.iso.datetime().nullable().default(null),
  /** The same for the applications that carried something most recently. */
  carried: z.array(CarriedFor).max(maxCarriedFor).default([]),
  /** Applications whose origin does not answer, with the reason for operators. */
  notReady: z.array(z.object({ applicationId: Slug, reason: z.string().max(300) })),
  /** What keeps the connector as a whole from its work, or makes it refuse some: for operators. */
  problems: z.array(z.string().max(300)).max(10).default([]),
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

/** A certificate that the authority issued to a connector; honoured while it stands in the connector's record. */
export const ConnectorCertificate = z.object({
  /** Hexadecimal, as X.509 writes it. */
  serialNumber: z.string().regex(/^[0-9a-f]{1,40}$/i),
  /** Of its public key: base64url SHA-256 of the SPKI. */
  spki: z.string().regex(/^[\w-]{43}$/),
  notAfter: z.iso.datetime(),
})
export type ConnectorCertificate = z.output<typeof ConnectorCertificate>

/** A connector as registry keeps it (bucket `connectors`). */
export const Connector = z.object({
  id: z.string().regex(connectorIdPattern),
  /** Where it belongs; what it serves at this moment stands in its last status. */
  connectorGroupId: Slug,
  /** False: it may not connect until an administrator enables it again. */
  isEnabled: z.boolean().default(true),
  /** The current one and the one before; empty on a bus without enrolment. */
  certificates: z.array(ConnectorCertificate).max(8).default([]),
  enrolledDateTime: z.iso.datetime().nullable().default(null),
  /** When an administrator last chose its group: from then on its own configuration does not count. */
  movedDateTime: z.iso.datetime().nullable().default(null),
  machineName: z.string(),
  version: z.string(),
  /** Address that it connects from, as the bus sees it. */
  externalIp: z.string().max(64).nullable().default(null),
  status: z.enum(['active', 'inactive']),
  /** Of one that was never seen: when it was enrolled. */
  lastSeenDateTime: z.iso.datetime(),
  /** Null until it has reported for the first time. */
  lastStatus: ConnectorStatus.nullable().default(null),
})
export type Connector = z.output<typeof Connector>

/** What a connector asks for at each connection: where it belongs, and whether it may serve. */
export const PlacementRequest = z.object({
  /** The group that its configuration names; counts only on a bus without enrolment. */
  wishedGroupId: Slug.optional(),
})
export type PlacementRequest = z.output<typeof PlacementRequest>

export const Placement = z.object({
  connectorId: z.string().regex(connectorIdPattern),
  state: z.enum(['enabled', 'disabled', 'removed']),
  connectorGroupId: Slug,
})
export type Placement = z.output<typeof Placement>

/** What no connector does by mistake, as a gateway has seen it. */
export const MisbehaviourReport = z.object({
  connectorId: z.string().regex(connectorIdPattern),
  kind: z.enum(['answered_twice', 'answered_for_another', 'flood']),
})
export type MisbehaviourReport = z.output<typeof MisbehaviourReport>
export type MisbehaviourKind = MisbehaviourReport['kind']

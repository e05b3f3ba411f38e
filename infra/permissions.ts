/**
 * What each role may do on the bus: static allow lists, one user per role, nothing else is allowed. Both the embedded
 * nats-server and deployments are configured from here. A connector that came by certificate gets a list of its own
 * (`connectorPermissions`) from the registry; the role `connector` is for a bus without enrolment.
 *
 * They are static on purpose: `allow_responses` costs memory with every request and ends with the connection, so
 * answers go to private inboxes and to `up.<connector>.…`, which have permanent permissions. JetStream answers to
 * whatever reply subject a request names; who may create a consumer on a bucket can thus have its content delivered
 * anywhere. Readers must therefore never take a message for true by its subject alone.
 */

import { buckets, queues, streams, subjects } from './subjects.ts'

export const busRoles = [
  'gateway',
  'connector',
  'policy',
  'registry',
  'auditor',
  'system',
  'callout',
  'signals',
] as const
export type BusRole = (typeof busRoles)[number]

/** Where all messages of ours are. The server's own account and the one of its questions to registry have none. */
export const busAccount = 'SALLYPORT'

export interface Permissions {
  readonly publish: readonly string[]
  /** A subject alone, or `subject queue`: then only as a member of that queue group. */
  readonly subscribe: readonly string[]
  /** May also publish once to the reply subject of a message that it has received, for so long. */
  readonly answersWithin?: string
}

type Bucket = (typeof buckets)[keyof typeof buckets]

const everyInbox = (role: BusRole) => `sallyport.inbox.${role}.>`
const anyRevocation = subjects.revocations
const auditOf = (category: 'access' | 'sign-in' | 'policy') => `sallyport.audit.${category}.>`

/** Opening a bucket, reading keys and watching it: the calls that the KV client makes, no more. */
const reading = (bucket: Bucket) => [
  `$JS.API.STREAM.INFO.KV_${bucket}`,
  `$JS.API.DIRECT.GET.KV_${bucket}.>`,
  `$JS.API.STREAM.MSG.GET.KV_${bucket}`,
  `$JS.API.CONSUMER.CREATE.KV_${bucket}.>`,
  `$JS.API.CONSUMER.INFO.KV_${bucket}.*`,
  `$JS.API.CONSUMER.DELETE.KV_${bucket}.*`,
  `$JS.FC.KV_${bucket}.>`,
]

/** Puts, deletes and compare-and-set of keys; never purging or changing the bucket itself. */
const writing = (bucket: Bucket) => [`$KV.${bucket}.>`]

const jetStreamAccountInfo = '$JS.API.INFO'

export const permissions: Readonly<Record<BusRole, Permissions>> = {
  gateway: {
    publish: [
      'sallyport.exchange.*.*',
      'sallyport.down.*.*',
      'sallyport.group.*.wanted',
      subjects.misbehaviours,
      subjects.signIn,
      subjects.signOut,
      subjects.evaluate,
      subjects.enrolRequest,
      subjects.standingRequest,
      subjects.readmitRequest,
      subjects.revocationListRequest,
      auditOf('access'),
      auditOf('sign-in'),
      subjects.auditBatchEnd,
      jetStreamAccountInfo,
      ...reading(buckets.applications),
      ...reading(buckets.connectorGroups),
      ...reading(buckets.connectors),
      ...reading(buckets.revocations),
      ...reading(buckets.sessions),
      ...writing(buckets.sessions),
      ...reading(buckets.assertionKeys),
      ...reading(buckets.codes),
      ...writing(buckets.codes),
    ],
    subscribe: [
      'sallyport.up.*.*.*',
      everyInbox('gateway'),
      anyRevocation,
      subjects.reevaluate,
      subjects.connectorStatuses,
      subjects.connectorsGone,
    ],
  },
  // No JetStream, no audit. Exchanges only as a member of a queue group: a plain subscription would be a second copy.
  connector: {
    publish: [
      'sallyport.up.*.*.*',
      subjects.connectorStatuses,
      subjects.connectorPaces,
      subjects.diagnosisReports,
      subjects.applicationsRequests,
      subjects.placementRequests,
      subjects.keysRequest,
    ],
    subscribe: [
      'sallyport.placement.*',
      'sallyport.exchange.*.* *',
      'sallyport.down.*.*',
      'sallyport.group.*.applications',
      'sallyport.group.*.pace',
      'sallyport.group.*.diagnosis',
      'sallyport.group.*.wanted',
      subjects.keys,
      anyRevocation,
      everyInbox('connector'),
    ],
  },
  policy: {
    publish: [
      everyInbox('gateway'),
      everyInbox('registry'),
      everyInbox('signals'),
      anyRevocation,
      subjects.reevaluate,
      auditOf('policy'),
      auditOf('sign-in'),
      subjects.auditBatchEnd,
      jetStreamAccountInfo,
      ...reading(buckets.applications),
      ...reading(buckets.principals),
      ...writing(buckets.principals),
      ...reading(buckets.revocations),
      ...writing(buckets.revocations),
      ...reading(buckets.policies),
      ...reading(buckets.signals),
      ...writing(buckets.signals),
      ...reading(buckets.leaseKeys),
      ...writing(buckets.leaseKeys),
      ...reading(buckets.assertionKeys),
      ...writing(buckets.assertionKeys),
    ],
    subscribe: [
      `sallyport.policy.* ${queues.policy}`,
      `${subjects.signals} ${queues.policy}`,
      everyInbox('policy'),
      anyRevocation,
    ],
  },
  // Creates the buckets and the stream, and answers everybody.
  registry: {
    publish: ['sallyport.>', '$JS.API.>', '$JS.ACK.>', '$JS.FC.>', '$KV.>'],
    subscribe: ['sallyport.>'],
  },
  // Reads events as they happen and replays the stream; can record, change and delete nothing. `_INBOX` because
  // security teams come with tools of their own; no service uses that prefix.
  auditor: {
    publish: [
      subjects.assertionKeysRequest,
      jetStreamAccountInfo,
      `$JS.API.STREAM.INFO.${streams.audit}`,
      `$JS.API.CONSUMER.CREATE.${streams.audit}.>`,
      `$JS.API.CONSUMER.INFO.${streams.audit}.*`,
      `$JS.API.CONSUMER.MSG.NEXT.${streams.audit}.*`,
      `$JS.API.CONSUMER.DELETE.${streams.audit}.*`,
      `$JS.ACK.${streams.audit}.>`,
      `$JS.FC.${streams.audit}.>`,
    ],
    subscribe: [subjects.audits, everyInbox('auditor'), '_INBOX.>'],
  },
  // A second connection of the registry, to the server's own account, where no message of ours ever is: it hears which
  // connections begin and end, looks for those of a connector, and ends them.
  system: {
    publish: [subjects.endConnection('*'), subjects.listConnections],
    subscribe: [subjects.connectionsBegun, subjects.connectionsEnded, everyInbox('system')],
  },
  // A third one, to the account in which the server asks who a connector is (auth callout), and nothing else is.
  callout: { publish: [], subscribe: [subjects.whoIsIt], answersWithin: '10s' },
  // Outside systems that know of risks and facts. One that shall say less gets a user of its own with a part of this.
  signals: { publish: [subjects.signals], subscribe: [everyInbox('signals')] },
}

/**
 * A connection of a connector ends after so long, or with its certificate: NATS does not look at the certificate again,
 * and nobody could end it while registry is away. The connector makes a new one in good time (connector/residence.ts);
 * what it has open by the old one ends with that, so it must not be short.
 */
export const accessLifetimeMs = 86_400_000

export interface ConnectorIdentity {
  readonly connectorId: string
  /** The connection's own name: the connector itself or one of its workers. */
  readonly memberId: string
  readonly groupId: string
}

/**
 * What one connector may do, or one worker of it: take exchanges of its group as a member of its queue, and speak for
 * itself alone. Static, because `allow_responses` would lose answers when a connection is renewed.
 */
export function connectorPermissions(identity: ConnectorIdentity): Permissions {
  const { connectorId, memberId, groupId } = identity
  return {
    publish: [
      subjects.upFrom(memberId),
      subjects.connectorStatus(groupId, memberId),
      subjects.connectorPace(groupId, memberId),
      subjects.diagnosisReport(memberId),
      subjects.applicationsRequest(groupId),
      subjects.placementRequest(connectorId),
      subjects.renewRequest(connectorId),
      subjects.keysRequest,
    ],
    subscribe: [
      `${subjects.exchangesOf(groupId)} ${queues.connectors(groupId)}`,
      subjects.downTo(memberId),
      subjects.applicationsOf(groupId),
      subjects.paceOf(groupId),
      subjects.diagnosisOf(groupId),
      subjects.wanted(groupId),
      subjects.placementOf(connectorId),
      subjects.keys,
      anyRevocation,
      `${subjects.inbox('connector', memberId)}.>`,
    ],
  }
}

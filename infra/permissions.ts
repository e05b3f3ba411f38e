/**
 * What each role may do on the bus: static allow lists, one user per role, nothing else is allowed. Both the embedded
 * nats-server and deployments are configured from here.
 *
 * They are static on purpose: `allow_responses` costs memory with every request and ends with the connection, so
 * answers go to private inboxes and to `up.<connector>.…`, which have permanent permissions. JetStream answers to
 * whatever reply subject a request names; who may create a consumer on a bucket can thus have its content delivered
 * anywhere. Readers must therefore never take a message for true by its subject alone.
 */

import { buckets, queues, streams, subjects } from './subjects.ts'

export const busRoles = ['gateway', 'connector', 'policy', 'registry', 'auditor', 'system'] as const
export type BusRole = (typeof busRoles)[number]

export interface Permissions {
  readonly publish: readonly string[]
  /** A subject alone, or `subject queue`: then only as a member of that queue group. */
  readonly subscribe: readonly string[]
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
      subjects.signIn,
      subjects.signOut,
      subjects.evaluate,
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
      ...reading(buckets.codes),
      ...writing(buckets.codes),
    ],
    subscribe: [
      'sallyport.up.*.*.*',
      everyInbox('gateway'),
      anyRevocation,
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
      subjects.applicationsRequests,
      subjects.keysRequest,
    ],
    subscribe: [
      'sallyport.exchange.*.* *',
      'sallyport.down.*.*',
      'sallyport.group.*.applications',
      'sallyport.group.*.pace',
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
      anyRevocation,
      auditOf('policy'),
      auditOf('sign-in'),
      subjects.auditBatchEnd,
      jetStreamAccountInfo,
      ...reading(buckets.applications),
      ...reading(buckets.principals),
      ...writing(buckets.principals),
      ...reading(buckets.revocations),
      ...writing(buckets.revocations),
      ...reading(buckets.leaseKeys),
      ...writing(buckets.leaseKeys),
    ],
    subscribe: [`sallyport.policy.* ${queues.policy}`, everyInbox('policy'), anyRevocation],
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
  // connections begin and end, and can say nothing.
  system: { publish: [], subscribe: [subjects.connectionsBegun, subjects.connectionsEnded] },
}

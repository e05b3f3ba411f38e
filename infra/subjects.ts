/**
 * Every subject, queue group, stream and bucket name, as functions. Nothing else builds a name.
 *
 * | subject (after `sallyport.`)                    | from → to                                   | kind |
 * |-------------------------------------------------|---------------------------------------------|------|
 * | `exchange.<group>.<app>`                        | gateway → one connector, queue `<group>`    | request, reply subject only for "no responders" |
 * | `up.<connector>.<gateway>.<exchange>`           | connector → gateway                         | answer frames |
 * | `down.<connector>.<exchange>`                   | gateway → connector                         | body, credit, lease, cancel |
 * | `inbox.<role>.<instance>.>`                     | private reply inboxes                       | |
 * | `policy.sign-in`                                | gateway → policy, queue `policy`            | request |
 * | `policy.evaluate`                               | gateway → policy, queue `policy`            | request |
 * | `revoke.<kind>.<id>`                            | policy, registry → gateways and connectors  | event |
 * | `audit.<category>.<app or ->.<outcome>`         | services → stream AUDIT                     | event |
 * | `audit-batch-end`                               | services → stream AUDIT                     | end of a batch, not stored |
 * | `connector-status.<group>.<connector>`          | connector → registry and gateways           | event |
 * | `connector-gone.<connector>`                    | registry → gateways                         | event |
 * | `connector-pace.<group>.<connector>`            | connector → registry                        | event |
 * | `registry.applications.<group>`                 | connector → registry, queue `registry`      | request |
 * | `group.<group>.applications`                    | registry → connectors of the group          | event |
 * | `group.<group>.pace`                            | registry → connectors of the group          | event |
 * | `group.<group>.wanted`                          | gateway → connectors of the group           | event |
 * | `registry.keys`                                 | connector → registry, queue `registry`      | request |
 * | `keys`                                          | registry → connectors                       | event |
 *
 * A connector of several workers has a name for each of them, `<connector>_<number>`, wherever a subject says
 * `<connector>` (contracts/connector.ts).
 *
 * The server's own: it tells its system account which connections begin and end.
 */

const ROOT = 'sallyport'

/**
 * A value as one subject token: what NATS reserves (dot, star, greater-than, white space, control characters),
 * per cent and everything beyond ASCII is percent-encoded by UTF-8 octet. An empty value becomes `-`.
 */
export function token(value: string): string {
  if (value === '') return '-'
  if (/^[\w-]+$/.test(value)) return value
  return Array.from(Buffer.from(value, 'utf8'), octet =>
    /[\w-]/.test(String.fromCharCode(octet))
      ? String.fromCharCode(octet)
      : `%${octet.toString(16).padStart(2, '0').toUpperCase()}`,
  ).join('')
}

export const subjects = {
  exchange: (group: string, app: string) => `${ROOT}.exchange.${token(group)}.${token(app)}`,
  /** What the connectors of a group subscribe to. */
  exchangesOf: (group: string) => `${ROOT}.exchange.${token(group)}.*`,
  up: (connector: string, gateway: string, exchange: string) =>
    `${ROOT}.up.${token(connector)}.${token(gateway)}.${token(exchange)}`,
  /** Every answer to one gateway; the sender stands in the subject. */
  upTo: (gateway: string) => `${ROOT}.up.*.${token(gateway)}.*`,
  down: (connector: string, exchange: string) =>
    `${ROOT}.down.${token(connector)}.${token(exchange)}`,
  downTo: (connector: string) => `${ROOT}.down.${token(connector)}.*`,
  inbox: (role: string, instance: string) => `${ROOT}.inbox.${token(role)}.${token(instance)}`,
  signIn: `${ROOT}.policy.sign-in`,
  signOut: `${ROOT}.policy.sign-out`,
  evaluate: `${ROOT}.policy.evaluate`,
  revoke: (kind: RevocationKind, id: string) => `${ROOT}.revoke.${kind}.${token(id)}`,
  revocations: `${ROOT}.revoke.>`,
  audit: (category: AuditCategory, app: string | undefined, outcome: string) =>
    `${ROOT}.audit.${category}.${token(app ?? '')}.${token(outcome)}`,
  audits: `${ROOT}.audit.>`,
  /** Ends a batch of audit events: empty, for the stream alone, never stored (infra/audit/batch.ts). */
  auditBatchEnd: `${ROOT}.audit-batch-end`,
  /** Audit events of one kind; what is not given matches everything. */
  auditsLike: (category?: AuditCategory, app?: string, outcome?: string) =>
    `${ROOT}.audit.${category ?? '*'}.${app === undefined ? '*' : token(app)}.${
      outcome === undefined ? '*' : token(outcome)
    }`,
  connectorStatus: (group: string, connector: string) =>
    `${ROOT}.connector-status.${token(group)}.${token(connector)}`,
  connectorStatuses: `${ROOT}.connector-status.*.*`,
  connectorGone: (connector: string) => `${ROOT}.connector-gone.${token(connector)}`,
  connectorsGone: `${ROOT}.connector-gone.*`,
  connectorPace: (group: string, connector: string) =>
    `${ROOT}.connector-pace.${token(group)}.${token(connector)}`,
  connectorPaces: `${ROOT}.connector-pace.*.*`,
  applicationsRequest: (group: string) => `${ROOT}.registry.applications.${token(group)}`,
  applicationsRequests: `${ROOT}.registry.applications.*`,
  applicationsOf: (group: string) => `${ROOT}.group.${token(group)}.applications`,
  paceOf: (group: string) => `${ROOT}.group.${token(group)}.pace`,
  /** The queue of the group is empty although members are alive. */
  wanted: (group: string) => `${ROOT}.group.${token(group)}.wanted`,
  keysRequest: `${ROOT}.registry.keys`,
  keys: `${ROOT}.keys`,
  connectionsBegun: '$SYS.ACCOUNT.*.CONNECT',
  connectionsEnded: '$SYS.ACCOUNT.*.DISCONNECT',
} as const

/** Queue groups: the members of one share its work, each message goes to one of them. */
export const queues = {
  connectors: (group: string) => token(group),
  policy: 'policy',
  registry: 'registry',
} as const

/** JetStream key-value buckets. */
export const buckets = {
  applications: 'applications',
  connectorGroups: 'connector-groups',
  connectors: 'connectors',
  /** Gateways only: encrypted session records. */
  sessions: 'sessions',
  /** Gateways only: one-time codes that carry a session from the portal to an application's host. */
  codes: 'codes',
  /** Policy only: principal and sign-in facts of each session. */
  principals: 'principals',
  revocations: 'revocations',
  /** Public keys that verify access leases, by key id. */
  leaseKeys: 'lease-keys',
} as const

/** What a put to a key publishes to: NATS's own form, for writes that the client library does not offer. */
export const bucketEntry = (bucket: string, key: string) => `$KV.${bucket}.${key}`

export const streams = { audit: 'AUDIT' } as const

export const revocationKinds = ['session', 'user', 'application', 'connector'] as const
export type RevocationKind = (typeof revocationKinds)[number]

export const auditCategories = ['access', 'sign-in', 'policy', 'connector', 'admin'] as const
export type AuditCategory = (typeof auditCategories)[number]

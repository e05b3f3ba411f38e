/**
 * Every subject, queue group, stream and bucket name, as functions. Nothing else builds a name.
 *
 * | subject (after `sallyport.`)                    | from → to                                   | kind |
 * |-------------------------------------------------|---------------------------------------------|------|
 * | `exchange.<group>.<app>`                        | gateway → one connector, queue `<group>`    | request, reply subject only for "no responders" |
 * | `up.<connector>.<gateway>.<exchange>`           | connector → gateway                         | answer frames |
 * | `down.<connector>.<exchange>`                   | gateway → connector                         | body, credit, lease, cancel |
 * | `inbox.<role>.<instance>.>`                     | private reply inboxes                       | |
 * | `policy.sign-in`, `policy.sign-out`             | gateway → policy, queue `policy`            | request |
 * | `policy.evaluate`                               | gateway → policy, queue `policy`            | request |
 * | `policy.what-if`                                | registry → policy, queue `policy`           | request |
 * | `reevaluate`                                    | policy → gateways                           | event: decisions that are to be made anew |
 * | `signal.<kind>.<scope>.<id or ->`               | outside systems → policy, queue `policy`    | event, or request: a risk, groups |
 * | `signal.fact.<scope>.<id or ->.<name>`          | outside systems → policy, queue `policy`    | event, or request: a fact |
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
 * | `registry.placement.<connector>`                | connector → registry, queue `registry`      | request: which group, may it serve |
 * | `placement.<connector>`                         | registry → connector                        | event: ask again; reply subject only for "no responders" |
 * | `registry.enroll`                               | gateway → registry, queue `registry`        | request: a token for a certificate |
 * | `registry.standing`, `registry.readmit`         | gateway → registry, queue `registry`        | request of a connector that is not on the bus: where it stands, renewal |
 * | `registry.renew.<connector>`                    | connector → registry, queue `registry`      | request: the next certificate |
 * | `registry.revocation-list`                      | gateway → registry, queue `registry`        | request: revoked certificates (CRL) |
 * | `registry.keys`                                 | connector → registry, queue `registry`      | request |
 * | `group.<group>.diagnosis`                       | registry → connectors of the group          | event: look at the way to an application |
 * | `diagnosis-report.<connector>`                  | connector → registry                        | event: what it found |
 * | `registry.assertion-keys`                       | anybody → registry, queue `registry`        | request: the JSON Web Key Set of assertions |
 * | `keys`                                          | registry → connectors                       | event |
 * | `misbehaviour.<connector>`                      | gateway → registry, queue `registry`        | request: it shall be cut off |
 *
 * A connector of several workers has a name for each of them, `<connector>_<number>`, wherever a subject says
 * `<connector>` (contracts/connector.ts).
 *
 * The server's own: it tells its system account which connections begin and end, ends them there, and asks registry
 * in an account of its own who a connector is (`$SYS.REQ.USER.AUTH`).
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

/** Stands in `up` and `down` in place of an exchange: what is of several, or of none. */
export const noExchange = token('')

/** What a token stands for; undefined for one that `token` never makes. */
export function fromToken(text: string): string | undefined {
  if (text === '-') return ''
  try {
    const value = decodeURIComponent(text)
    return token(value) === text ? value : undefined
  } catch {
    return undefined
  }
}

export const subjects = {
  exchange: (group: string, app: string) => `${ROOT}.exchange.${token(group)}.${token(app)}`,
  /** What the connectors of a group subscribe to. */
  exchangesOf: (group: string) => `${ROOT}.exchange.${token(group)}.*`,
  up: (connector: string, gateway: string, exchange: string) =>
    `${ROOT}.up.${token(connector)}.${token(gateway)}.${token(exchange)}`,
  /** Every answer to one gateway; the sender stands in the subject. */
  upTo: (gateway: string) => `${ROOT}.up.*.${token(gateway)}.*`,
  /** Whatever a connector answers, to any gateway. */
  upFrom: (connector: string) => `${ROOT}.up.${token(connector)}.*.*`,
  down: (connector: string, exchange: string) =>
    `${ROOT}.down.${token(connector)}.${token(exchange)}`,
  downTo: (connector: string) => `${ROOT}.down.${token(connector)}.*`,
  inbox: (role: string, instance: string) => `${ROOT}.inbox.${token(role)}.${token(instance)}`,
  /** Below a private inbox: where whoever answers also says that it is still at work, at once when it is asked again. */
  patientReply: (inbox: string, name: string) => `${inbox}.patient.${name}`,
  patientReplyAgain: (reply: string) => `${reply}-again`,
  isPatientReply: (subject: string) => subject.includes('.patient.'),
  isPatientReplyAgain: (subject: string) => subject.endsWith('-again'),
  /** Which question it is, however often it is asked. */
  patientQuestion: (reply: string) => reply.replace(/-again$/, ''),
  signIn: `${ROOT}.policy.sign-in`,
  signOut: `${ROOT}.policy.sign-out`,
  evaluate: `${ROOT}.policy.evaluate`,
  whatIf: `${ROOT}.policy.what-if`,
  reevaluate: `${ROOT}.reevaluate`,
  /** What outside systems say; `name` is that of a fact. */
  signal: (kind: string, scope: string, id: string, name?: string) =>
    [`${ROOT}.signal.${kind}.${scope}.${token(id)}`, ...(name === undefined ? [] : [name])].join(
      '.',
    ),
  signals: `${ROOT}.signal.>`,
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
  diagnosisOf: (group: string) => `${ROOT}.group.${token(group)}.diagnosis`,
  diagnosisReport: (connector: string) => `${ROOT}.diagnosis-report.${token(connector)}`,
  diagnosisReports: `${ROOT}.diagnosis-report.*`,
  placementRequest: (connector: string) => `${ROOT}.registry.placement.${token(connector)}`,
  placementRequests: `${ROOT}.registry.placement.*`,
  /** Told to a connector, by its id and not by its workers': it belongs elsewhere now, or may not serve. */
  placementOf: (connector: string) => `${ROOT}.placement.${token(connector)}`,
  enrolRequest: `${ROOT}.registry.enroll`,
  standingRequest: `${ROOT}.registry.standing`,
  readmitRequest: `${ROOT}.registry.readmit`,
  renewRequest: (connector: string) => `${ROOT}.registry.renew.${token(connector)}`,
  renewRequests: `${ROOT}.registry.renew.*`,
  revocationListRequest: `${ROOT}.registry.revocation-list`,
  keysRequest: `${ROOT}.registry.keys`,
  assertionKeysRequest: `${ROOT}.registry.assertion-keys`,
  keys: `${ROOT}.keys`,
  connectionsBegun: '$SYS.ACCOUNT.SALLYPORT.CONNECT',
  connectionsEnded: '$SYS.ACCOUNT.SALLYPORT.DISCONNECT',
  /** Every server answers with the connections that match. */
  listConnections: '$SYS.REQ.SERVER.PING.CONNZ',
  /** To one server, with the number of a connection of it. Does nothing unless it is a request. */
  endConnection: (serverId: string) => `$SYS.REQ.SERVER.${serverId}.KICK`,
  /** A server asks whom a connection with a client certificate belongs to, and what it may do. */
  whoIsIt: '$SYS.REQ.USER.AUTH',
  /** A gateway has seen a connector do what none does by mistake. */
  misbehaviour: (connector: string) => `${ROOT}.misbehaviour.${token(connector)}`,
  misbehaviours: `${ROOT}.misbehaviour.*`,
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
  /** Conditional access policies and the named locations that they use. */
  policies: 'policies',
  /** What outside systems have said: risks, facts, groups of users. */
  signals: 'signals',
  /** Public keys that verify access leases, by key id. */
  leaseKeys: 'lease-keys',
  /** Public keys that verify signed assertions to applications, by key id. */
  assertionKeys: 'assertion-keys',
  /** Registry only: one-time tokens of connectors, without their secrets, and what became of them. */
  enrolmentTokens: 'enrolment-tokens',
  /** Registry only: administrators' consents to renew an expired certificate, by connector. */
  enrolmentConsents: 'enrolment-consents',
  /** Registry only: certificates of connectors that are not honoured any more, by serial number. */
  revokedCertificates: 'revoked-certificates',
} as const

/** What a put to a key publishes to: NATS's own form, for writes that the client library does not offer. */
export const bucketEntry = (bucket: string, key: string) => `$KV.${bucket}.${key}`

export const streams = { audit: 'AUDIT' } as const

export const revocationKinds = ['session', 'user', 'application', 'connector'] as const
export type RevocationKind = (typeof revocationKinds)[number]

export const auditCategories = ['access', 'sign-in', 'policy', 'connector', 'admin'] as const
export type AuditCategory = (typeof auditCategories)[number]

/**
 * An application, as it rests in the bucket `applications` (RegisteredApplication: published or not yet) and as
 * gateways, connectors and policy see it (Application: published; there are no others for them). Property names are
 * Microsoft Graph's (resources `application` and `onPremisesPublishing`) where Graph has them.
 */

import { z } from 'zod'
import { CorsConfiguration, corsConfigurationsOf } from './cors.ts'
import { AllowedHttpMethods } from './http-methods.ts'
import { originTlsSettings } from './origin-tls.ts'
import { SingleSignOnSettings } from './sign-on.ts'

/** Identifiers that also stand in subjects and host names: a DNS label. */
export const Slug = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be 1 to 63 lower-case letters, digits or hyphens, and begin and end with a letter or digit',
  )

const HttpUrl = z.url({
  protocol: /^https?$/,
  error: ({ input }) =>
    input === undefined ? 'is required' : 'must be an http:// or https:// URL',
})

/** Directory URL without query, fragment or user info; its path ends with a slash (Entra demands the same). */
const DirectoryUrl = HttpUrl.refine(
  value => {
    const url = URL.parse(value)
    // That it is none has been said.
    if (url === null) return true
    return url.search === '' && url.hash === '' && url.username === '' && url.password === ''
  },
  { error: 'must have no query, fragment, user or password' },
).transform(value => {
  const url = new URL(value)
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url.href
})

/** `https://*.example.com/` publishes every host below a domain; other stars are refused. */
const ExternalUrl = z
  .string()
  .refine(
    value => {
      const wildcard = /^https?:\/\/\*\./.test(value)
      return wildcard ? !value.slice(value.indexOf('*') + 1).includes('*') : !value.includes('*')
    },
    { error: 'may have a star only as its whole first host label, as in https://*.example.com/' },
  )
  .pipe(DirectoryUrl)

/** What Graph's names stand for, as the longest silence of an origin. No exchange as a whole has a limit. */
export const applicationServerTimeoutsMs = { default: 85_000, long: 180_000 } as const

const connectTimeoutMs = 10_000

/** Exports of Graph spell the names either way. */
const ApplicationServerTimeout = z
  .enum(['default', 'long', 'Default', 'Long'])
  .transform(name => name.toLowerCase() as 'default' | 'long')
  .describe('Time to first byte and idle time, where these are not set: 85 s, or 180 s with long.')

const Seconds = (most: number, description: string) => {
  const error = `must be a whole number of seconds from 1 to ${most}, or null for the default`
  const seconds = z.int({ error }).min(1, { error }).max(most, { error })
  return seconds.nullable().describe(description).default(null)
}

const aDay = 86_400

/**
 * A public key of policy is known for nine minutes after the end of its process, and its last lease may live for one of
 * them. What was signed with a key that nobody knows any more is refused, so more minutes would not be kept.
 */
export const maxLastLeaseMinutes = 8

const minutesError = `must be a whole number of minutes from 1 to ${maxLastLeaseMinutes}`

export const OnPremisesPublishing = z.object({
  externalUrl: ExternalUrl,
  internalUrl: DirectoryUrl,
  /** `aadPreAuthentication`: signed-in users only. `passthru`: everybody; policy, lease and audit stay. */
  externalAuthenticationType: z
    .enum(['aadPreAuthentication', 'passthru'])
    .default('aadPreAuthentication'),
  applicationServerTimeout: ApplicationServerTimeout.default('default'),
  connectTimeoutInSeconds: Seconds(
    600,
    'How long a TCP and TLS connection to the application may take to be there. Null: 10 s.',
  ),
  firstByteTimeoutInSeconds: Seconds(
    aDay,
    'From the end of the request to the head of the answer. Null: as applicationServerTimeout says.',
  ),
  idleTimeoutInSeconds: Seconds(
    aDay,
    'How long no byte may go either way within a body, while the application has to send or to take ' +
      'some. Null: as applicationServerTimeout says.',
  ),
  streamIdleTimeoutInSeconds: Seconds(
    7 * aDay,
    'The same for what may be quiet for long: WebSockets and other upgraded connections, ' +
      'server-sent events, gRPC. Null: no limit.',
  ),
  whenPolicyIsUnavailable: z
    .enum(['failClosed', 'lastLease'], { error: 'must be failClosed or lastLease' })
    .describe(
      'What becomes of a lease that ends while no policy service answers. failClosed: access ends with it. ' +
        'lastLease: who has one goes on for lastLeaseMinutes at most, unless it is revoked or something ' +
        'changes that policy would have to decide on; nobody else is let in.',
    )
    .default('failClosed'),
  lastLeaseMinutes: z
    .int({ error: minutesError })
    .min(1, { error: minutesError })
    .max(maxLastLeaseMinutes, { error: minutesError })
    .describe('For how long after its end the last lease may be used, where lastLease is set.')
    .default(5),
  isBackendCertificateValidationEnabled: z.boolean().default(true),
  ...originTlsSettings,
  /** What the origin speaks; `http2` is negotiated over TLS, and spoken from the first byte without (h2c). */
  originHttpVersion: z.enum(['http1', 'http2']).default('http1'),
  allowedHttpMethods: AllowedHttpMethods.describe(
    'Methods that reach the application, or ["*"] for any. Null: those of RFC 9110, PATCH, QUERY and ' +
      "WebDAV's. The Remote Desktop Gateway's (RDG_IN_DATA, RDG_OUT_DATA, RPC_IN_DATA, RPC_OUT_DATA) " +
      'have to be named.',
  ).default(null),
  isHttpOnlyCookieEnabled: z.boolean().default(true),
  /** The access cookie is always Secure; Graph's property is kept so that exports load. */
  isSecureCookieEnabled: z
    .literal(true, { error: 'must be true: the access cookie is always Secure' })
    .default(true),
  isPersistentCookieEnabled: z.boolean().default(false),
  corsConfigurations: corsConfigurationsOf(CorsConfiguration)
    .describe(
      'Pages of which other origins may ask the application with the session of their user: by scripts (CORS), ' +
        'forms and WebSockets. Each entry adds to the others.',
    )
    .default([]),
  /** True: the origin sees its own host name. False: it sees the external one. */
  isTranslateHostHeaderEnabled: z.boolean().default(true),
  /** Null is none. */
  singleSignOnSettings: SingleSignOnSettings.nullable()
    .describe(
      'How the connector signs users on: none, Kerberos constrained delegation, headers from claims, ' +
        'a signed assertion. Headers and an assertion may go along with another mode.',
    )
    .default(null),
})
export type OnPremisesPublishing = z.output<typeof OnPremisesPublishing>

/** The time-outs of an application towards its origin, in ms; infinite for none. */
export function originTimeoutsMs(publishing: OnPremisesPublishing) {
  const usualMs = applicationServerTimeoutsMs[publishing.applicationServerTimeout]
  const ms = (seconds: number | null, otherwise: number) =>
    seconds === null ? otherwise : seconds * 1_000
  return {
    connect: ms(publishing.connectTimeoutInSeconds, connectTimeoutMs),
    firstByte: ms(publishing.firstByteTimeoutInSeconds, usualMs),
    idle: ms(publishing.idleTimeoutInSeconds, usualMs),
    streamIdle: ms(publishing.streamIdleTimeoutInSeconds, Number.POSITIVE_INFINITY),
  }
}

/** Graph's `appRoleAssignment`, reduced to what an assignment says: this user or group may use the application. */
export const AppRoleAssignment = z.object({
  id: z.string().min(1),
  principalType: z.enum(['User', 'Group']),
  /** User principal name of a user, or name of a group as the identity provider's `groups` claim spells it. */
  principalId: z.string().min(1).max(256),
  createdDateTime: z.iso.datetime(),
})
export type AppRoleAssignment = z.output<typeof AppRoleAssignment>

export const RegisteredApplication = z.object({
  /** The name that stands in subjects, audit events and host names. Never changes. */
  id: Slug,
  /** Identifier that policies exported from elsewhere may use in place of `id`. */
  appId: z.uuid(),
  displayName: z.string().min(1).max(256),
  createdDateTime: z.iso.datetime(),
  /** Graph's switch on `servicePrincipal`: false lets every signed-in user in, true only those assigned. */
  appRoleAssignmentRequired: z.boolean().default(true),
  appRoleAssignments: z.array(AppRoleAssignment).max(10_000).default([]),
  connectorGroupId: Slug.default('default'),
  /** Serves it while nobody of its own group is online, or can reach it. */
  standbyConnectorGroupId: Slug.nullable().default(null),
  /** Null while it is published nowhere: it can be assigned and moved, and nobody can reach it. */
  onPremisesPublishing: OnPremisesPublishing.nullable().default(null),
})
export type RegisteredApplication = z.output<typeof RegisteredApplication>

export const Application = RegisteredApplication.extend({
  onPremisesPublishing: OnPremisesPublishing,
})
export type Application = z.output<typeof Application>

/** The groups whose connectors may serve an application, its own first. */
export function groupIdsOf({
  connectorGroupId,
  standbyConnectorGroupId,
}: Pick<RegisteredApplication, 'connectorGroupId' | 'standbyConnectorGroupId'>): string[] {
  return standbyConnectorGroupId === null
    ? [connectorGroupId]
    : [connectorGroupId, standbyConnectorGroupId]
}

export function isPublished(application: RegisteredApplication): application is Application {
  return application.onPremisesPublishing !== null
}

/** An entry of the bucket for those who serve applications: undefined, which leaves it out, while it is not published. */
export const PublishedEntry = RegisteredApplication.transform(application =>
  isPublished(application) ? application : undefined,
)

/**
 * How connectors learn the applications of their group. A list may be far larger than a message of the bus, so it is
 * read in pages, and later only what has changed is told, asked for or not. The version is the bucket's revision.
 *
 * Pages may be of different versions. Whoever has read all of them asks what has changed since the oldest one, until
 * the answer is as new as the newest one: then all of the list is of one version. Nothing before that is a list.
 */
const ListVersion = z.int().nonnegative()

export const ApplicationsRequest = z.object({
  /** What has changed since this version? When the registry does not know, it answers with the first page. */
  since: ListVersion.optional(),
  /** The page that begins after this id; without either of both, the first one. */
  after: Slug.optional(),
})
export type ApplicationsRequest = z.output<typeof ApplicationsRequest>

export const ApplicationPage = z.object({
  kind: z.literal('page'),
  version: ListVersion,
  /** Ordered by id. */
  applications: z.array(Application),
  /** Whether this is the last page; otherwise the next one begins after the last id of this one. */
  isLast: z.boolean(),
})
export type ApplicationPage = z.output<typeof ApplicationPage>

/** Makes any version from `since` on to `version`; whoever has an older one has missed something, and asks. */
export const ApplicationChanges = z.object({
  kind: z.literal('changes'),
  since: ListVersion,
  version: ListVersion,
  /** New in the group, or changed, as they are now. */
  changed: z.array(Application),
  /** No longer in the group, or not published any more. */
  removed: z.array(Slug),
})
export type ApplicationChanges = z.output<typeof ApplicationChanges>

export const ApplicationsReply = z.discriminatedUnion('kind', [ApplicationPage, ApplicationChanges])
export type ApplicationsReply = z.output<typeof ApplicationsReply>

/** What the registry signs of it (infra/statement.ts), so that no other group's list passes for it. */
export const ApplicationsStatement = z.object({ group: Slug, said: ApplicationsReply })
export type ApplicationsStatement = z.output<typeof ApplicationsStatement>

/** Whether a signed-in user may use an application as far as assignments go; policy has the last word. */
export function isAssigned(
  application: Application,
  user: { readonly userPrincipalName: string; readonly groups: readonly string[] },
): boolean {
  if (!application.appRoleAssignmentRequired) return true
  const name = user.userPrincipalName.toLowerCase()
  return application.appRoleAssignments.some(({ principalType, principalId }) =>
    principalType === 'User'
      ? principalId.toLowerCase() === name
      : user.groups.includes(principalId),
  )
}

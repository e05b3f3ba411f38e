/** Who is signed in, and the facts of a request that access is decided on. */

import { z } from 'zod'

/** A device as Graph's resource `device` names its properties; who says so is the identity provider. */
export const Device = z.record(
  z.string().max(64),
  z.union([z.string().max(512), z.boolean(), z.array(z.string().max(512)).max(100)]),
)
export type Device = z.output<typeof Device>

export const Principal = z.object({
  /** `sub` of the identity provider. */
  subject: z.string().min(1).max(512),
  userPrincipalName: z.string().min(1).max(512),
  displayName: z.string().max(512),
  mail: z.string().max(512).optional(),
  groups: z.array(z.string().max(256)).max(2_000),
  /** RFC 8176 authentication methods and the authentication context class of the sign-in. */
  amr: z.array(z.string().max(64)).max(32),
  acr: z.string().max(256).optional(),
  /** When the user really authenticated, Unix time in seconds; 0 when the provider does not say. */
  authTime: z.number().int(),
  /** The identity provider's own session, for its back-channel logout. */
  providerSessionId: z.string().max(256).optional(),
  /** Further claims for sign-on to applications, under the names that SALLYPORT_POLICY_CLAIMS gives them. */
  claims: z.record(z.string().max(64), z.array(z.string().max(512)).max(100)).optional(),
  issuer: z.string().max(512),
  /** `oid` and `wids` or `roles` of the ID token: what policies exported from Entra name users and roles by. */
  objectId: z.string().max(256).optional(),
  roles: z.array(z.string().max(256)).max(500).optional(),
  /** Left out when the provider does not say. */
  isGuest: z.boolean().optional(),
  device: Device.optional(),
})
export type Principal = z.output<typeof Principal>

/** What the gateway saw of a request; the same fingerprint needs no new decision while its lease lives. */
export const RequestFacts = z.object({
  clientAddress: z.string().max(64),
  /** Graph's conditionalAccessClientApp: a browser, or anything else that speaks HTTP. */
  clientAppType: z.enum(['browser', 'mobileAppsAndDesktopClients', 'other']),
  /** Graph's conditionalAccessDevicePlatform. */
  devicePlatform: z.enum([
    'android',
    'iOS',
    'windows',
    'windowsPhone',
    'macOS',
    'linux',
    'unknown',
  ]),
  userAgent: z.string().max(512),
})
export type RequestFacts = z.output<typeof RequestFacts>

/** A session lives this long at most, however it is used. */
export const sessionLifetimeMs = 8 * 3_600_000

/** A session as policy keeps it (bucket `principals`, under a hash of the session id). */
export const SessionFacts = z.object({
  principal: Principal,
  /** What the gateway saw when the user signed in. */
  facts: RequestFacts,
  signedInAtMs: z.number().int(),
  expiresAtMs: z.number().int(),
})
export type SessionFacts = z.output<typeof SessionFacts>

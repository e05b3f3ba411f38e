/**
 * How a connector gets into an installation: the one-time token, and what it asks of the registry before it is on the
 * bus (through the gateway) and on it. The token's key never travels: it signs the request for a certificate, so a
 * proxy that reads along can neither use the token nor put another key in the place of the connector's.
 */

import { z } from 'zod'
import { Slug } from './application.ts'
import { connectorIdPattern } from './connector.ts'

/** A token is good for so long at most. */
export const longestTokenMs = 3_600_000

/** The registry remembers for so long after its end what became of a token. */
export const tokenMemoryMs = 86_400_000

/** An expired certificate may be renewed for so long, when an administrator allows it. */
export const renewalGraceMs = 90 * 86_400_000

/** How long an administrator's consent to the renewal of an expired certificate waits for the connector. */
export const consentMs = 86_400_000

/** A connector's clock may be so far from the registry's: certificates begin two hours before they are made. */
export const maxClockErrorMs = 90 * 60_000

export const tokenPrefix = 'sallyport-connector-'

/** More than any token or answer has. */
export const maxTokenChars = 4_096
export const maxDoorBytes = 32 * 1024

const ConnectorId = z.string().regex(connectorIdPattern)
const octets32 = z.string().regex(/^[\w-]{43}$/)

/** The part after the prefix, as base64url JSON. */
export const TokenContent = z.strictObject({
  v: z.literal(1),
  id: z.string().regex(/^[\w-]{22}$/),
  /** Where to enrol: the portal. */
  url: z.url({ protocol: /^https?$/ }),
  /** Of the root's public key. */
  pin: octets32,
  group: Slug,
  /** Unix time in seconds. */
  exp: z.number().int().positive(),
  /** Seed of an Ed25519 key. */
  key: octets32,
})
export type TokenContent = z.output<typeof TokenContent>

/** A token as the registry keeps it (bucket `enrolment-tokens`): nothing in it lets anybody enrol. */
export const EnrolmentToken = z.object({
  id: TokenContent.shape.id,
  connectorGroupId: Slug,
  createdDateTime: z.iso.datetime(),
  expiresDateTime: z.iso.datetime(),
  /** Ed25519, base64url of its 32 octets. */
  publicKey: octets32,
  /** Who used it, with which key: the same one may ask again, when the answer was lost. */
  used: z
    .object({ connectorId: ConnectorId, spki: octets32, dateTime: z.iso.datetime() })
    .nullable(),
})
export type EnrolmentToken = z.output<typeof EnrolmentToken>

const Pem = z.string().max(8_192)
const Machine = { machineName: z.string().max(253), version: z.string().max(64) }

/** POST /.sallyport/connectors/enroll. */
export const EnrolRequest = z.strictObject({
  tokenId: TokenContent.shape.id,
  /** PKCS #10 as PEM. */
  signingRequest: Pem,
  /** Ed25519 signature of the token's key over the DER of the signing request, base64url. */
  signature: z.string().regex(/^[\w-]{86}$/),
  /** The name that it wishes for; made up when it is left out. */
  connectorId: ConnectorId.optional(),
  /** The connector's own clock, Unix time in ms. */
  clockMs: z.number(),
  ...Machine,
})
export type EnrolRequest = z.output<typeof EnrolRequest>

/** POST /.sallyport/connectors/status and /renew: a JWS (RFC 7515) by the connector's key, its certificate in `x5c`. */
export const SignedRequest = z.strictObject({ request: z.string().max(16_384) })
export type SignedRequest = z.output<typeof SignedRequest>

export const signedRequestType = 'sallyport-connector+jws'

/** A signed request to renew is good for so long. */
export const signedRequestMs = 5 * 60_000

/** Payload of a signed request. */
export const ConnectorStatement = z.discriminatedUnion('purpose', [
  z.strictObject({ purpose: z.literal('status'), clockMs: z.number() }),
  z.strictObject({ purpose: z.literal('renew'), clockMs: z.number(), signingRequest: Pem }),
])
export type ConnectorStatement = z.output<typeof ConnectorStatement>

/** What the gateway adds to what it passes on. */
export const fromAddress = { clientAddress: z.string().max(64) }

/** Where a connector belongs and finds the bus; `time` is the registry's clock, Unix time in ms. */
export const Standing = z.object({
  connectorId: ConnectorId,
  connectorGroupId: Slug,
  busUrls: z.array(z.string().max(512)).max(32),
  time: z.number(),
  /** Its certificate is over, or its record is: it needs a new one, which an administrator has to have allowed. */
  mustRenew: z.boolean().default(false),
})
export type Standing = z.output<typeof Standing>

/** Answer to enrolling and renewing. */
export const Issued = Standing.extend({
  /** The connector's first, up to and with the root. */
  certificate: z.string().max(32_768),
})
export type Issued = z.output<typeof Issued>

/** Request on `registry.renew.<connector>`: whose it is says the subject. */
export const RenewRequest = z.strictObject({ signingRequest: Pem })
export type RenewRequest = z.output<typeof RenewRequest>

/** Consent to the renewal of an expired certificate (bucket `enrolment-consents`, by connector id). */
export const RenewalConsent = z.object({
  connectorId: ConnectorId,
  /** For a connector that the registry has forgotten meanwhile. */
  connectorGroupId: Slug,
  createdDateTime: z.iso.datetime(),
})
export type RenewalConsent = z.output<typeof RenewalConsent>

/** A certificate that is not honoured any more (bucket `revoked-certificates`, by serial number). */
export const RevokedCertificate = z.object({
  serialNumber: z.string().regex(/^[0-9A-F]{1,40}$/),
  connectorId: ConnectorId,
  notAfter: z.iso.datetime(),
  revokedDateTime: z.iso.datetime(),
})
export type RevokedCertificate = z.output<typeof RevokedCertificate>

/** Answer to `registry.revocation-list`: a CRL (RFC 5280) as base64 of its DER. */
export const RevocationListReply = z.object({ list: z.base64() })

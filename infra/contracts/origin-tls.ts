/**
 * How an application's origin proves who it is, beyond Graph's switch: its own authorities in place of the public ones,
 * the name that its certificate has to be for, and pins. All that is set has to hold. With certificate validation
 * switched off, pins alone still do: that is how a certificate that nobody vouches for is trusted.
 */

import { X509Certificate } from 'node:crypto'
import { z } from 'zod'

const maxBundleChars = 32 * 1024
const maxPins = 8

const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** PEM certificates, one or more, and nothing that is a secret. */
const AuthorityBundle = z
  .string()
  .max(maxBundleChars, `must have at most ${maxBundleChars} characters`)
  .refine(pem => !/PRIVATE KEY/.test(pem), {
    error: 'must not hold a private key: everybody who administers applications can read it',
    abort: true,
  })
  .refine(isBundle, { error: 'must be one or more certificates in PEM' })

const HostName = z
  .string()
  .regex(
    /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*$/i,
    'must be a host name, without port and scheme',
  )
  .transform(name => name.toLowerCase())

/** SHA-256 of a certificate or of its public key, as openssl prints it (with colons), in hex, or in base64. */
const Pin = z
  .string()
  .max(100)
  .transform((text, context) => {
    const hex = text
      .replace(/^sha256(\/\/?|:)/i, '')
      .replaceAll(':', '')
      .toLowerCase()
    if (/^[0-9a-f]{64}$/.test(hex)) return hex
    const base64 = text.replace(/^sha256\/\/?/i, '')
    const octets = Buffer.from(base64, /[-_]/.test(base64) ? 'base64url' : 'base64')
    if (/^[\w+/-]{43}=?$/.test(base64) && octets.length === 32) return octets.toString('hex')
    context.addIssue('must be the SHA-256 of a certificate or of its public key, in hex or base64')
    return z.NEVER
  })

/** Properties of an application's onPremisesPublishing. */
export const originTlsSettings = {
  originCertificateAuthorities: AuthorityBundle.nullable()
    .describe(
      'Certificates (PEM) of the authorities that may vouch for the application, in place of the public ones.',
    )
    .default(null),
  originServerName: HostName.nullable()
    .describe(
      "Name that is asked for (SNI) and that the application's certificate has to be for. Null: the host of internalUrl.",
    )
    .default(null),
  originCertificatePins: z
    .array(Pin)
    .min(1, 'must name a pin; null is for none')
    .max(maxPins)
    .nullable()
    .describe(
      "SHA-256 of the application's certificate or of its public key, in hex or base64; one of them has to match.",
    )
    .default(null),
}

function isBundle(pem: string): boolean {
  const blocks = pem.match(certificateBlock) ?? []
  const rest = pem.replace(certificateBlock, '')
  if (blocks.length === 0 || /-----(BEGIN|END)/.test(rest)) return false
  return blocks.every(block => {
    try {
      return new X509Certificate(block).raw.length > 0
    } catch {
      return false
    }
  })
}

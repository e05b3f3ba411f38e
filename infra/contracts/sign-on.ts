/**
 * How the connector signs a user on to an application: `singleSignOnSettings` of its publishing. Names and values are
 * Microsoft Graph's (`onPremisesPublishingSingleSignOn`, `kerberosSignOnSettings`) where Graph has them; headers and
 * signed assertions are told in the same style. What may go together is the registry's to check (sign-on-rules.ts).
 */

import { z } from 'zod'

/** Service, host and perhaps port. A realm, an escape or a third component would be read differently by libkrb5. */
const servicePrincipalName =
  /^[A-Za-z0-9_-]{1,64}\/[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?(?::\d{1,5})?$/

export const ServicePrincipalName = z
  .string()
  .regex(
    servicePrincipalName,
    'must be a service and a host, as in HTTP/intranet.corp.example, without a realm',
  )

/** Which of the user's names is asked for in the directory. */
export const kerberosMappings = [
  'userPrincipalName',
  'onPremisesUserPrincipalName',
  'userPrincipalUsername',
  'onPremisesUserPrincipalUsername',
  'onPremisesSAMAccountName',
] as const
export type KerberosMapping = (typeof kerberosMappings)[number]

export const FieldName = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'must be a header name, as in X-Remote-User')

const maxPatternChars = 200

const Pattern = z
  .string()
  .min(1)
  .max(maxPatternChars)
  .refine(isPattern, { error: 'must be a regular expression of JavaScript' })

function isPattern(pattern: string): boolean {
  try {
    return new RegExp(pattern, 'u') instanceof RegExp
  } catch {
    return false
  }
}

/** zod's own, or the one that refuses properties that it does not know. */
type ObjectOf = typeof z.object

const transform = (object: ObjectOf) =>
  z.discriminatedUnion('type', [
    object({ type: z.literal('lower') }),
    /** `alice` of alice@corp.example and of CORP\alice. */
    object({ type: z.literal('stripDomain') }),
    /** What does not match is left out; without a replacement the first group, or the whole match, is taken. */
    object({
      type: z.literal('regex'),
      pattern: Pattern,
      replacement: z.string().max(maxPatternChars).optional(),
    }),
    /** Keeps the values that are named; a star stands for any characters. */
    object({
      type: z.literal('groupFilter'),
      groups: z.array(z.string().min(1).max(256)).max(200),
    }),
    object({ type: z.literal('join'), separator: z.string().max(16).default(',') }),
    object({ type: z.literal('base64') }),
  ])

const settings = (object: ObjectOf) =>
  object({
    /** Exports of Graph spell the header mode in two ways. */
    singleSignOnMode: z
      .enum(['none', 'onPremisesKerberos', 'aadHeaderBased', 'headerBased', 'signedAssertion'], {
        error:
          'must be none, onPremisesKerberos, aadHeaderBased or signedAssertion; others are not enforced by Sallyport',
      })
      .transform(mode => (mode === 'headerBased' ? 'aadHeaderBased' : mode))
      .default('none'),
    kerberosSignOnSettings: object({
      kerberosServicePrincipalName: ServicePrincipalName,
      kerberosSignOnMappingAttributeType: z.enum(kerberosMappings).default('userPrincipalName'),
      /** `kerberos`: the token without its SPNEGO envelope. */
      kerberosTokenFormat: z.enum(['spnego', 'kerberos']).default('spnego'),
      /** An answer without the application's own proof is refused; a false proof always is. */
      isMutualAuthenticationRequired: z.boolean().default(false),
    })
      .nullable()
      .default(null),
    headerSignOnSettings: object({
      headers: z
        .array(
          object({
            name: FieldName,
            /** A property of the principal (`userPrincipalName`, `groups` …) or one of its further claims. */
            claim: z.string().min(1).max(64),
            transforms: z.array(transform(object)).max(10).default([]),
          }),
        )
        .min(1)
        .max(50),
    })
      .nullable()
      .default(null),
    assertionSignOnSettings: object({
      headerName: FieldName.default('Sallyport-Assertion'),
      algorithm: z.enum(['EdDSA', 'ES256']).default('EdDSA'),
      /** `aud` of the assertion; null for the application's id. */
      audience: z.string().min(1).max(256).nullable().default(null),
    })
      .nullable()
      .default(null),
  })

/** As connectors and policy read them. */
export const SingleSignOnSettings = settings(z.object)
export type SingleSignOnSettings = z.output<typeof SingleSignOnSettings>

/** As an administrator writes them: what is not known is refused by its name. */
export const SingleSignOnInput = settings(z.strictObject as ObjectOf)

export type KerberosSettings = NonNullable<SingleSignOnSettings['kerberosSignOnSettings']>
export type HeaderSettings = NonNullable<SingleSignOnSettings['headerSignOnSettings']>
export type SignOnHeader = HeaderSettings['headers'][number]
export type Transform = SignOnHeader['transforms'][number]
export type AssertionSettings = NonNullable<SingleSignOnSettings['assertionSignOnSettings']>

/** Whether a value is one of those named, where a star stands for any characters. Linear, whatever the value. */
export function matchesName(named: string, value: string): boolean {
  const [first = '', ...rest] = named.split('*')
  const last = rest.pop()
  if (last === undefined) return named === value
  if (!value.startsWith(first)) return false
  let at = first.length
  for (const part of rest) {
    const found = value.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return value.length - last.length >= at && value.endsWith(last)
}

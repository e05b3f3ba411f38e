/** What a policy service reads from its environment. */

import { z } from 'zod'
import { BusUrl, Flag, monitoringPlace, Port, Redaction, WholeNumber } from '#infra/config.ts'
import { leaseLifetimeMs } from '#infra/contracts/policy.ts'
import { logLevels } from '#infra/log.ts'
import { FurtherClaims } from './further-claims.ts'

/** Those of the embedded provider, of older OpenID providers, and of OpenID's EAP ACR values. */
const multifactorAcrValues = [
  'urn:sallyport:acr:mfa',
  'http://schemas.openid.net/pape/policies/2007/06/multi-factor',
  'phr',
  'phrh',
]

export const PolicyConfig = z
  .object({
    SALLYPORT_BUS_URL: BusUrl,
    SALLYPORT_BUS_CA_PATH: z.string().optional(),
    SALLYPORT_LOG_LEVEL: z.enum(logLevels).default('info'),
    SALLYPORT_AUDIT_REDACT: Redaction,
    /** Metrics and readiness; without a port there are none. */
    SALLYPORT_POLICY_MONITORING_HOST: z.string().default('127.0.0.1'),
    SALLYPORT_POLICY_MONITORING_PORT: Port.optional(),
    SALLYPORT_POLICY_IDENTITY_PROVIDER: z.url({
      protocol: /^https?$/,
      error: 'must be the issuer URL of an OpenID provider, as in https://login.example.com/',
    }),
    /** The audience of ID tokens: the same client as the gateways'. */
    SALLYPORT_POLICY_CLIENT_ID: z.string(),
    SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: Flag.default(false),
    /** Seconds that access goes on when policy cannot be asked any more; connectors take no longer leases. */
    SALLYPORT_POLICY_LEASE_SECONDS: WholeNumber(2, leaseLifetimeMs / 1_000).default(
      leaseLifetimeMs / 1_000,
    ),
    /** What the provider calls a sign-in with a second factor: asked for as `acr_values`, accepted as `acr`. */
    SALLYPORT_POLICY_MULTIFACTOR_ACR_VALUES: z
      .string()
      .transform(text => text.split(/[\s,]+/).filter(value => value !== ''))
      .default(multifactorAcrValues),
    /** MMDB file that says which country an address belongs to; read again when it changes. */
    SALLYPORT_POLICY_COUNTRY_DATABASE_PATH: z.string().optional(),
    /** Further claims of the ID token for sign-on to applications. */
    SALLYPORT_POLICY_CLAIMS: FurtherClaims,
    /** Where audit events wait while the bus is away; left out, they wait in memory only. */
    SALLYPORT_POLICY_AUDIT_SPILL_PATH: z.string().optional(),
  })
  .refine(
    env =>
      env.SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER === true ||
      env.SALLYPORT_POLICY_IDENTITY_PROVIDER.startsWith('https:'),
    {
      path: ['SALLYPORT_POLICY_IDENTITY_PROVIDER'],
      error:
        'must be https; for trying out, SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER=true allows http',
      // Whatever else is wrong, this is reported with it.
      when: ({ value }) => URL.canParse(Object(value).SALLYPORT_POLICY_IDENTITY_PROVIDER),
    },
  )
  .transform(env => ({
    auditRedacted: env.SALLYPORT_AUDIT_REDACT,
    monitoring: monitoringPlace(
      env.SALLYPORT_POLICY_MONITORING_HOST,
      env.SALLYPORT_POLICY_MONITORING_PORT,
    ),
    busUrl: env.SALLYPORT_BUS_URL,
    busCaPath: env.SALLYPORT_BUS_CA_PATH,
    logLevel: env.SALLYPORT_LOG_LEVEL,
    identityProvider: {
      issuer: env.SALLYPORT_POLICY_IDENTITY_PROVIDER,
      clientId: env.SALLYPORT_POLICY_CLIENT_ID,
      trustsPlainHttp: env.SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER,
      furtherClaims: env.SALLYPORT_POLICY_CLAIMS,
    },
    leaseLifetimeMs: env.SALLYPORT_POLICY_LEASE_SECONDS * 1_000,
    multifactorAcrValues: env.SALLYPORT_POLICY_MULTIFACTOR_ACR_VALUES,
    countryDatabaseFile: env.SALLYPORT_POLICY_COUNTRY_DATABASE_PATH,
    auditSpillFile: env.SALLYPORT_POLICY_AUDIT_SPILL_PATH,
  }))
export type PolicyConfig = Readonly<z.output<typeof PolicyConfig>>

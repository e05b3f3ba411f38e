/** What a policy service reads from its environment. */

import { z } from 'zod'
import { BusUrl, Flag, WholeNumber } from '#infra/config.ts'
import { leaseLifetimeMs } from '#infra/contracts/policy.ts'
import { logLevels } from '#infra/log.ts'

export const PolicyConfig = z
  .object({
    SALLYPORT_BUS_URL: BusUrl,
    SALLYPORT_LOG_LEVEL: z.enum(logLevels).default('info'),
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
    busUrl: env.SALLYPORT_BUS_URL,
    logLevel: env.SALLYPORT_LOG_LEVEL,
    identityProvider: {
      issuer: env.SALLYPORT_POLICY_IDENTITY_PROVIDER,
      clientId: env.SALLYPORT_POLICY_CLIENT_ID,
      trustsPlainHttp: env.SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER,
    },
    leaseLifetimeMs: env.SALLYPORT_POLICY_LEASE_SECONDS * 1_000,
    auditSpillFile: env.SALLYPORT_POLICY_AUDIT_SPILL_PATH,
  }))
export type PolicyConfig = Readonly<z.output<typeof PolicyConfig>>

/** What a gateway reads from its environment. */

import { isIP } from 'node:net'
import { z } from 'zod'
import {
  BusUrl,
  Flag,
  List,
  monitoringPlace,
  Port,
  Redaction,
  StreamMemory,
  WholeNumber,
  WorkerCount,
} from '#infra/config.ts'
import { logLevels } from '#infra/log.ts'
import { usualPatience } from './front/patience.ts'

const PortalUrl = z
  .url({
    protocol: /^https?$/,
    error: 'must be an http:// or https:// URL, as in https://portal.example.com/',
  })
  .refine(value => (URL.parse(value)?.pathname ?? '/') === '/', { error: 'must have no path' })
  .transform(value => new URL(value).href)

/** Addresses and CIDR ranges. */
const AddressRanges = List.refine(
  ranges =>
    ranges.every(range => {
      const [address = '', bits] = range.split('/')
      const version = isIP(address)
      if (version === 0) return false
      return (
        bits === undefined || (/^\d+$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
      )
    }),
  { error: 'must be IP addresses or CIDR ranges separated by commas, as in 10.0.0.0/8,::1' },
)

/** `100` for 100 a second, `100/500` with a burst of 500, `0` for no limit. */
const Rate = z
  .string()
  .regex(/^\d{1,7}(\/\d{1,7})?$/, 'must be RATE or RATE/BURST in requests a second, as in 100/500')
  .transform(value => {
    const [perSecond = 0, burst = perSecond * 2] = value.split('/').map(Number)
    return { perSecond, burst: Math.max(burst, 1) }
  })

function tlsFiles(certificatePath: string | undefined, keyPath: string | undefined) {
  if (certificatePath === undefined || keyPath === undefined) return undefined
  return { certificatePath, keyPath }
}

const unlimited = { perSecond: 0, burst: 0 }

export const GatewayConfig = z
  .object({
    SALLYPORT_BUS_URL: BusUrl,
    SALLYPORT_BUS_CA_PATH: z.string().optional(),
    SALLYPORT_LOG_LEVEL: z.enum(logLevels).default('info'),
    SALLYPORT_AUDIT_REDACT: Redaction,
    /** Metrics and readiness; without a port there are none. */
    SALLYPORT_GATEWAY_MONITORING_HOST: z.string().default('127.0.0.1'),
    SALLYPORT_GATEWAY_MONITORING_PORT: Port.optional(),
    SALLYPORT_GATEWAY_HOST: z.string().default('127.0.0.1'),
    SALLYPORT_GATEWAY_PORT: Port.default(8080),
    /** Processes that listen on this one port. */
    SALLYPORT_GATEWAY_WORKERS: WorkerCount.default(1),
    /** PEM files of the certificate with its chain, and of its key: then it listens for HTTPS and HTTP/2. */
    SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH: z.string().optional(),
    SALLYPORT_GATEWAY_TLS_KEY_PATH: z.string().optional(),
    /** Where users sign in and see their applications. Its host must reach a gateway. */
    SALLYPORT_GATEWAY_PORTAL_URL: PortalUrl,
    SALLYPORT_GATEWAY_IDENTITY_PROVIDER: z.url({
      protocol: /^https?$/,
      error: 'must be the issuer URL of an OpenID provider',
    }),
    SALLYPORT_GATEWAY_CLIENT_ID: z.string(),
    /** Left out for a public client. */
    SALLYPORT_GATEWAY_CLIENT_SECRET: z.string().optional(),
    SALLYPORT_GATEWAY_SCOPES: z.string().default('openid profile email groups'),
    SALLYPORT_GATEWAY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: Flag.default(false),
    /** Proxies whose X-Forwarded-For and X-Forwarded-Proto count. */
    SALLYPORT_GATEWAY_TRUSTED_PROXIES: AddressRanges.default([]),
    /** Requests per second: of one address, of one user; signing in and decisions by policy, of one address. */
    SALLYPORT_GATEWAY_RATE_PER_ADDRESS: Rate.default(unlimited),
    SALLYPORT_GATEWAY_RATE_PER_USER: Rate.default(unlimited),
    SALLYPORT_GATEWAY_RATE_OF_SIGN_IN: Rate.default({ perSecond: 50, burst: 200 }),
    SALLYPORT_GATEWAY_RATE_OF_DECISIONS: Rate.default({ perSecond: 200, burst: 1_000 }),
    /** Of connectors that are not on the bus. */
    SALLYPORT_GATEWAY_RATE_OF_ENROLMENT: Rate.default({ perSecond: 5, burst: 100 }),
    /** Connections of one address at once; 0: no limit. */
    SALLYPORT_GATEWAY_CONNECTIONS_PER_ADDRESS: WholeNumber(0, 1_000_000).default(0),
    /** Seconds in which a client sends nothing of a body that is awaited, or takes nothing of what it asked for. */
    SALLYPORT_GATEWAY_UPLOAD_IDLE_SECONDS: WholeNumber(1, 86_400).default(120),
    SALLYPORT_GATEWAY_DOWNLOAD_IDLE_SECONDS: WholeNumber(1, 86_400).default(usualPatience.download),
    /** What windows of bodies and connections may take, in each worker. */
    SALLYPORT_GATEWAY_STREAM_MEMORY_MIB: StreamMemory,
    /** Seconds between two requests of a connection. */
    SALLYPORT_GATEWAY_KEEP_ALIVE_SECONDS: WholeNumber(1, 3_600).default(usualPatience.keepAlive),
    /** Seconds that requests under way get to finish after a signal. */
    SALLYPORT_GATEWAY_DRAIN_SECONDS: WholeNumber(0, 3_600).default(20),
    /** Where audit events wait while the bus is away; left out, they wait in memory only. */
    SALLYPORT_GATEWAY_AUDIT_SPILL_PATH: z.string().optional(),
  })
  .refine(
    env =>
      env.SALLYPORT_GATEWAY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER === true ||
      env.SALLYPORT_GATEWAY_IDENTITY_PROVIDER.startsWith('https:'),
    {
      path: ['SALLYPORT_GATEWAY_IDENTITY_PROVIDER'],
      error:
        'must be https; for trying out, SALLYPORT_GATEWAY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER=true allows http',
      // Whatever else is wrong, this is reported with it.
      when: ({ value }) => URL.canParse(Object(value).SALLYPORT_GATEWAY_IDENTITY_PROVIDER),
    },
  )
  .refine(
    env =>
      !env.SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH ||
      !env.SALLYPORT_GATEWAY_PORTAL_URL?.startsWith('http:'),
    {
      path: ['SALLYPORT_GATEWAY_PORTAL_URL'],
      error: 'must be https, since SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH is set',
      when: () => true,
    },
  )
  .refine(
    env => !env.SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH || env.SALLYPORT_GATEWAY_TLS_KEY_PATH,
    {
      path: ['SALLYPORT_GATEWAY_TLS_KEY_PATH'],
      error: 'is required with SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH',
      when: () => true,
    },
  )
  .refine(
    env => !env.SALLYPORT_GATEWAY_TLS_KEY_PATH || env.SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH,
    {
      path: ['SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH'],
      error: 'is required with SALLYPORT_GATEWAY_TLS_KEY_PATH',
      when: () => true,
    },
  )
  .transform(env => ({
    auditRedacted: env.SALLYPORT_AUDIT_REDACT,
    monitoring: monitoringPlace(
      env.SALLYPORT_GATEWAY_MONITORING_HOST,
      env.SALLYPORT_GATEWAY_MONITORING_PORT,
    ),
    busUrl: env.SALLYPORT_BUS_URL,
    busCaPath: env.SALLYPORT_BUS_CA_PATH,
    logLevel: env.SALLYPORT_LOG_LEVEL,
    host: env.SALLYPORT_GATEWAY_HOST,
    port: env.SALLYPORT_GATEWAY_PORT,
    workers: env.SALLYPORT_GATEWAY_WORKERS,
    tls: tlsFiles(env.SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH, env.SALLYPORT_GATEWAY_TLS_KEY_PATH),
    portalUrl: env.SALLYPORT_GATEWAY_PORTAL_URL,
    identityProvider: {
      issuer: env.SALLYPORT_GATEWAY_IDENTITY_PROVIDER,
      clientId: env.SALLYPORT_GATEWAY_CLIENT_ID,
      clientSecret: env.SALLYPORT_GATEWAY_CLIENT_SECRET,
      scopes: env.SALLYPORT_GATEWAY_SCOPES,
      trustsPlainHttp: env.SALLYPORT_GATEWAY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER,
    },
    trustedProxies: env.SALLYPORT_GATEWAY_TRUSTED_PROXIES,
    rates: {
      address: env.SALLYPORT_GATEWAY_RATE_PER_ADDRESS,
      user: env.SALLYPORT_GATEWAY_RATE_PER_USER,
      'sign-in': env.SALLYPORT_GATEWAY_RATE_OF_SIGN_IN,
      decision: env.SALLYPORT_GATEWAY_RATE_OF_DECISIONS,
      enrolment: env.SALLYPORT_GATEWAY_RATE_OF_ENROLMENT,
    },
    connectionsPerAddress: env.SALLYPORT_GATEWAY_CONNECTIONS_PER_ADDRESS,
    uploadIdleSeconds: env.SALLYPORT_GATEWAY_UPLOAD_IDLE_SECONDS,
    downloadIdleSeconds: env.SALLYPORT_GATEWAY_DOWNLOAD_IDLE_SECONDS,
    keepAliveSeconds: env.SALLYPORT_GATEWAY_KEEP_ALIVE_SECONDS,
    streamMemoryBytes: env.SALLYPORT_GATEWAY_STREAM_MEMORY_MIB * 2 ** 20,
    drainGraceMs: env.SALLYPORT_GATEWAY_DRAIN_SECONDS * 1_000,
    auditSpillFile: env.SALLYPORT_GATEWAY_AUDIT_SPILL_PATH,
  }))
export type GatewayConfig = Readonly<z.output<typeof GatewayConfig>>

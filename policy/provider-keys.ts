/**
 * The identity provider's own keys, by OpenID Connect Discovery. Fetched when a sign-in first needs them, so that a
 * policy service starts while the provider is away, and kept; keys that appear later are found without a restart.
 */

import { createRemoteJWKSet, type JWTVerifyGetKey } from 'jose'
import { z } from 'zod'
import { SallyportError } from '#infra/errors.ts'

export interface ProviderOptions {
  issuer: string
  trustsPlainHttp: boolean
}

const Metadata = z.object({ issuer: z.string(), jwks_uri: z.url({ protocol: /^https?$/ }) })

const requestTimeoutMs = 5_000
const metadataLifetimeMs = 3_600_000

/** An unknown key id makes the keys be fetched again, but not more often than this. */
const refetchMs = 5_000

/**
 * Returns a function that gives the keys.
 * It throws SallyportError `sign_in_unavailable` when the provider does not tell where they are.
 */
export function providerKeys(options: ProviderOptions): () => Promise<JWTVerifyGetKey> {
  let discovered: Promise<JWTVerifyGetKey> | undefined
  let discoveredAtMs = 0
  return () => {
    const nowMs = performance.now()
    if (!discovered || nowMs - discoveredAtMs > metadataLifetimeMs) {
      const before = discovered
      discoveredAtMs = nowMs
      discovered = discover(options).catch(error => {
        discovered = before
        if (!before) throw error
        return before
      })
    }
    return discovered
  }
}

async function discover({ issuer, trustsPlainHttp }: ProviderOptions): Promise<JWTVerifyGetKey> {
  const metadata = await fetchMetadata(issuer)
  // OpenID Connect Discovery §4.3: another issuer in there would be someone else's provider.
  if (metadata.issuer !== issuer) {
    throw unavailable(`${issuer} calls itself ${metadata.issuer}`)
  }
  const url = new URL(metadata.jwks_uri)
  if (url.protocol !== 'https:' && !trustsPlainHttp) {
    throw unavailable(`${issuer} publishes its keys without TLS`)
  }
  return createRemoteJWKSet(url, {
    timeoutDuration: requestTimeoutMs,
    cooldownDuration: refetchMs,
  })
}

async function fetchMetadata(issuer: string): Promise<z.output<typeof Metadata>> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  try {
    const response = await fetch(url, {
      headers: { accept: 'application/json' },
      redirect: 'error',
      signal: AbortSignal.timeout(requestTimeoutMs),
    })
    if (!response.ok) throw new Error(`status ${response.status}`)
    return Metadata.parse(await response.json())
  } catch (cause) {
    throw unavailable(`${url} cannot be read`, { cause })
  }
}

export function unavailable(detail: string, options?: ErrorOptions): SallyportError {
  return new SallyportError('sign_in_unavailable', detail, options)
}

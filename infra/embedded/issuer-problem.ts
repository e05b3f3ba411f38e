/** A first look at an identity provider that was named by hand: whether it answers, and is spelled as it spells itself. */

import { z } from 'zod'
import { detailOf } from '../errors.ts'

const Metadata = z.object({ issuer: z.string() })

const patienceMs = 5_000

/** Undefined when its metadata (OpenID Connect Discovery 1.0, section 4) are there and name the same issuer. */
export async function issuerProblem(
  issuer: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const late = AbortSignal.timeout(patienceMs)
  try {
    const response = await fetch(url, { signal: signal ? AbortSignal.any([signal, late]) : late })
    if (!response.ok) return `${url} answers with status ${response.status}; is it the issuer?`
    const metadata = Metadata.safeParse(await response.json())
    if (!metadata.success) return `what is at ${url} is no OpenID provider; is it the issuer?`
    const { issuer: own } = metadata.data
    return own === issuer ? undefined : `the provider spells its issuer ${own}, and not ${issuer}`
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    return `${url} does not answer (${detailOf(cause)})`
  }
}

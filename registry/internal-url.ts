/**
 * Internal URLs that no connector would dial (infra/origin-address.ts): refused where they are entered. What a name
 * resolves to is known inside the private network alone, and judged there.
 */

import type { Application, RegisteredApplication } from '#infra/contracts/application.ts'
import { reasonAgainstHost } from '#infra/origin-address.ts'
import { invalid } from './refusal.ts'

export function checkInternalUrl({ onPremisesPublishing }: Application): void {
  const { hostname } = new URL(onPremisesPublishing.internalUrl)
  const reason = reasonAgainstHost(hostname)
  if (reason !== undefined) throw invalid('onPremisesPublishing.internalUrl', reason)
}

const proofs = [
  'originCertificatePins',
  'originCertificateAuthorities',
  'originServerName',
] as const

/**
 * Over http:// an origin proves nothing: who asks for a proof, or takes its ground away, has to hear it. What was stored
 * like that before stays changeable in everything else.
 */
export function checkOriginProof(
  { onPremisesPublishing: after }: Application,
  previous: RegisteredApplication | undefined,
): void {
  if (after.internalUrl.startsWith('https:')) return
  const before = previous?.onPremisesPublishing
  const wasSecure = !before || before.internalUrl.startsWith('https:')
  for (const property of proofs) {
    const isAsked = after[property] !== null && (wasSecure || before[property] === null)
    if (!isAsked) continue
    const reason = 'is for an internal URL that begins with https://; null takes it back'
    throw invalid(`onPremisesPublishing.${property}`, reason)
  }
}

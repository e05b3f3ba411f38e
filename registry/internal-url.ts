/**
 * Internal URLs that no connector would dial (infra/origin-address.ts): refused where they are entered. What a name
 * resolves to is known inside the private network alone, and judged there.
 */

import type { Application } from '#infra/contracts/application.ts'
import { reasonAgainstHost } from '#infra/origin-address.ts'
import { invalid } from './refusal.ts'

export function checkInternalUrl({ onPremisesPublishing }: Application): void {
  const { hostname } = new URL(onPremisesPublishing.internalUrl)
  const reason = reasonAgainstHost(hostname)
  if (reason !== undefined) throw invalid('onPremisesPublishing.internalUrl', reason)
}

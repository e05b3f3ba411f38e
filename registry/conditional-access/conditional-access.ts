/** Conditional access as the admin API works on it: policies, named locations, what-if, signals, explanations. */

import type { Bus } from '#infra/bus.ts'
import { PolicyEntry } from '#infra/contracts/conditional-access/policy.ts'
import type { Logger } from '#infra/log.ts'
import { buckets } from '#infra/subjects.ts'
import { explainer } from '../explain.ts'
import { openStore } from '../store.ts'
import { askPolicy } from './evaluation.ts'
import { openNamedLocations, openPolicies } from './policies.ts'
import { openSignals } from './signals.ts'

export async function openConditionalAccess(
  bus: Bus,
  stack: AsyncDisposableStack,
  options: { log: Logger; signal?: AbortSignal },
) {
  const store = stack.use(
    await openStore(bus, { ...options, bucket: buckets.policies, schema: PolicyEntry }),
  )
  const resources = { store, maxMessageBytes: bus.maxPayloadBytes }
  return {
    policies: openPolicies(resources),
    namedLocations: openNamedLocations(resources),
    whatIf: askPolicy(bus, store),
    signals: await openSignals(bus, stack, options),
    explain: explainer(bus),
  }
}

/**
 * The JSON Web Key Set of assertions, on the bus: for whoever verifies them there. Gateways publish the same by HTTP and
 * read the bucket by themselves.
 */

import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import type { AssertionKey, AssertionKeySet } from '#infra/contracts/assertion.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import { queues, subjects } from '#infra/subjects.ts'

export function tellAssertionKeys(bus: Bus, keys: Snapshot<AssertionKey>): Disposable {
  const subscription = bus.serve(subjects.assertionKeysRequest, {
    queue: queues.registry,
    request: z.unknown(),
    handle: (): AssertionKeySet => ({ keys: [...keys.entries.values()] }),
  })
  return { [Symbol.dispose]: () => subscription.unsubscribe() }
}

/** Signals as the admin API works on them: read from the bucket, and said over the bus as outside systems do. */

import type { Bus } from '#infra/bus.ts'
import { Signal, SignalReply } from '#infra/contracts/conditional-access/signals.ts'
import type { Logger } from '#infra/log.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets, subjects } from '#infra/subjects.ts'

const timeoutMs = 5_000

export interface SignalBook {
  list(): Signal[]
  /** What is said of what, as in `subjects.signal`. @throws SallyportError `policy_unavailable` */
  say(subject: Parameters<typeof subjects.signal>, statement: object): Promise<number>
}

export async function openSignals(
  bus: Bus,
  stack: AsyncDisposableStack,
  options: { log: Logger; signal?: AbortSignal },
): Promise<SignalBook> {
  const known = stack.use(
    await watchBucket(bus, { ...options, bucket: buckets.signals, schema: Signal }),
  )
  return {
    list: () => [...known.entries.values()],
    say: async (subject, statement) => {
      const { revision } = await bus.call(subjects.signal(...subject), statement, {
        reply: SignalReply,
        timeoutMs,
        unavailable: 'policy_unavailable',
      })
      await known.reached(revision, timeoutMs)
      return revision
    },
  }
}

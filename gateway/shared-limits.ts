/**
 * One limit for all workers of a gateway. Each counts by itself and tells the others a few times a second what it has
 * admitted, and they take it off their own counts. So a rate holds for the gateway as a whole; only a first burst that
 * comes through several workers at once may be exceeded, and is paid back in the seconds after it.
 */

import { z } from 'zod'
import type { Worker } from '#infra/worker.ts'
import { type CountLimit, type Limits, limited } from './limits.ts'

const tellIntervalMs = 100

const Counts = z.array(z.tuple([z.string(), z.number()]))

const Told = z.object({
  /** Tokens taken since the last time, by user or address. */
  taken: z.record(z.enum(limited), Counts),
  /** Connections that addresses have open here. */
  connections: Counts,
})
type Told = z.output<typeof Told>

export function shareLimits(limits: Limits, connections: CountLimit, worker: Worker): Disposable {
  const timer = setInterval(() => {
    const told: Told = {
      taken: limits.takenSinceLast(),
      connections: connections.changedSinceLast(),
    }
    const isNews = Object.values(told.taken).some(counts => counts.length > 0)
    if (isNews || told.connections.length > 0) worker.tell(told)
  }, tellIntervalMs)
  worker.onTold((message, from) => {
    const { taken, connections: open } = Told.parse(message)
    limits.takenElsewhere(taken)
    connections.openElsewhere(from, open)
  })
  worker.onJoined(() => connections.changedAll())
  worker.onGone(number => connections.goneElsewhere(number))
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

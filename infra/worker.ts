/**
 * One of several processes of a service, as that process sees it (infra/workers.ts is the other side). What it is
 * stands in its environment, what the others tell comes through the parent.
 */

import cluster from 'node:cluster'
import { z } from 'zod'
import type { Environment } from './config.ts'

const Place = z.object({
  /** From 1 to `count`; whoever replaces it has the same. */
  slot: z.number().int().positive(),
  /** As for `slot`, but never used again while the parent runs. */
  number: z.number().int().positive(),
  count: z.number().int().positive(),
  /** When the service was started, whatever happened to its workers. */
  startedDateTime: z.iso.datetime(),
})

export interface Worker {
  readonly place: Readonly<z.output<typeof Place>>
  /** Tells all others, soon and at most once. */
  tell(message: unknown): void
  /** Calls back with what others tell and the number of the one who tells it. */
  onTold(listener: (message: unknown, from: number) => void): void
  /** Calls back when there is one more, which knows nothing yet. */
  onJoined(listener: () => void): void
  /** Calls back with the number of one that has ended. */
  onGone(listener: (number: number) => void): void
}

/** For workers alone: set by their parent. */
export const workerVariable = 'SALLYPORT_WORKER'

export interface FromWorker {
  ready?: Record<string, unknown>
  tell?: unknown
}

export interface ToWorker {
  told?: unknown
  from?: number
  joined?: number
  gone?: number
}

/** Undefined in a process that is the whole service, or the parent of workers. */
export function thisWorker(environment: Environment): Worker | undefined {
  if (!cluster.isWorker) return undefined
  const place = Object.freeze(Place.parse(JSON.parse(environment[workerVariable] ?? '')))
  const listen = (listener: (message: ToWorker) => void) => void process.on('message', listener)
  return {
    place,
    // Whoever cannot be told any more has lost its parent, and ends with it.
    tell: message => void process.send?.({ tell: message }, undefined, undefined, () => undefined),
    onTold: listener =>
      listen(({ told, from }) => {
        if (told !== undefined && from !== undefined) listener(told, from)
      }),
    onJoined: listener => listen(({ joined }) => void (joined !== undefined && listener())),
    onGone: listener => listen(({ gone }) => void (gone !== undefined && listener(gone))),
  }
}

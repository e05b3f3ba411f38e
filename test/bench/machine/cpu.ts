/** CPU time of processes, by the scheduler's own books: far less noisy than requests per second. */

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { difference, type Processes, sumByName, threadsOf } from './process-tree.ts'

/** Microseconds on a CPU so far, of all threads of each. */
export function cpuMicroseconds(processes: Processes): Record<string, number> {
  return sumByName(processes, pid =>
    threadsOf(pid).reduce((sum, thread) => sum + ofThread(pid, thread), 0),
  )
}

/** The first field of schedstat: nanoseconds on the CPU. A thread may end between listing and reading. */
function ofThread(pid: number, thread: string): number {
  try {
    const [nanoseconds] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')
    return Number(nanoseconds) / 1_000
  } catch {
    return 0
  }
}

const lookEveryMs = 500
/** Part of one CPU below which processes count as idle. */
const idleShare = 0.05

/** Resolves when these processes do next to nothing any more, or when the time is over. */
export async function untilIdle(processes: Processes, withinMs: number): Promise<void> {
  for (const until = performance.now() + withinMs; performance.now() < until; ) {
    const before = cpuMicroseconds(processes)
    await sleep(lookEveryMs)
    const used = Object.values(difference(before, cpuMicroseconds(processes)))
    if (used.reduce((sum, us) => sum + us, 0) < lookEveryMs * 1_000 * idleShare) return
  }
}

/** CPU time of processes, by the scheduler's own books: far less noisy than requests per second. */

import { readdirSync, readFileSync } from 'node:fs'

/** Process ids by the name under which their time is reported. */
export type Processes = Record<string, readonly number[]>

/** Microseconds on a CPU so far, of all threads of each. */
export function cpuMicroseconds(processes: Processes): Record<string, number> {
  return Object.fromEntries(
    Object.entries(processes).map(([name, pids]) => [
      name,
      pids.reduce((sum, pid) => sum + ofProcess(pid), 0),
    ]),
  )
}

function ofProcess(pid: number): number {
  return threadsOf(pid).reduce((sum, thread) => sum + ofThread(pid, thread), 0)
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
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

/** What was used between two readings. */
export function difference(
  before: Record<string, number>,
  after: Record<string, number>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([name, used]) => [name, used - (before[name] ?? 0)]),
  )
}

/** Processes with all that they have started, as the kernel lists them. */

import { readdirSync, readFileSync } from 'node:fs'

/** Process ids by the name under which they are reported; what these have started counts as theirs. */
export type Processes = Readonly<Record<string, readonly number[]>>

/** The process and everything below it; empty when it has ended. */
export function treeOf(pid: number): number[] {
  const threads = threadsOf(pid)
  if (threads.length === 0) return []
  const children = threads.flatMap(thread => childrenOf(pid, thread))
  return [pid, ...children.flatMap(treeOf)]
}

export function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** A thread may end between listing and reading. */
function childrenOf(pid: number, thread: string): number[] {
  try {
    const listed = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim()
    return listed === '' ? [] : listed.split(/\s+/).map(Number)
  } catch {
    return []
  }
}

/** A sum over all processes of each name. */
export function sumByName(
  processes: Processes,
  ofProcess: (pid: number) => number,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(processes).map(([name, pids]) => [
      name,
      pids.flatMap(treeOf).reduce((sum, pid) => sum + ofProcess(pid), 0),
    ]),
  )
}

/** What came about between two readings. */
export function difference(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]),
  )
}

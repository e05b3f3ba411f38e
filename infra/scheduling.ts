/**
 * Tells Linux that a process serves many at once (SCHED_BATCH, sched(7)): when something arrives for it, it waits for
 * its turn and does not interrupt whoever runs. An exchange passes through six processes, and what each of them is about
 * to write is what the next one waits for: interrupted, everybody is woken for each single message, and pays for it.
 */

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'

/** As Linux numbers the policy of every process that nobody has set one for (SCHED_OTHER). */
const unset = '0'

/** It is a matter of a millisecond, and nothing that a service should wait for in vain. */
const withinMs = 2_000

/**
 * Resolves when it is done, threads included. A policy that somebody has chosen stays, and so does everything where
 * there is no `chrt` (util-linux) or it is not allowed.
 */
export async function takeTurns(pid: number = process.pid): Promise<void> {
  if (schedulingPolicy(pid) !== unset) return
  const args = ['-b', '-a', '-p', '0', String(pid)]
  await promisify(execFile)('chrt', args, { timeout: withinMs }).catch(() => undefined)
}

/** By its number (sched.h); undefined where the system has no such thing. */
export function schedulingPolicy(pid: number): string | undefined {
  try {
    // The 41st field (proc_pid_stat(5)); the second one, the name, may hold spaces and ends with the last parenthesis.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38]
  } catch {
    return undefined
  }
}

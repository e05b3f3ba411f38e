/** Resident memory of processes, in KiB, as the kernel counts it: socket buffers are not in it. */

import { readFileSync } from 'node:fs'
import { type Processes, sumByName } from './process-tree.ts'

export function residentKib(processes: Processes): Record<string, number> {
  return sumByName(processes, pid => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0)
    } catch {
      return 0
    }
  })
}

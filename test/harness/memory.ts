/** Memory of other processes, as the kernel counts it (Linux). */

import { readFile } from 'node:fs/promises'
import type { ServiceRole } from '#infra/embedded/service-process.ts'
import type { TestSystem } from './system.ts'

export const mib = 2 ** 20

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

export interface MemoryWatch extends Disposable {
  /** Most that each process has grown since the watch began, in MiB. */
  growthMib(): Record<string, number>
}

const lookEveryMs = 50

/** Watches the resident memory of all services of these kinds. */
export async function watchMemory(
  { services }: TestSystem,
  roles: readonly ServiceRole[] = ['gateway', 'connector'],
): Promise<MemoryWatch> {
  const watched = roles.flatMap(role => [...services.of(role)])
  const look = () => Promise.all(watched.map(({ pid = 0 }) => residentBytes(pid)))
  const before = await look()
  const most = [...before]
  const timer = setInterval(async () => {
    for (const [i, bytes] of (await look()).entries()) most[i] = Math.max(most[i] ?? 0, bytes)
  }, lookEveryMs)
  return {
    growthMib: () =>
      Object.fromEntries(
        watched.map(({ name }, i) => [name, Math.round(((most[i] ?? 0) - (before[i] ?? 0)) / mib)]),
      ),
    [Symbol.dispose]: () => clearInterval(timer),
  }
}

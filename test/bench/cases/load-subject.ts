/** A target under request load: its rate, its latencies, and the CPU time that each of its processes takes. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import type { Round, Subject } from '../case.ts'
import { load } from '../load/requests.ts'
import { cpuMicroseconds } from '../machine/cpu.ts'
import { difference } from '../machine/process-tree.ts'
import type { Target } from '../targets/target.ts'

export interface Load {
  path: string
  connections: number
}

/** Under this name; a target's own unless given. */
export function loadSubject(
  bench: Bench,
  target: Target,
  { name = target.name, ...each }: Load & { name?: string },
): Subject {
  return {
    name,
    prepare: () => warmUp(bench, target),
    measure: () => loadOnce(bench, target, each),
  }
}

export async function loadOnce(bench: Bench, target: Target, each: Load): Promise<Round> {
  const { effort, wrk, signal } = bench
  await target.refresh?.()
  const { roundWarmUpSeconds: seconds } = effort
  if (seconds > 0) await load(target, { ...each, seconds, wrk, signal })
  return withCpu(bench, target, async () => {
    const result = await load(target, { ...each, seconds: effort.seconds, wrk, signal })
    const { requests, ...round } = result
    return { count: requests, round }
  })
}

/** What is left to do after the last answer, such as storing its audit event, belongs to the target too. */
const settleMs = 200

/** Adds the CPU time for each of the `count` that `perform` tells. */
export async function withCpu(
  { origin }: Bench,
  target: Target,
  perform: () => Promise<{ count: number; round: Round }>,
): Promise<Round> {
  const processes = { ...target.processes, origin: [origin.pid] }
  const before = cpuMicroseconds(processes)
  const { count, round } = await perform()
  await sleep(settleMs)
  const used = Object.entries(difference(before, cpuMicroseconds(processes)))
  return { ...round, cpu: Object.fromEntries(used.map(([name, us]) => [name, us / count])) }
}

const warm = new WeakSet<Target>()

/** Once for each target, whatever the cases in which it takes part. */
export async function warmUp(
  { effort, wrk, signal, report }: Bench,
  target: Target,
): Promise<void> {
  if (warm.has(target)) return
  report(`warming up ${target.name}`)
  await target.refresh?.()
  const seconds = effort.warmUpSeconds
  await load(target, { path: '/json', connections: 64, seconds, wrk, signal })
  warm.add(target)
}

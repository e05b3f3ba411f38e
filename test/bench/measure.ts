/** One round of one case on one target, and all rounds of a case on all targets in turn. */

import type { Case, Effort } from './cases.ts'
import type { Child } from './child.ts'
import { cpuMicroseconds, difference } from './cpu.ts'
import { load } from './load.ts'
import { percentile } from './statistics.ts'
import type { Target } from './targets/target.ts'
import { firstBytes, transfer } from './transfer.ts'

export interface Round {
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly megabytesPerSecond?: number
  /** µs on a CPU for each request, by process; `origin` is not part of the target. */
  readonly cpu: Readonly<Record<string, number>>
}

export interface Bench {
  readonly origin: Child
  readonly targets: readonly Target[]
  readonly effort: Effort
  readonly wrk: string | undefined
  /** `performance.now()` at the start. */
  readonly startedMs: number
  readonly report: (line: string) => void
}

/** What came of one case for one target: its rounds, and the failure that ended them. */
export interface Measured {
  readonly target: Target
  readonly rounds: Round[]
  failure?: string
}

/** A target that fails once is left out of the rest of the case: a rate of failures would mean nothing. */
export async function measure(bench: Bench, each: Case): Promise<Measured[]> {
  const { targets, effort, report } = bench
  const all = targets.map((target): Measured => ({ target, rounds: [] }))
  const count = effort.rounds[each.kind]
  for (let round = 0; round < count; round++) {
    if (performance.now() - bench.startedMs > effort.deadlineMs) {
      report(`${each.name}: no time for round ${round + 1} of ${count}`)
      break
    }
    report(`${each.name}: round ${round + 1} of ${count}`)
    for (const measured of all) {
      if (measured.failure === undefined) await addRound(bench, each, measured)
    }
  }
  return all
}

async function addRound(bench: Bench, each: Case, measured: Measured): Promise<void> {
  try {
    measured.rounds.push(await measureOnce(bench, each, measured.target))
  } catch (error) {
    measured.failure = error instanceof Error ? error.message : String(error)
    bench.report(`${each.name}: ${measured.failure}`)
    process.exitCode = 1
  }
}

type Result = Omit<Round, 'cpu'> & { requests: number }

async function measureOnce(bench: Bench, each: Case, target: Target): Promise<Round> {
  const processes = { ...target.processes, origin: [bench.origin.pid] }
  const before = cpuMicroseconds(processes)
  const { requests, ...result } = await perform(bench, each, target)
  const used = Object.entries(difference(before, cpuMicroseconds(processes)))
  return { ...result, cpu: Object.fromEntries(used.map(([name, us]) => [name, us / requests])) }
}

function perform({ effort, wrk }: Bench, each: Case, target: Target): Promise<Result> {
  switch (each.kind) {
    case 'requests':
      return load(target, { ...each, seconds: effort.seconds, wrk })
    case 'transfer':
      return performTransfer(target, each.direction, each.bytes * effort.transferShare)
    case 'first-byte':
      return performFirstBytes(target, each.path, effort.firstBytes)
  }
}

async function performTransfer(target: Target, direction: 'down' | 'up', bytes: number) {
  const elapsedMs = await transfer(target, direction, bytes)
  return {
    requests: 1,
    requestsPerSecond: 1_000 / elapsedMs,
    p50Ms: elapsedMs,
    p99Ms: elapsedMs,
    megabytesPerSecond: bytes / 1_000 / elapsedMs,
  }
}

/** The rate is that of first bytes, without the rest of the stream. */
async function performFirstBytes(target: Target, path: string, count: number) {
  const times = await firstBytes(target, path, count)
  const p50Ms = percentile(times, 0.5)
  return {
    requests: count,
    requestsPerSecond: 1_000 / p50Ms,
    p50Ms,
    p99Ms: percentile(times, 0.99),
  }
}

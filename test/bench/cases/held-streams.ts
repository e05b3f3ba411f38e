/**
 * Memory for each stream that is held open, in targets that have just been started: one that has carried load before
 * would take new streams from what it has not given back. Counted is resident memory before and after, garbage
 * collected in ours; socket buffers of the kernel are not in it.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import type { Case, Round, Subject } from '../case.ts'
import { type Held, holdStreams } from '../load/held-streams.ts'
import { untilIdle } from '../machine/cpu.ts'
import { residentKib } from '../machine/memory.ts'
import { difference } from '../machine/process-tree.ts'
import { startTargets } from '../targets/all.ts'
import { collecting, sallyport } from '../targets/sallyport.ts'
import type { Start, Target, TargetName } from '../targets/target.ts'

/**
 * So many are open before anything counts: they take what a process has left over from its start. Few downloads are
 * enough, and more would change what the others are granted.
 */
const streams = {
  websocket: { count: 2_000, first: 200 },
  download: { count: 100, first: 4 },
} as const

const among: readonly TargetName[] = [
  'nginx',
  'haproxy',
  'chisel',
  'frp-tcp',
  'frp-http',
  'sallyport',
]

export const idleWebSockets = heldCase('websocket', {
  name: 'idle-websockets',
  about: '2,000 WebSockets on which nothing is said; memory for each',
})

export const stalledDownloads = heldCase('download', {
  name: 'stalled-downloads',
  about: '100 downloads whose clients do not read; memory for each',
})

function heldCase(kind: Held, about: Pick<Case, 'name' | 'about'>): Case {
  return {
    ...about,
    reference: 'nginx',
    rounds: 3,
    open: async bench => {
      const held = { kind, ...streams[kind] }
      const { effort } = bench
      const names = among
        .filter(name => bench.names.includes(name))
        .filter(name => effort.furtherTargets?.includes(name) ?? true)
      const missing = bench.plain.missing.filter(({ name }) => names.includes(name))
      const isThere = (name: TargetName) => !missing.some(one => one.name === name)
      return {
        subjects: names.filter(isThere).map(name => subjectOf(bench, name, held)),
        missing,
        [Symbol.asyncDispose]: async () => {},
      }
    },
  }
}

interface Streams {
  kind: Held
  count: number
  /** Opened before, and left open. */
  first: number
}

function subjectOf(bench: Bench, name: TargetName, held: Streams): Subject {
  return {
    name,
    measure: async () => {
      await using started = await startTargets([name], { origin: bench.origin }, startFor)
      const [target] = started.targets
      if (!target) throw new Error(started.missing[0]?.note ?? `${name} did not start`)
      return await memoryOf(bench, target, held)
    },
  }
}

/** Ours can be asked to collect. */
const startFor = (name: TargetName, start: Start): Start =>
  name === 'sallyport'
    ? async options => {
        const { environment } = collecting
        const target = await sallyport({ ...options, environment })
        return Object.assign(target, { collectGarbage: () => collecting.collect(target.processes) })
      }
    : start

const idleWithinMs = 5_000

async function memoryOf({ signal }: Bench, target: Target, held: Streams): Promise<Round> {
  const { kind, count, first } = held
  using _first = await holdStreams(target, { kind, count: first, signal })
  const before = await settled(target)
  using _measured = await holdStreams(target, { kind, count, signal })
  const after = await settled(target)
  const grown = Object.entries(difference(before, after))
  return { memory: Object.fromEntries(grown.map(([name, kib]) => [name, kib / count])) }
}

/** Twice with a wait between: what one collection lets go of is given back by the next. */
async function settled(target: Target): Promise<Record<string, number>> {
  await untilIdle(target.processes, idleWithinMs)
  await target.collectGarbage?.()
  await sleep(200)
  await target.collectGarbage?.()
  return residentKib(target.processes)
}

/** Under which circumstances a run was made: without them its numbers mean nothing. */

import { cpus, loadavg, release, totalmem } from 'node:os'
import type { Bench } from '../bench.ts'
import { idlePollingUs, linuxDefaultUs } from '../machine/idle-polling.ts'
import { versionOf } from '../machine/programs.ts'

export interface Circumstances {
  readonly date: string
  readonly effort: string
  readonly machine: string
  readonly loader: string
  /** Of each target, or why it is missing. */
  readonly targets: readonly { readonly name: string; readonly version: string }[]
}

export async function circumstancesOf({ effort, wrk, plain }: Bench): Promise<Circumstances> {
  const versions = plain.targets.map(({ name, version }) => ({ name, version }))
  const missing = plain.missing.map(({ name, note }) => ({ name, version: note }))
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    effort: effort.name,
    machine: machine(),
    loader: wrk ? (await versionOf(wrk, ['-v'])).replace(/ Copyright.*/, '') : 'our own loader',
    targets: [...versions, ...missing],
  }
}

function machine(): string {
  const [cpu] = cpus()
  const load = loadavg().map(value => value.toFixed(1))
  return [
    `${cpu?.model.trim() ?? 'unknown CPU'}`,
    `${cpus().length} cores shared by clients, targets and origin`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Linux ${release()}`,
    idleCores(),
    `load ${load.join(', ')} when it ended`,
  ]
    .filter(text => text !== undefined)
    .join('; ')
}

function idleCores(): string | undefined {
  const us = idlePollingUs()
  if (us === undefined || us >= linuxDefaultUs) return undefined
  return `idle cores poll for ${us} µs before they halt (Linux: ${linuxDefaultUs})`
}

/**
 * Each worker has an audit spill file of its own: the first one the file that is configured, the others `PATH.2`,
 * `PATH.3` and so on. What workers left that are not there any more, since fewer were started, the first one sends.
 */

import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Worker } from '#infra/worker.ts'

type Place = Pick<Worker['place'], 'slot' | 'count'>

/** Call it before the file is opened. */
export function spillFileOf(path: string, { slot, count }: Place = { slot: 1, count: 1 }): string {
  if (slot > 1) return `${path}.${slot}`
  for (const left of leftBehind(path, count)) {
    appendFileSync(path, readFileSync(left), { mode: 0o600 })
    // An event that is sent twice is told by its id; one that is lost is lost.
    rmSync(left)
  }
  return path
}

function leftBehind(path: string, count: number): string[] {
  const folder = dirname(path)
  const prefix = `${basename(path)}.`
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter(name => name.startsWith(prefix) && /^[1-9]\d*$/.test(name.slice(prefix.length)))
    .filter(name => Number(name.slice(prefix.length)) > count)
    .map(name => join(folder, name))
}

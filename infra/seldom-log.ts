/**
 * For lines that somebody else causes, as often as they like: each of a kind is written at most once in a while, and says
 * how many like it were left out. Writing a line costs more than what it tells of.
 */

import { LRUCache } from 'lru-cache'
import type { Logger } from './log.ts'

/** `key` says whose and which it is. */
export type SeldomLog = (key: string, fields: object, message: string) => void

const everyMs = 5_000
const mostKeys = 1_000

export function seldom(log: Logger, level: 'warn' | 'error' = 'warn'): SeldomLog {
  const said = new LRUCache<string, { atMs: number; leftOut: number }>({ max: mostKeys })
  return (key, fields, message) => {
    const nowMs = performance.now()
    const last = said.get(key)
    if (last && nowMs - last.atMs < everyMs) {
      last.leftOut++
      return
    }
    said.set(key, { atMs: nowMs, leftOut: 0 })
    log[level](last?.leftOut ? { ...fields, leftOut: last.leftOut } : fields, message)
  }
}

/**
 * Slows down guessing: ten wrong answers a minute for one name, then it has to wait, right answer or not.
 * Remembers a bounded number of names; names that do not exist count as well, so that nothing shows which do.
 */

import { LRUCache } from 'lru-cache'

const windowMs = 60_000
const allowedFailures = 10

export interface Attempts {
  /** Seconds until the name may try again; 0 when it may now. */
  waitSeconds(name: string): number
  failed(name: string): void
  succeeded(name: string): void
}

export function countAttempts(now: () => number = Date.now): Attempts {
  const failures = new LRUCache<string, number[]>({ max: 1_000 })
  const recent = (name: string) =>
    (failures.get(name) ?? []).filter(moment => moment > now() - windowMs)
  return {
    waitSeconds(name) {
      const moments = recent(name)
      const oldest = moments[moments.length - allowedFailures]
      return oldest === undefined ? 0 : Math.max(1, Math.ceil((oldest + windowMs - now()) / 1_000))
    },
    failed(name) {
      failures.set(name, [...recent(name), now()].slice(-allowedFailures))
    },
    succeeded(name) {
      failures.delete(name)
    },
  }
}

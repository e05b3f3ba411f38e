/**
 * How much of its time registry gives to questions that somebody may ask without end, and of whom the bus says no more
 * than the group: a flood of them costs that group its answers for a while, and nobody else. Measured in time, because
 * a page of a list costs a hundred times what a small answer does.
 */

import { LRUCache } from 'lru-cache'
import { SallyportError } from '#infra/errors.ts'

export interface BudgetOptions {
  /** Spent at once when there was quiet before: what some hundred connectors want that come back together. */
  burstMs: number
  /** Of all time, from then on. */
  share: number
}

const maxAskers = 10_000

/** To read a question and say no. */
const refusalMs = 0.1

export class TimeBudgets {
  readonly #options: BudgetOptions
  readonly #known = new LRUCache<string, { ms: number; atMs: number }>({ max: maxAskers })

  constructor(options: BudgetOptions = { burstMs: 1_000, share: 0.25 }) {
    this.#options = options
  }

  /** @throws SallyportError `too_many_requests` when this asker has cost too much lately. */
  spend<Result>(asker: string, work: () => Result): Result {
    const left = this.#left(asker)
    if (left <= 0) {
      this.#keep(asker, left - refusalMs)
      throw new SallyportError('too_many_requests', `questions of ${asker}`)
    }
    const startedAt = performance.now()
    try {
      return work()
    } finally {
      this.#keep(asker, left - (performance.now() - startedAt))
    }
  }

  /** Whether even refusals have cost too much: then questions need not be read. */
  isOverdrawn(asker: string): boolean {
    return this.#left(asker) < -this.#options.burstMs
  }

  #left(asker: string): number {
    const { burstMs, share } = this.#options
    const known = this.#known.get(asker)
    if (!known) return burstMs
    return Math.min(burstMs, known.ms + (performance.now() - known.atMs) * share)
  }

  #keep(asker: string, ms: number): void {
    this.#known.set(asker, { ms, atMs: performance.now() })
  }
}

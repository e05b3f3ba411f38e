/**
 * How often one connector may get a new certificate: each costs a signature, a write and an audit event, and whoever has
 * a good certificate could ask without end. Counted in each registry for itself, by the steady clock.
 */

import { LRUCache } from 'lru-cache'
import { SallyportError } from '#infra/errors.ts'

const burst = 10
const refillMs = 60_000
const maxCounted = 20_000

export class RenewalLimit {
  readonly #left = new LRUCache<string, { tokens: number; atMs: number }>({ max: maxCounted })

  /** @throws SallyportError `too_many_requests` when this connector has asked too often lately. */
  admit(connectorId: string, nowMs = performance.now()): void {
    const known = this.#left.get(connectorId) ?? { tokens: burst, atMs: nowMs }
    const tokens = Math.min(burst, known.tokens + (nowMs - known.atMs) / refillMs)
    if (tokens < 1) throw new SallyportError('too_many_requests', `renewals of ${connectorId}`)
    this.#left.set(connectorId, { tokens: tokens - 1, atMs: nowMs })
  }
}

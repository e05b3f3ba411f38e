/**
 * What this connector has carried since it started, in all and for the applications that it served most recently: the
 * proof that it does not only seem to be there. Counted when an exchange ends, and of long ones with every report.
 */

import { LRUCache } from 'lru-cache'
import { type CarriedFor, type ConnectorStatus, maxCarriedFor } from '#infra/contracts/connector.ts'

interface Amount {
  exchanges: number
  bytes: number
  lastByteAtMs: number | undefined
}

/** Applications that are remembered; the rest counts in the sums alone. */
const maxApplications = 1_000

export class Carried {
  readonly #all = emptyAmount()
  readonly #applications = new LRUCache<string, Amount>({ max: maxApplications })
  #lastExchangeAtMs: number | undefined

  /** An exchange has begun. */
  took(applicationId: string): void {
    this.#lastExchangeAtMs = Date.now()
    this.#all.exchanges++
    this.#of(applicationId).exchanges++
  }

  /** The origin has answered, or bytes of a body have passed, either way. */
  passed(applicationId: string, bytes: number): void {
    const lastByteAtMs = Date.now()
    for (const amount of [this.#all, this.#of(applicationId)]) {
      amount.bytes += bytes
      amount.lastByteAtMs = lastByteAtMs
    }
  }

  report(): Pick<
    ConnectorStatus,
    'exchangesServed' | 'lastExchangeDateTime' | 'carriedBytes' | 'lastByteDateTime' | 'carried'
  > {
    const { exchanges, bytes, lastByteAtMs } = this.#all
    return {
      exchangesServed: exchanges,
      lastExchangeDateTime: dateTime(this.#lastExchangeAtMs),
      carriedBytes: bytes,
      lastByteDateTime: dateTime(lastByteAtMs),
      carried: [...this.#applications].sort(latestFirst).slice(0, maxCarriedFor).map(reported),
    }
  }

  #of(applicationId: string): Amount {
    const known = this.#applications.get(applicationId)
    if (known) return known
    const amount = emptyAmount()
    this.#applications.set(applicationId, amount)
    return amount
  }
}

function emptyAmount(): Amount {
  return { exchanges: 0, bytes: 0, lastByteAtMs: undefined }
}

const latestFirst = ([, one]: [string, Amount], [, other]: [string, Amount]) =>
  (other.lastByteAtMs ?? 0) - (one.lastByteAtMs ?? 0)

function reported([applicationId, { exchanges, bytes, lastByteAtMs }]: [
  string,
  Amount,
]): CarriedFor {
  return { applicationId, exchanges, bytes, lastByteDateTime: dateTime(lastByteAtMs) }
}

function dateTime(atMs: number | undefined): string | null {
  return atMs === undefined ? null : new Date(atMs).toISOString()
}

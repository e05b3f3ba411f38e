/**
 * Connectors that send registry without end what it listens to: the bus cannot refuse it, and reading and writing it
 * would keep registry from everything else. What is too much is told once and not looked at. A connector of many workers
 * whose origins come and go sends a tenth of it.
 */

import { connectorIdOf } from '#infra/contracts/connector.ts'

const withinMs = 10_000
const mostMessages = 5_000
const mostBytes = 2 ** 26

export interface Sent {
  readonly subject: string
  readonly data: Uint8Array
}

interface Span {
  readonly since: number
  messages: number
  bytes: number
}

export class Floods {
  readonly #onFlood: (connectorId: string) => void
  readonly #spans = new Map<string, Span>()

  constructor(onFlood: (connectorId: string) => void) {
    this.#onFlood = onFlood
  }

  /** Whether it is too much; the bus vouches for the sender, who stands at the end of the subject. */
  isTooMuch({ subject, data }: Sent): boolean {
    const connectorId = connectorIdOf(subject.slice(subject.lastIndexOf('.') + 1))
    const span = this.#spanOf(connectorId)
    const was = isMore(span)
    span.messages++
    span.bytes += data.length
    if (!was && isMore(span)) this.#onFlood(connectorId)
    return isMore(span)
  }

  #spanOf(connectorId: string): Span {
    const now = performance.now()
    const known = this.#spans.get(connectorId)
    if (known && now - known.since <= withinMs) return known
    const span = { since: now, messages: 0, bytes: 0 }
    this.#spans.set(connectorId, span)
    return span
  }
}

function isMore({ messages, bytes }: Span): boolean {
  return messages > mostMessages || bytes > mostBytes
}

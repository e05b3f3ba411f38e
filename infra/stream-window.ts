/**
 * How much one sender may have under way to its receiver. The receiver measures: a round lasts from a grant to the
 * first byte that could not have been sent without it, so the shortest round is the round trip, and what arrived in a
 * round is the rate. The window grows towards twice what the line holds, and shrinks when the sink is what is slow: all
 * bytes that are under way are latency for everybody else on the connection.
 */

import { chunkBytes, initialCreditBytes } from './wire.ts'

export const largestWindowBytes = 4 * 2 ** 20
export const smallestWindowBytes = chunkBytes

/** The first megabytes go to buffers of kernels, which always keep up: a window is at most this part of what came. */
const largestShare = 1 / 32

/** What a busy process may add to a round trip before it comes to grant again. */
const turnMs = 2

/** A sink that was full for so long has stalled: what was measured before says nothing any more. */
const stalledMs = 250

interface Round {
  /** Received before it began, and the last byte that needed no further grant. */
  readonly fromBytes: number
  readonly toBytes: number
  readonly startedAt: number
}

export class StreamWindow {
  #bytes: number
  #roundTripMs = Number.POSITIVE_INFINITY
  #round: Round | undefined
  #fullSince: number | undefined
  #fullMs = 0

  constructor(bytes = initialCreditBytes) {
    this.#bytes = bytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** For when there is no room for it. */
  shrinkTo(bytes: number): void {
    this.#bytes = bytes
  }

  /** A grant goes out now; without it the sender could go on up to `toBytes`. */
  granted(fromBytes: number, toBytes: number): void {
    if (this.#round) return
    this.#round = { fromBytes, toBytes, startedAt: performance.now() }
    this.#fullMs = 0
  }

  /** So much has been received in all. True when the window is another one now. */
  received(bytes: number): boolean {
    const round = this.#round
    if (!round || bytes <= round.toBytes) return false
    this.#round = undefined
    const now = performance.now()
    const tookMs = Math.max(now - round.startedAt, 0.1)
    const fullMs = this.#fullMs + (this.#fullSince === undefined ? 0 : now - this.#fullSince)
    this.#roundTripMs = Math.min(this.#roundTripMs, tookMs)
    const rate = (bytes - round.fromBytes) / tookMs
    const wantedBytes = 2 * rate * (this.#roundTripMs + turnMs)
    return this.#follow(Math.min(wantedBytes, bytes * largestShare), fullMs > tookMs / 2)
  }

  /** The sink takes no more. */
  full(): void {
    this.#fullSince ??= performance.now()
  }

  /** The sink takes more again. */
  drained(): void {
    if (this.#fullSince === undefined) return
    const fullMs = performance.now() - this.#fullSince
    this.#fullSince = undefined
    this.#fullMs += fullMs
    if (fullMs > stalledMs) this.#bytes = Math.min(this.#bytes, smallestWindowBytes)
  }

  #follow(wantedBytes: number, isSinkSlow: boolean): boolean {
    const before = this.#bytes
    if (wantedBytes > before) {
      this.#bytes = Math.min(wantedBytes, 2 * before, largestWindowBytes)
    } else if (isSinkSlow) {
      this.#bytes = Math.min(Math.max(wantedBytes, smallestWindowBytes), before)
    }
    this.#bytes = Math.floor(this.#bytes)
    return this.#bytes !== before
  }
}

/**
 * What all streams of a process may take together: bytes under way on its connection to the bus, so that it never
 * becomes a slow consumer, and memory. One chunk of every stream is outside of both, so a used-up budget makes streams
 * slower and stops none. A stream counts from the time when it carries more than a chunk: thousands of idle ones, each
 * with the credit that the protocol gives it at the start, take nothing from the others.
 */

import { smallestWindowBytes } from './stream-window.ts'

export interface StreamBudgetOptions {
  memoryBytes: number
  /** Granted and not received, over all streams. The server cuts off who is 64 MiB behind. */
  underWayBytes?: number
}

/** What a full window takes in memory: views of larger reads, copies on their way. */
export const memoryOfWindow = 2.5

const defaultUnderWayBytes = 16 * 2 ** 20

export class StreamBudget {
  readonly #windowBytes: number
  readonly #underWayBytes: number
  #usedWindowBytes = 0
  #usedUnderWayBytes = 0

  constructor({ memoryBytes, underWayBytes = defaultUnderWayBytes }: StreamBudgetOptions) {
    this.#windowBytes = memoryBytes / memoryOfWindow
    this.#underWayBytes = underWayBytes
  }

  get usedMemoryBytes(): number {
    return this.#usedWindowBytes * memoryOfWindow
  }

  get usedUnderWayBytes(): number {
    return this.#usedUnderWayBytes
  }

  /** A stream's window changes; answers how large it may be. */
  resizeWindow(fromBytes: number, toBytes: number): number {
    const roomBytes = this.#windowBytes - this.#usedWindowBytes + fromBytes
    const bytes = Math.min(toBytes, Math.max(Math.floor(roomBytes), smallestWindowBytes))
    this.#usedWindowBytes += bytes - fromBytes
    return bytes
  }

  /** A stream may be granted so many bytes more than the `fromBytes` that it has under way, or as many as there are. */
  grant(fromBytes: number, toBytes: number): number {
    const roomBytes = this.#underWayBytes - this.#usedUnderWayBytes + beyondGuarantee(fromBytes)
    const bytes = Math.min(toBytes, smallestWindowBytes + Math.max(roomBytes, 0))
    if (bytes <= fromBytes) return fromBytes
    this.moved(fromBytes, bytes)
    return bytes
  }

  /** A stream has so much under way now: bytes have arrived, or it begins or ends. */
  moved(fromBytes: number, toBytes: number): void {
    this.#usedUnderWayBytes += beyondGuarantee(toBytes) - beyondGuarantee(fromBytes)
  }
}

function beyondGuarantee(bytes: number): number {
  return Math.max(0, bytes - smallestWindowBytes)
}

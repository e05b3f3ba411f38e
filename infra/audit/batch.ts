/**
 * Events published as one batch of JetStream's fast ingest (ADR-50, nats-server 2.14, stream option `allow_batched`):
 * each is stored and reaches live tails at once, and one acknowledgement covers all before it. Everything stands in
 * the reply subject, `<inbox>.<batch>.<flow>.fail.<sequence>.<operation>.$FI`; `fail` makes the server end the batch
 * at the first gap, so that "stored up to N" is the truth. Beside an id and an acknowledgement for each event that is
 * half the CPU, in the service and in the server.
 */

import type { Buffer } from 'node:buffer'

/** A message under way. */
export interface Entry {
  readonly id: string
  readonly subject: string
  /** Events, a line each (parcel.ts). */
  readonly data: Buffer
  /** How many. */
  readonly events: number
  readonly recordedAtMs: number
  readonly isFromSpill: boolean
  /** Counts up in the order in which they are to stand in the stream. */
  order: number
  sentAtMs: number
  /** The stream may have it already, so the server has to compare ids. */
  mayBeStored: boolean
}

/** At most so many events between two acknowledgements; the server lowers it when many publish at once. */
const flow = 500

const operations = { start: 0, append: 1, end: 3 } as const

export class Batch {
  readonly name: string
  /** The server has answered as one that knows batches. */
  isConfirmed = false
  readonly #inbox: string
  readonly #entries: (Entry | undefined)[] = []
  #settledUpTo = 0
  #unsettled = 0
  #unsettledBytes = 0

  constructor(inbox: string, name: string) {
    this.#inbox = inbox
    this.name = name
  }

  /** Events that are not acknowledged. */
  get size(): number {
    return this.#unsettled
  }

  /** What they amount to. */
  get bytes(): number {
    return this.#unsettledBytes
  }

  /** The reply subject that makes the next event part of the batch. */
  get nextReply(): string {
    const sequence = this.#entries.length + 1
    return this.#reply(sequence, sequence === 1 ? operations.start : operations.append)
  }

  /** Makes an empty message the end of the batch; the server does not store it. */
  get endReply(): string {
    return this.#reply(this.#entries.length + 1, operations.end)
  }

  add(entry: Entry): void {
    this.#entries.push(entry)
    this.#unsettled++
    this.#unsettledBytes += entry.data.length
  }

  /** Everything up to a sequence is stored. */
  *settle(upTo: number): Generator<Entry> {
    while (this.#settledUpTo < Math.min(upTo, this.#entries.length)) {
      yield* this.settleOne(++this.#settledUpTo)
    }
  }

  /** One event is stored; says nothing of the others. */
  *settleOne(sequence: number): Generator<Entry> {
    const entry = this.#entries[sequence - 1]
    if (!entry) return
    this.#entries[sequence - 1] = undefined
    this.#unsettled--
    this.#unsettledBytes -= entry.data.length
    yield entry
  }

  unsettled(): Entry[] {
    return this.#entries.filter(entry => entry !== undefined)
  }

  #reply(sequence: number, operation: number): string {
    return `${this.#inbox}.${this.name}.${flow}.fail.${sequence}.${operation}.$FI`
  }
}

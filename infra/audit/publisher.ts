/**
 * Publishes audit events and knows which of them the stream AUDIT has stored. What is sent for the first time goes in
 * batches (batch.ts); what may be stored already, and everything for a stream without batches, goes singly, each with
 * its id as `Nats-Msg-Id` and a reply subject of its own, so that the server drops repetitions (window 2 min). Ids
 * are not sent the first time: the server would keep every one of them in memory for the length of the window.
 */

import type { MsgHdrs } from '@nats-io/transport-node'
import type { Bus, Message } from '../bus.ts'
import { subjects } from '../subjects.ts'
import { type Answer, answerOf, type Refusal } from './answer.ts'
import { Batch, type Entry } from './batch.ts'

export interface PublisherOptions {
  /** Acknowledgements arrive below it. */
  inbox: string
  /** Unique in the stream; names of batches begin with it. */
  run: string
  onStored: (entry: Entry) => void
  /** These have to be sent again. */
  onReturned: (entries: Entry[], reason: string) => void
}

/** Fewer than the server buffers for one stream (10,000), which several services share. */
const maxInFlight = 2_048

/** The same in bytes: what came together in an outage must not fill the socket's queue and the server's all at once. */
const maxInFlightBytes = 8 * 1024 * 1024

/** A batch takes events for so long, then it is ended and acknowledged as a whole. */
const batchMs = 50

/** Nothing is sent for so long after the stream has refused an event. */
const pauseMs = 500

export class Publisher implements Disposable {
  readonly #bus: Bus
  readonly #options: PublisherOptions
  readonly #prefix: string
  readonly #batches = new Map<string, Batch>()
  readonly #singles = new Map<string, Entry>()
  readonly #stack = new DisposableStack()
  #open: Batch | undefined
  #count = 0
  #inFlight = 0
  #inFlightBytes = 0
  #pausedUntilMs = 0
  /** Until the stream shows that it takes none. */
  #usesBatches = true

  constructor(bus: Bus, options: PublisherOptions) {
    this.#bus = bus
    this.#options = options
    this.#prefix = `${options.inbox}.`
    const answers = bus.subscribe(`${options.inbox}.>`, {
      callback: message => this.#take(message),
    })
    this.#stack.defer(() => answers.unsubscribe())
  }

  /** False when it cannot be sent now: no connection, too much under way, or the stream has just refused. */
  send(entry: Entry, nowMs: number): boolean {
    if (this.#isFull || nowMs < this.#pausedUntilMs) return false
    const isSent =
      entry.mayBeStored || !this.#usesBatches ? this.#sendSingle(entry) : this.#sendInBatch(entry)
    if (!isSent) return false
    entry.sentAtMs = nowMs
    this.#inFlight++
    this.#inFlightBytes += entry.data.length
    return true
  }

  get #isFull(): boolean {
    return this.#inFlight >= maxInFlight || this.#inFlightBytes >= maxInFlightBytes
  }

  /** It is not under way any more. */
  #landed({ data }: Entry): void {
    this.#inFlight--
    this.#inFlightBytes -= data.length
  }

  #sendSingle(entry: Entry): boolean {
    const key = this.#nextName()
    const headers = messageId(entry.id)
    const options = { reply: this.#prefix + key, headers }
    if (!this.#bus.publish(entry.subject, entry.data, options)) return false
    this.#singles.set(key, entry)
    return true
  }

  #sendInBatch(entry: Entry): boolean {
    const batch = this.#open ?? this.#begin()
    if (!this.#bus.publish(entry.subject, entry.data, { reply: batch.nextReply })) return false
    batch.add(entry)
    return true
  }

  #begin(): Batch {
    const batch = new Batch(this.#options.inbox, this.#nextName())
    this.#batches.set(batch.name, batch)
    this.#open = batch
    setTimeout(() => this.#end(batch), batchMs).unref()
    return batch
  }

  #nextName(): string {
    return `${this.#options.run}-${(this.#count++).toString(36)}`
  }

  /** Ends what is under way now instead of a little later. */
  hurry(): void {
    if (this.#open) this.#end(this.#open)
  }

  /** A server that does not know batches would store the end as an empty event: the first answer tells. */
  #end(batch: Batch): void {
    if (this.#open === batch) this.#open = undefined
    if (!batch.isConfirmed || !this.#batches.has(batch.name)) return
    this.#bus.publish(subjects.auditBatchEnd, new Uint8Array(0), { reply: batch.endReply })
  }

  #take(message: Message): void {
    const answer = answerOf(message)
    const [name = '', , , sequence, , mark] = message.subject.slice(this.#prefix.length).split('.')
    const batch = this.#batches.get(name)
    if (batch && mark === '$FI') this.#takeForBatch(batch, Number(sequence), answer)
    else this.#takeForSingle(name, answer)
  }

  #takeForSingle(key: string, answer: Answer): void {
    const entry = this.#singles.get(key)
    if (!entry) return
    this.#singles.delete(key)
    this.#landed(entry)
    if (answer.is === 'refused') this.#refused([entry], answer)
    else this.#options.onStored(entry)
  }

  #takeForBatch(batch: Batch, sequence: number, answer: Answer): void {
    if (answer.is === 'refused') {
      this.#forget(batch)
      this.#refused(batch.unsettled(), answer)
      return
    }
    if (answer.is === 'stored-alone') {
      this.#usesBatches = false
      this.#settle(batch.settleOne(sequence))
    } else {
      this.#settle(batch.settle(answer.upTo))
    }
    if (answer.is === 'ended') this.#ended(batch)
    else if (answer.is === 'stored-up-to') this.#confirmed(batch)
  }

  #confirmed(batch: Batch): void {
    if (batch.isConfirmed) return
    batch.isConfirmed = true
    if (this.#open !== batch) this.#end(batch)
  }

  #ended(batch: Batch): void {
    const missing = batch.unsettled()
    this.#forget(batch)
    if (missing.length > 0) this.#options.onReturned(missing, 'the batch was ended early')
  }

  #settle(stored: Iterable<Entry>): void {
    for (const entry of stored) {
      this.#landed(entry)
      this.#options.onStored(entry)
    }
  }

  #refused(entries: Entry[], refusal: Refusal): void {
    if (refusal.of === 'batches') this.#usesBatches = false
    else if (refusal.of === 'events') this.#pausedUntilMs = performance.now() + pauseMs
    this.#options.onReturned(entries, refusal.reason)
  }

  /** After a reconnect: another server may be another version, and its stream may have other settings. */
  startAfresh(): void {
    this.#usesBatches = true
    this.#pausedUntilMs = 0
  }

  /** Takes back what was sent before a time and is not acknowledged. */
  recall(beforeMs: number): void {
    const late: Entry[] = []
    for (const batch of this.#batches.values()) {
      const entries = batch.unsettled()
      if (entries.length > 0 && !entries.some(entry => entry.sentAtMs <= beforeMs)) continue
      if (entries.length === 0 && this.#open === batch) continue
      // Stored, but nobody says so: until the next reconnect each event gets an answer of its own.
      if (entries.length > 0 && batch.isConfirmed) this.#usesBatches = false
      this.#forget(batch)
      late.push(...entries)
    }
    for (const [key, entry] of this.#singles) {
      if (entry.sentAtMs > beforeMs) continue
      this.#singles.delete(key)
      this.#landed(entry)
      late.push(entry)
    }
    if (late.length > 0) this.#options.onReturned(late, 'no acknowledgement came in time')
  }

  hasOlderThan(timeMs: number): boolean {
    for (const entry of this.#singles.values()) if (entry.recordedAtMs < timeMs) return true
    for (const batch of this.#batches.values()) {
      if (batch.unsettled().some(entry => entry.recordedAtMs < timeMs)) return true
    }
    return false
  }

  #forget(batch: Batch): void {
    if (this.#open === batch) this.#open = undefined
    this.#batches.delete(batch.name)
    this.#inFlight -= batch.size
    this.#inFlightBytes -= batch.bytes
  }

  [Symbol.dispose](): void {
    this.#stack.dispose()
  }
}

/**
 * The one header of a single event, encoded directly: the library's publish needs nothing else of a header object,
 * and its general one costs more than everything else about an event together.
 */
function messageId(id: string): MsgHdrs {
  const header = { encode: () => Buffer.from(`NATS/1.0\r\nNats-Msg-Id: ${id}\r\n\r\n`, 'latin1') }
  return header as unknown as MsgHdrs
}

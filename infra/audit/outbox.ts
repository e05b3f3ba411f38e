/**
 * Events between `record` and their acknowledgement by the stream. One that is not acknowledged is published again
 * after 2 s, or at once when the connection has come back. Bounded: so many and so much in memory, the rest goes to the
 * spill file, and what finds no room there is dropped, counted, and makes the trail unhealthy. Order is kept through all
 * of that: what is sent again goes before what is newer, and nothing overtakes what lies in the file. All times here
 * are of the steady clock (performance.now).
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '../bus.ts'
import type { Logger } from '../log.ts'
import { PassingMap } from '../passing-map.ts'
import { type SeldomLog, seldom } from '../seldom-log.ts'
import { subjects } from '../subjects.ts'
import type { Entry } from './batch.ts'
import { asEntry, type GatheredEvent, Gathering } from './parcel.ts'
import { Publisher } from './publisher.ts'
import { Spill } from './spill.ts'

export interface OutboxOptions {
  /** Acknowledgements arrive below it. */
  inbox: string
  /** Unique to this outbox. */
  run: string
  maxPendingEvents: number
  maxPendingBytes: number
  spillFile: string | undefined
  maxSpillBytes: number
  log: Logger
}

/** An event that has been under way for so long is sent again. */
const resendAfterMs = 2_000

/** An unacknowledged event of this age means that the trail cannot be relied on at the moment. */
const unhealthyAfterMs = 5_000

/**
 * Events leave together after so long: waking the server and its stream costs several times as much as an event does
 * once they are awake. Live tails do not notice, and a process that is killed loses no more than this.
 */
const gatherMs = 5

/** So many leave at once, so that publishing them never holds up the event loop for long. */
const gatherEvents = 128

/**
 * Of the last room that there is, requests to applications get so much: a flood of them, which an outage brings, does
 * not push out what is rare and tells most, as sign-ins, revocations and what administrators do.
 */
const shareOfAccess = 7 / 8
const accessPrefix = subjects.auditsLike('access').slice(0, -'*.*'.length)

const tickMs = 100

/** What the protocol line and a header may take of the largest message, generously. */
const overheadBytes = 1_024

const maxOctetsOfCharacter = 3

export class Outbox implements AsyncDisposable {
  isHealthy = true
  dropped = 0
  readonly #bus: Bus
  readonly #options: OutboxOptions
  readonly #publisher: Publisher
  readonly #spill: Spill | undefined
  /** What has come lately. */
  readonly #gathered = new Gathering()
  /** To be published as soon as the connection and the publisher take it. */
  readonly #waiting = new PassingMap<Entry>()
  /** To be sent again. They left before everything that waits, so they do so once more. */
  readonly #again: Entry[] = []
  #isAgainInOrder = true
  readonly #stack = new DisposableStack()
  /** Events in `#waiting`, in `#again` and with the publisher. */
  #closed = 0
  #closedBytes = 0
  #count = 0
  #isDropping = false
  #gathering: NodeJS.Timeout | undefined
  /** The publisher took no more at the last attempt. */
  #isBlocked = false
  readonly #seldom: SeldomLog
  #emptied: PromiseWithResolvers<void> | undefined

  constructor(bus: Bus, options: OutboxOptions) {
    this.#bus = bus
    this.#options = options
    this.#seldom = seldom(options.log, 'error')
    this.#spill = this.#openSpill()
    this.#publisher = this.#stack.use(
      new Publisher(bus, {
        inbox: options.inbox,
        run: options.run,
        onStored: entry => this.#stored(entry),
        onReturned: (entries, reason) => this.#returned(entries, reason),
      }),
    )
    this.#stack.defer(bus.onStatus(status => this.#turn(status === 'connected')))
    const tick = setInterval(() => this.#tick(), tickMs).unref()
    this.#stack.defer(() => clearInterval(tick))
  }

  #openSpill(): Spill | undefined {
    const { spillFile, maxSpillBytes, log } = this.#options
    if (spillFile === undefined) return undefined
    const onLoss = (events: number) => this.drop('audit events could not be kept', events)
    return new Spill(spillFile, { maxBytes: maxSpillBytes, log, onLoss })
  }

  get pending(): number {
    return this.#gathered.size + this.#closed
  }

  add(event: GatheredEvent): void {
    if (!this.#fits(event.json)) {
      this.drop('an audit event is larger than a message may be')
      return
    }
    if (this.#belongsInSpill() && this.#spill?.append(event.json, shareOf(event))) return
    // While a full file is read back, what it cannot take overtakes it: that is better than to be lost.
    if (!this.#isBelow(this.#spill ? 1 : shareOf(event))) {
      this.drop('audit events find no room')
      return
    }
    this.#gathered.add(event)
    if (!this.#bus.isConnected) return
    if (this.#gathered.size === gatherEvents) this.#pump()
    else this.#gathering ??= setTimeout(() => this.#pump(), gatherMs).unref()
  }

  #belongsInSpill(): boolean {
    return this.#spill !== undefined && (this.#spill.isAhead || !this.#isBelow(1))
  }

  /** Memory holds less than this share of what it may. */
  #isBelow(share: number): boolean {
    const { maxPendingEvents, maxPendingBytes } = this.#options
    const bytes = this.#gathered.characters + this.#closedBytes
    return this.pending < maxPendingEvents * share && bytes < maxPendingBytes * share
  }

  #fits(json: string): boolean {
    const room = this.#bus.maxPayloadBytes - overheadBytes
    return json.length * maxOctetsOfCharacter <= room || Buffer.byteLength(json) <= room
  }

  #wait(entry: Entry): void {
    this.#closed += entry.events
    this.#closedBytes += entry.data.length
    entry.order = this.#count++
    this.#waiting.set(entry.id, entry)
  }

  /** Counts events that are lost, and says so loudly, though not for each one. */
  drop(reason: string, events = 1): void {
    this.dropped += events
    this.#isDropping = true
    this.isHealthy = false
    this.#complain(`${reason}: EVENTS ARE LOST`)
  }

  #stored(entry: Entry): void {
    this.#closed -= entry.events
    this.#closedBytes -= entry.data.length
    if (entry.isFromSpill) this.#spill?.settle()
    if (this.#isBlocked) this.#pump()
    if (this.#emptied && this.pending === 0) this.#emptied.resolve()
  }

  #returned(entries: Entry[], reason: string): void {
    if (this.#bus.isConnected) this.#complain('audit events have to be sent again', { reason })
    for (const entry of entries) {
      entry.mayBeStored = true
      this.#again.push(entry)
    }
    this.#isAgainInOrder = false
  }

  #pump(nowMs = performance.now()): void {
    clearTimeout(this.#gathering)
    this.#gathering = undefined
    this.#isBlocked = false
    // While nothing can leave, what comes goes on to gather: larger messages, and fewer of them.
    if (!this.#bus.isConnected) return
    for (const entry of this.#gathered.take()) this.#wait(entry)
    this.#isBlocked = !this.#sendAgain(nowMs) || !this.#sendWaiting(nowMs)
  }

  /** False when something is left. */
  #sendAgain(nowMs: number): boolean {
    const again = this.#inOrder()
    const blocked = again.findIndex(entry => !this.#publisher.send(entry, nowMs))
    again.splice(0, blocked < 0 ? again.length : blocked)
    return blocked < 0
  }

  #sendWaiting(nowMs: number): boolean {
    for (const entry of this.#waiting.values()) {
      if (!this.#publisher.send(entry, nowMs)) return false
      this.#waiting.delete(entry.id)
    }
    return true
  }

  /** What has to be sent again. */
  #inOrder(): Entry[] {
    if (!this.#isAgainInOrder) this.#again.sort((a, b) => a.order - b.order)
    this.#isAgainInOrder = true
    return this.#again
  }

  #turn(isConnected: boolean): void {
    if (!isConnected) {
      this.#publisher.recall(Number.POSITIVE_INFINITY)
      return
    }
    this.#publisher.startAfresh()
    this.#pump()
  }

  #tick(): void {
    const nowMs = performance.now()
    this.#publisher.recall(nowMs - resendAfterMs)
    // What has gathered is older than what the file holds of this process.
    this.#pump(nowMs)
    this.#refill(nowMs)
    this.#pump(nowMs)
    this.#spill?.flush()
    this.#judge(nowMs)
  }

  #refill(nowMs: number): void {
    if (!this.#spill || !this.#bus.isConnected) return
    if (this.#waiting.size > 0 || this.#again.length > 0) return
    const room = Math.floor(this.#options.maxPendingEvents / 2) - this.pending
    for (const event of this.#spill.take(room)) {
      this.#wait(asEntry({ ...event, recordedAtMs: nowMs }, [event.json], true))
    }
  }

  #judge(nowMs: number): void {
    if (this.#isBelow(shareOfAccess)) this.#isDropping = false
    const isLate = this.#hasOlderThan(nowMs - unhealthyAfterMs)
    this.isHealthy = !isLate && !this.#isDropping
    if (isLate) this.#complain('audit events are not acknowledged')
  }

  #hasOlderThan(timeMs: number): boolean {
    if (this.#gathered.oldestMs() < timeMs) return true
    if (this.#again.some(({ recordedAtMs }) => recordedAtMs < timeMs)) return true
    for (const entry of this.#waiting.values()) if (entry.recordedAtMs < timeMs) return true
    return this.#publisher.hasOlderThan(timeMs)
  }

  #complain(complaint: string, details: { reason?: string } = {}): void {
    const { pending, dropped } = this
    this.#seldom(complaint, { pending, dropped, ...details }, complaint)
  }

  async flush(deadlineMs: number): Promise<boolean> {
    if (this.pending === 0) return true
    this.#emptied ??= Promise.withResolvers<void>()
    this.#pump()
    this.#publisher.hurry()
    await Promise.race([this.#emptied.promise, sleep(deadlineMs, undefined, { ref: false })])
    if (this.pending > 0) return false
    this.#emptied = undefined
    return true
  }

  /** Gives what is not acknowledged to the spill file, for the next process. */
  async [Symbol.asyncDispose](): Promise<void> {
    const droppedBefore = this.dropped
    this.#publisher.recall(Number.POSITIVE_INFINITY)
    this.#stack.dispose()
    for (const entry of this.#gathered.take()) this.#wait(entry)
    for (const { isFromSpill, data } of [...this.#inOrder(), ...this.#waiting.values()]) {
      if (isFromSpill) continue
      for (const json of data.toString().split('\n')) {
        if (!this.#spill?.append(json)) this.dropped++
      }
    }
    this.#spill?.flush()
    const lost = this.dropped - droppedBefore
    if (lost === 0) return
    this.#options.log.error({ lost }, 'stopped before audit events were stored: EVENTS ARE LOST')
  }
}

function shareOf({ subject }: GatheredEvent): number {
  return subject.startsWith(accessPrefix) ? shareOfAccess : 1
}

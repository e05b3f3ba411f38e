/**
 * The audit trail of a service. `record` stands on the path of every request: it never throws and never waits, and
 * what it is given is published with all that comes within some milliseconds. Delivery is at least once: an event
 * stays in the outbox (audit/outbox.ts) until the stream AUDIT has acknowledged it, and readers tell repetitions by `id`.
 */

import { randomBytes } from 'node:crypto'
import { membersOf } from './audit/json.ts'
import { Outbox } from './audit/outbox.ts'
import type { Bus } from './bus.ts'
import type { AuditEvent, RedactedField } from './contracts/audit.ts'
import type { Logger } from './log.ts'
import { subjects } from './subjects.ts'

/** An event before it is recorded; `id`, `time` and `source` are added here. */
export type NewAuditEvent = WithoutOrigin<AuditEvent>
type WithoutOrigin<Event> = Event extends AuditEvent ? Omit<Event, 'id' | 'time' | 'source'> : never

export interface AuditOptions {
  /** The role on the bus: it stands in `source` and in the private inbox for acknowledgements. */
  service: string
  log: Logger
  /** Events kept in memory until they are acknowledged. */
  maxPendingEvents?: number
  /** The same in bytes, for events may be small or large. */
  maxPendingBytes?: number
  /** Where events go that memory has no room for. One file per process; what a former one left is sent first. */
  spillFile?: string
  /** Largest spill file. What finds no room there either is dropped, counted and reported. */
  maxSpillBytes?: number
  /** What events must not say; it is replaced by `[redacted]`. */
  redacted?: readonly RedactedField[] | undefined
}

const redaction = '[redacted]'

export interface Audit extends AsyncDisposable {
  record(event: NewAuditEvent): void
  /** How events may show a value that stands within another field: as it is, or as `[redacted]`. */
  shown(field: RedactedField, value: string): string
  /** False while events are dropped, or when one has waited more than 5 s for its acknowledgement. */
  readonly isHealthy: boolean
  /** Events not acknowledged yet, those in the spill file left out. */
  readonly pending: number
  /** Events lost since the start. */
  readonly dropped: number
  /** Waits until everything recorded so far is acknowledged; false when that takes longer. */
  flush(deadlineMs: number): Promise<boolean>
}

const defaultMaxPendingEvents = 50_000
const defaultMaxPendingBytes = 64 * 1024 * 1024
const defaultMaxSpillBytes = 256 * 1024 * 1024

/** How long disposal waits for acknowledgements before it gives the rest to the spill file. */
const disposalDeadlineMs = 3_000

/** Opens the trail of one service. Dispose it before the bus. */
export function openAudit(bus: Bus, options: AuditOptions): Audit {
  return new AuditTrail(bus, options)
}

class AuditTrail implements Audit {
  readonly #outbox: Outbox
  readonly #log: Logger
  readonly #source: string
  readonly #redacted: readonly RedactedField[]
  /** Unique to this run: event ids must not repeat after a restart, when the counter begins again. */
  readonly #run = randomBytes(9).toString('base64url')
  #count = 0
  #timeMs = 0
  #time = ''

  constructor(bus: Bus, options: AuditOptions) {
    const { service, log, maxSpillBytes = defaultMaxSpillBytes } = options
    this.#log = log
    this.#redacted = options.redacted ?? []
    this.#source = JSON.stringify(`${service}/${bus.instance}`)
    this.#outbox = new Outbox(bus, {
      inbox: `${subjects.inbox(service, bus.instance)}.audit`,
      run: this.#run,
      maxPendingEvents: options.maxPendingEvents ?? defaultMaxPendingEvents,
      maxPendingBytes: options.maxPendingBytes ?? defaultMaxPendingBytes,
      spillFile: options.spillFile,
      maxSpillBytes,
      log,
    })
  }

  get isHealthy(): boolean {
    return this.#outbox.isHealthy
  }

  get pending(): number {
    return this.#outbox.pending
  }

  get dropped(): number {
    return this.#outbox.dropped
  }

  record(event: NewAuditEvent): void {
    try {
      const id = `${this.#run}-${(this.#count++).toString(36)}`
      const members = membersOf(this.#redacted.length > 0 ? this.#redact(event) : event)
      this.#outbox.add({
        id,
        subject: subjects.audit(event.category, event.application ?? undefined, event.outcome),
        json: `{"id":"${id}","time":"${this.#timeAt(Date.now())}","source":${this.#source},${members}`,
        recordedAtMs: performance.now(),
      })
    } catch (error) {
      this.#outbox.drop('an audit event could not be written')
      this.#log.error({ error, category: event.category }, 'an audit event could not be written')
    }
  }

  #redact(event: NewAuditEvent): NewAuditEvent {
    const changed: NewAuditEvent & Partial<Record<RedactedField, unknown>> = { ...event }
    for (const field of this.#redacted) {
      if (typeof changed[field] === 'string') changed[field] = redaction
    }
    return changed
  }

  shown(field: RedactedField, value: string): string {
    return this.#redacted.includes(field) ? redaction : value
  }

  flush(deadlineMs: number): Promise<boolean> {
    return this.#outbox.flush(deadlineMs)
  }

  #timeAt(nowMs: number): string {
    if (nowMs !== this.#timeMs) {
      this.#timeMs = nowMs
      this.#time = new Date(nowMs).toISOString()
    }
    return this.#time
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#outbox.flush(disposalDeadlineMs)
    await this.#outbox[Symbol.asyncDispose]()
  }
}

/**
 * Events that memory had no room for, one JSON object per line in a file. They are read back when the outbox has
 * room again, and the file is removed only when every event read from it is acknowledged: a process that dies in
 * between sends them once more.
 */

import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import { ConfigurationError } from '../config.ts'
import type { Logger } from '../log.ts'
import { type SeldomLog, seldom } from '../seldom-log.ts'
import { auditCategories, subjects } from '../subjects.ts'

export interface SpilledEvent {
  readonly id: string
  readonly subject: string
  readonly json: string
}

export interface SpillOptions {
  maxBytes: number
  log: Logger
  /** Called with the number of events that were taken or found and are lost now, as far as it is known. */
  onLoss: (events: number) => void
}

/** What an event must have to be published. */
const Line = z.object({
  id: z.string().regex(/^[\w-]{1,64}$/),
  category: z.enum(auditCategories),
  application: z.string().nullable(),
  outcome: z.string(),
})

/** Lines are written together when so much has come together, at the latest with the next `flush`. */
const writeBytes = 256 * 1024

/** Longer than any event: a message holds 1 MiB at most. */
const readBytes = 2 * 1024 * 1024

export class Spill {
  readonly #path: string
  readonly #options: SpillOptions
  readonly #complain: SeldomLog
  #lines: string[] = []
  #lineBytes = 0
  #fileBytes: number
  #takenBytes = 0
  #unsettled = 0
  #isAhead = false

  /** @throws ConfigurationError when nothing can be kept there: not only once there is something to keep. */
  constructor(path: string, options: SpillOptions) {
    this.#path = path
    this.#options = options
    this.#complain = seldom(options.log, 'error')
    this.#fileBytes = bytesIn(path)
  }

  /** It holds events of this process that were not taken yet: whatever comes after them must wait behind them. */
  get isAhead(): boolean {
    return this.#isAhead
  }

  /** False when there is no room for it in this share of the file. */
  append(json: string, share = 1): boolean {
    const bytes = Buffer.byteLength(json) + 1
    if (this.#fileBytes + this.#lineBytes + bytes > this.#options.maxBytes * share) return false
    this.#isAhead = true
    this.#lines.push(json)
    this.#lineBytes += bytes
    if (this.#lineBytes >= writeBytes) this.flush()
    return true
  }

  /** Writes what came together. */
  flush(): void {
    if (this.#lines.length === 0) return
    const count = this.#lines.length
    const block = Buffer.from(`${this.#lines.join('\n')}\n`)
    this.#lines = []
    this.#lineBytes = 0
    try {
      this.#write(block)
    } catch (error) {
      this.#failed(error, 'the audit spill cannot be written')
      this.#options.onLoss(count)
    }
  }

  /** All of a block or nothing: half a line would spoil the next one. */
  #write(block: Buffer): void {
    const file = openSync(this.#path, 'a', 0o600)
    const before = fstatSync(file).size
    try {
      for (let at = 0; at < block.length; ) at += writeSync(file, block, at)
      this.#fileBytes += block.length
    } catch (error) {
      ftruncateSync(file, before)
      throw error
    } finally {
      closeSync(file)
    }
  }

  /**
   * Reads up to `room` events; each must be settled later. Removes the file when all of it is settled. What cannot be
   * read at the moment (too many files are open, say) is left for the next time.
   */
  take(room: number): SpilledEvent[] {
    this.flush()
    try {
      return this.#take(room)
    } catch (error) {
      this.#failed(error, 'the audit spill cannot be read')
      return []
    }
  }

  #take(room: number): SpilledEvent[] {
    if (this.#fileBytes > 0) this.#noticeLoss()
    if (this.#takenBytes >= this.#fileBytes) {
      this.#isAhead = false
      if (this.#fileBytes > 0 && this.#unsettled === 0) this.#remove()
      return []
    }
    const lines = this.#readLines(room)
    const events = lines.map(asEvent).filter(event => event !== undefined)
    if (events.length < lines.length) this.#options.onLoss(lines.length - events.length)
    this.#unsettled += events.length
    this.#isAhead &&= this.#takenBytes < this.#fileBytes
    return events
  }

  settle(): void {
    this.#unsettled--
  }

  #readLines(room: number): string[] {
    const lines: string[] = []
    const block = this.#read()
    const isLast = this.#takenBytes + block.length >= this.#fileBytes
    let start = 0
    while (lines.length < room && start < block.length) {
      const end = block.indexOf(10, start)
      if (end < 0 && !isLast) break
      lines.push(block.toString('utf8', start, end < 0 ? block.length : end))
      start = end < 0 ? block.length : end + 1
    }
    this.#takenBytes += start
    return lines
  }

  #read(): Buffer {
    const block = Buffer.allocUnsafe(Math.min(readBytes, this.#fileBytes - this.#takenBytes))
    const file = openSync(this.#path, 'r')
    try {
      return block.subarray(0, readSync(file, block, 0, block.length, this.#takenBytes))
    } finally {
      closeSync(file)
    }
  }

  /** The file is ours alone. Where somebody removed or cut it nevertheless, nobody knows how many events it held. */
  #noticeLoss(): void {
    const size = this.#size()
    if (size >= this.#fileBytes) return
    this.#fileBytes = size
    this.#takenBytes = 0
    this.#options.onLoss(1)
  }

  #size(): number {
    return statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0
  }

  #failed(error: unknown, complaint: string): void {
    this.#complain(complaint, { error, path: this.#path }, complaint)
  }

  #remove(): void {
    rmSync(this.#path, { force: true })
    this.#fileBytes = 0
    this.#takenBytes = 0
  }
}

function bytesIn(path: string): number {
  try {
    accessSync(dirname(path), constants.W_OK)
    const present = statSync(path, { throwIfNoEntry: false })
    if (present && !present.isFile()) throw new Error('it is no file')
    return present?.size ?? 0
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new ConfigurationError(
      `SALLYPORT_…_AUDIT_SPILL_PATH: ${path} cannot be used (${code ?? message})`,
    )
  }
}

function asEvent(json: string): SpilledEvent | undefined {
  try {
    const { id, category, application, outcome } = Line.parse(JSON.parse(json))
    return { id, json, subject: subjects.audit(category, application ?? undefined, outcome) }
  } catch {
    return undefined
  }
}

/**
 * Audit events of one subject that come together leave as one message, a line of JSON each: whatever a message costs
 * its sender, the server and the stream is then shared, and subjects still say exactly what is inside. Each event
 * keeps its own id; that of the first one is the message's.
 */

import { Buffer } from 'node:buffer'
import type { Entry } from './batch.ts'

export interface GatheredEvent {
  readonly id: string
  readonly subject: string
  /** One line. */
  readonly json: string
  /** By the steady clock. */
  readonly recordedAtMs: number
}

/** A parcel of so many characters takes nothing more, so that a stream is read in messages of moderate size. */
const maxCharacters = 48 * 1024

interface Parcel {
  readonly first: GatheredEvent
  readonly lines: string[]
  characters: number
}

export class Gathering {
  /**
   * By subject; only the last one of each takes more. It is left, not cleared: V8 keeps what was in a cleared table as
   * long as the table that came before it (PassingMap), which would be all events until the whole heap is marked.
   */
  #open = new Map<string, Parcel>()
  /** As octets, outside the heap: in an outage there are many. */
  #full: Entry[] = []
  #events = 0
  #characters = 0

  /** Events in it. */
  get size(): number {
    return this.#events
  }

  /** Their length; few of them take more than a byte. */
  get characters(): number {
    return this.#characters
  }

  add(event: GatheredEvent): void {
    this.#events++
    const { subject, json } = event
    this.#characters += json.length
    const parcel = this.#open.get(subject)
    if (parcel && parcel.characters + json.length <= maxCharacters) {
      parcel.lines.push(json)
      parcel.characters += json.length
      return
    }
    if (parcel) this.#full.push(entryOf(parcel))
    this.#open.set(subject, { first: event, lines: [json], characters: json.length })
  }

  /** Hands out everything, in the order of each subject. */
  take(): Entry[] {
    const entries = [...this.#full, ...[...this.#open.values()].map(entryOf)]
    this.#open = new Map()
    this.#full = []
    this.#events = 0
    this.#characters = 0
    return entries
  }

  oldestMs(): number {
    let oldestMs = Number.POSITIVE_INFINITY
    // One that began earlier may have been full later.
    for (const { recordedAtMs } of this.#full) oldestMs = Math.min(oldestMs, recordedAtMs)
    for (const { first } of this.#open.values()) oldestMs = Math.min(oldestMs, first.recordedAtMs)
    return oldestMs
  }
}

function entryOf({ first, lines }: Parcel): Entry {
  return asEntry(first, lines, false)
}

/** What comes from the spill may be stored already: its process may have died before it could remove the file. */
export function asEntry(
  { id, subject, recordedAtMs }: Omit<GatheredEvent, 'json'>,
  lines: readonly string[],
  isFromSpill: boolean,
): Entry {
  const data = Buffer.from(lines.join('\n'))
  const [events, mayBeStored] = [lines.length, isFromSpill]
  const unsent = { order: 0, sentAtMs: 0, mayBeStored }
  return { id, subject, data, events, recordedAtMs, isFromSpill, ...unsent }
}

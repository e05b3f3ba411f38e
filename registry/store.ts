/**
 * A bucket that the registry owns: read from memory, written by compare-and-set. `change` compares the revision of the
 * whole bucket, so a rule over several entries (no two applications at one address) holds even when several registries
 * write at once. `replace` and `remove` compare one entry only, for facts that come in all the time.
 * A write returns when this registry's own view shows it.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import {
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamPublishOptions,
  jetstream,
} from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { headers } from '@nats-io/transport-node'
import type { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import { SallyportError } from '#infra/errors.ts'
import {
  type Change,
  type EntryOf,
  type Snapshot,
  type SnapshotOptions,
  watchBucket,
} from '#infra/snapshot.ts'
import { bucketEntry } from '#infra/subjects.ts'

export interface Versioned<Value> {
  readonly value: Value
  readonly revision: number
}

export interface Write<Value> {
  readonly id: string
  /** Undefined deletes the entry. */
  readonly value: Value | undefined
}

export interface State<Value> {
  readonly entries: ReadonlyMap<string, Value>
  get(id: string): Versioned<Value> | undefined
}

/** What to write in this state; undefined: nothing. */
export type Decide<Value> = (
  state: State<Value>,
) => Write<Value> | undefined | Promise<Write<Value> | undefined>

export interface Store<Value> extends State<Value>, AsyncDisposable {
  readonly revision: number
  /** Every entry, ordered by id. */
  list(): Versioned<Value>[]
  /**
   * Asks `decide` what to write in the present state, once more whenever somebody else was faster. Returns the
   * revision written, or undefined when it decided to write nothing.
   */
  change(decide: Decide<Value>): Promise<number | undefined>
  /** Waits until this view shows what was written before the call; throws when that cannot be known. */
  sync(): Promise<void>
  /**
   * Makes every change be decided anew that has been decided, anywhere, and is not written yet; then this view shows
   * all that were written. An entry that never was is deleted for that: nobody sees it, the revision grows.
   */
  fence(): Promise<void>
  /** Writes an entry that has this revision (undefined: that does not exist). False when it has another by now. */
  replace(id: string, value: Value, revision: number | undefined): Promise<boolean>
  /** Removes an entry that has this revision, with its history. False when it has another by now. */
  remove(id: string, revision: number): Promise<boolean>
  onChange(listener: (changes: readonly Change<Value>[]) => void): () => void
}

const writeTimeoutMs = 5_000
const maxAttempts = 20

/** How long a write may take to come back by the watch. It has been stored by then, whatever happens. */
const seenWithinMs = 2_000

/** No id of ours: a Slug begins with a letter or digit. */
const fenceKey = '-'

/** Markers of removed entries go after this time; watchers that come later never knew the entry. */
const markerLifetime = '1h'

const wrongRevision: readonly number[] = [
  JetStreamApiCodes.StreamWrongLastSequence,
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
]

export async function openStore<Schema extends z.ZodType>(
  bus: Bus,
  options: SnapshotOptions<Schema>,
): Promise<Store<EntryOf<Schema>>> {
  const snapshot = await watchBucket(bus, options)
  const js = jetstream(bus.connection, { timeout: writeTimeoutMs })
  const kv = await new Kvm(js).open(options.bucket)
  return new BucketStore({ bus, bucket: options.bucket, snapshot, js, kv })
}

interface Parts<Value> {
  bus: Bus
  bucket: string
  snapshot: Snapshot<Value>
  js: JetStreamClient
  kv: KV
}

class BucketStore<Value> implements Store<Value> {
  readonly #parts: Parts<Value>
  /** One change after the other within this process: otherwise all but one would have to start over. */
  #queue: Promise<unknown> = Promise.resolve()

  constructor(parts: Parts<Value>) {
    this.#parts = parts
  }

  get entries(): ReadonlyMap<string, Value> {
    return this.#parts.snapshot.entries
  }

  get revision(): number {
    return this.#parts.snapshot.revision
  }

  get(id: string): Versioned<Value> | undefined {
    return stateOf(this.#parts.snapshot).get(id)
  }

  list(): Versioned<Value>[] {
    const { entries, get } = stateOf(this.#parts.snapshot)
    return [...entries.keys()].sort().flatMap(id => get(id) ?? [])
  }

  change(decide: Decide<Value>): Promise<number | undefined> {
    const result = this.#queue.then(() => this.#change(decide))
    this.#queue = result.catch(() => undefined)
    return result
  }

  async #change(decide: Decide<Value>): Promise<number | undefined> {
    const { bus, bucket, snapshot, js } = this.#parts
    for (let count = 1; count <= maxAttempts; count++) {
      const { revision: before } = snapshot
      const write = await decide(stateOf(snapshot))
      if (!write) return undefined
      const subject = bucketEntry(bucket, write.id)
      const revision = await compareAndSet(bus, async () => {
        return (await js.publish(subject, ...message(write, before))).seq
      })
      await this.#untilSeen(revision ?? before + 1)
      if (revision !== undefined) return revision
    }
    throw new SallyportError('conflict', `${bucket} changes too often to be written`)
  }

  async sync(): Promise<void> {
    const { bus, bucket, kv, snapshot } = this.#parts
    const { state } = await confirmed(bus, async () => (await kv.status()).streamInfo)
    if (await snapshot.reached(state.last_seq, seenWithinMs)) return
    throw new SallyportError('bus_unavailable', `changes of ${bucket} do not arrive`)
  }

  async fence(): Promise<void> {
    const { bus, bucket, js } = this.#parts
    const [payload, options] = message({ id: fenceKey, value: undefined })
    await confirmed(bus, () => js.publish(bucketEntry(bucket, fenceKey), payload, options))
    await this.sync()
  }

  async replace(id: string, value: Value, revision: number | undefined): Promise<boolean> {
    const { bus, kv } = this.#parts
    const json = JSON.stringify(value)
    const written = await compareAndSet(bus, () =>
      revision === undefined ? kv.create(id, json) : kv.update(id, json, revision),
    )
    if (written !== undefined) await this.#untilSeen(written)
    return written !== undefined
  }

  async remove(id: string, revision: number): Promise<boolean> {
    const { bus, kv } = this.#parts
    const removed = await compareAndSet(bus, () =>
      kv.purge(id, { previousSeq: revision, ttl: markerLifetime }).then(() => revision),
    )
    return removed !== undefined
  }

  onChange(listener: (changes: readonly Change<Value>[]) => void): () => void {
    return this.#parts.snapshot.onChange(listener)
  }

  async #untilSeen(revision: number): Promise<void> {
    const deadline = performance.now() + seenWithinMs
    while (this.revision < revision && performance.now() < deadline) await sleep(1)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.snapshot[Symbol.asyncDispose]()
  }
}

/** The state as it is now; later swaps do not change it. */
function stateOf<Value>({ entries, revisions }: Snapshot<Value>): State<Value> {
  const get = (id: string) => {
    const value = entries.get(id)
    const revision = revisions.get(id)
    return value === undefined || revision === undefined ? undefined : { value, revision }
  }
  return { entries, get }
}

/** A delete is a message that says so, as the key-value clients write it. */
function message(
  { value }: Write<unknown>,
  lastSequence?: number,
): [string, Partial<JetStreamPublishOptions>] {
  const expect = lastSequence === undefined ? {} : { lastSequence }
  if (value !== undefined) return [JSON.stringify(value), { expect }]
  const deletion = headers()
  deletion.set('KV-Operation', 'DEL')
  return ['', { expect, headers: deletion }]
}

/** The new revision, undefined when somebody else was faster, or an error that says that nothing is known. */
function compareAndSet(bus: Bus, write: () => Promise<number>): Promise<number | undefined> {
  return confirmed(bus, async () => {
    try {
      return await write()
    } catch (error) {
      if (error instanceof JetStreamApiError && wrongRevision.includes(error.code)) return undefined
      throw error
    }
  })
}

/** What the store answers, or an error that says that nothing is known. */
async function confirmed<Answer>(bus: Bus, ask: () => Promise<Answer>): Promise<Answer> {
  if (!bus.isConnected) throw new SallyportError('bus_unavailable', 'the bus is not connected')
  try {
    return await ask()
  } catch (cause) {
    throw new SallyportError(
      'bus_unavailable',
      'the store did not answer; read again to see whether the change was made',
      { cause },
    )
  }
}

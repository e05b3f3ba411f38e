/**
 * A bucket as an immutable map in memory, kept current by a watch. Readers take `entries` once and use that map to
 * the end of their work; a change puts a new map in its place, which shares with the old one what did not change. When
 * the store is away the last state stays.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { jetstream } from '@nats-io/jetstream'
import { type KV, Kvm, type KvWatchEntry } from '@nats-io/kv'
import type { z } from 'zod'
import type { Bus } from './bus.ts'
import { detailOf } from './errors.ts'
import type { Logger } from './log.ts'
import { type Edit, PersistentMap } from './persistent-map.ts'

export interface SnapshotOptions<Schema extends z.ZodType> {
  bucket: string
  /** An entry that it makes undefined is left out, as one that is not meant for this reader. */
  schema: Schema
  log: Logger
  signal?: AbortSignal
}

/** What a schema makes of the entries that are not left out. */
export type EntryOf<Schema extends z.ZodType> = Exclude<z.output<Schema>, undefined>

export interface Change<Value> {
  readonly key: string
  readonly before: Value | undefined
  readonly after: Value | undefined
}

export interface Snapshot<Value> extends AsyncDisposable {
  readonly entries: ReadonlyMap<string, Value>
  /** Grows by one with every swap. */
  readonly version: number
  /** The bucket's revision that `entries` shows: whoever writes against it writes knowing the whole bucket. */
  readonly revision: number
  /** Revision of each entry. */
  readonly revisions: ReadonlyMap<string, number>
  /** Calls back after each swap with what changed, until the returned function is called. */
  onChange(listener: (changes: readonly Change<Value>[]) => void): () => void
  /** Waits until `entries` shows this revision; false when it does not in time. */
  reached(revision: number, timeoutMs: number): Promise<boolean>
}

interface Entry<Value> {
  readonly value: Value
  readonly revision: number
}

/** How long to wait before a bucket that cannot be watched is tried again. */
const retryMs = 500

/** Two watchers of a bucket are rarely more than a millisecond apart. */
const reachedPollMs = 2

/** Longest wait for one answer of the store: one that a dead node should have given never comes. */
const answersWithinMs = 2_000

/** A watch that is to deliver more and has been silent for so long is made anew. */
const silentAfterMs = 2_000

/** How often a watch is compared with its bucket; what the bucket had one time, the watch must have the next. */
const compareEveryMs = 2_000

/** Opens a bucket and resolves when its present content has been read. Waits for a bucket that is not there yet. */
export async function watchBucket<Schema extends z.ZodType>(
  bus: Bus,
  options: SnapshotOptions<Schema>,
): Promise<Snapshot<EntryOf<Schema>>> {
  const watched = new WatchedBucket<Schema>(bus, options)
  await watched.ready
  return watched
}

class WatchedBucket<Schema extends z.ZodType> implements Snapshot<EntryOf<Schema>> {
  entries = new PersistentMap<EntryOf<Schema>>()
  version = 0
  revision = 0
  revisions = new PersistentMap<number>()
  readonly ready: Promise<void>
  readonly #bus: Bus
  readonly #options: SnapshotOptions<Schema>
  readonly #listeners = new Set<(changes: readonly Change<EntryOf<Schema>>[]) => void>()
  #pending = new Map<string, Entry<EntryOf<Schema>> | undefined>()
  #pendingRevision = 0
  /** When the bucket was created of which something is pending. */
  #pendingCreated: string | undefined
  #swap: NodeJS.Immediate | undefined
  /** False while a watch delivers what was in the bucket when it was made: that is put together once, when it is whole. */
  #isCaughtUp = false
  /** When the bucket was created whose revisions these are. */
  #created: string | undefined
  #stopped = false
  #stop: (() => void) | undefined

  constructor(bus: Bus, options: SnapshotOptions<Schema>) {
    this.#bus = bus
    this.#options = options
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.ready = promise
    this.#follow(resolve).catch(reject)
  }

  onChange(listener: (changes: readonly Change<EntryOf<Schema>>[]) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async reached(revision: number, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs
    while (this.revision < revision && performance.now() < deadline) await sleep(reachedPollMs)
    return this.revision >= revision
  }

  async #follow(ready: () => void): Promise<void> {
    const { bucket, log, signal } = this.#options
    for (let attempt = 1; !this.#stopped; attempt++) {
      signal?.throwIfAborted()
      try {
        await this.#watch(ready)
      } catch (error) {
        if (this.#stopped) return
        const line = { bucket, reason: detailOf(error) }
        if (attempt % 10 === 1) log.warn(line, 'bucket cannot be watched yet, trying again')
      }
      if (!this.#stopped) await sleep(retryMs, undefined, { ref: false })
    }
  }

  async #watch(ready: () => void): Promise<void> {
    const store = jetstream(this.#bus.connection, { timeout: answersWithinMs })
    const kv = await new Kvm(store).open(this.#options.bucket)
    const status = await kv.status()
    const isEmpty = status.values === 0
    const { created, state } = status.streamInfo
    const isSame = created === this.#created
    const first = state.last_seq
    let latest = 0
    if (this.#swap) this.#apply()
    this.#isCaughtUp = false
    // What a watch had read that got stuck on the way need not be read again.
    if (created !== this.#pendingCreated) this.#pending.clear()
    this.#pendingCreated = created
    const watch = await kv.watch()
    this.#stop = () => watch.stop()
    const seen = new Set<string>()
    const caughtUp = (revision: number) => {
      this.#isCaughtUp = true
      silence[Symbol.dispose]()
      for (const key of this.#pending.keys()) if (!seen.has(key)) this.#pending.delete(key)
      for (const key of this.entries.keys()) if (!seen.has(key)) this.#pending.set(key, undefined)
      seen.clear()
      this.#created = created
      this.#pendingRevision = revision
      this.#apply()
      ready()
    }
    // What the bucket had when it was asked may have expired since then; otherwise the watch has got stuck.
    using silence = setTimeout(() => watch.stop(), silentAfterMs)
    if (isEmpty) caughtUp(first)
    using _comparing = this.#compare(kv, watch, () => Math.max(first, latest))
    for await (const entry of watch) {
      latest = entry.revision
      if (!this.#has(entry, isSame)) this.#take(entry)
      if (this.#isCaughtUp) {
        this.#pendingRevision = latest
        this.#swap ??= setImmediate(() => this.#apply())
        continue
      }
      seen.add(entry.key)
      silence.refresh()
      if (entry.delta === 0) caughtUp(Math.max(first, latest))
    }
  }

  /** Whether a watch that was made anew delivers what is known already. */
  #has({ key, revision }: KvWatchEntry, isSame: boolean): boolean {
    const pending = this.#pending.get(key)
    if (pending || this.#pending.has(key)) return pending?.revision === revision
    return isSame && this.revisions.get(key) === revision
  }

  /**
   * Ends a watch that does not deliver what the bucket has, so that it is made anew. The client library notices only
   * after a minute that the node which served it has died, and never what got lost while that node was cut off.
   */
  #compare(kv: KV, watch: { stop(): void }, delivered: () => number): Disposable {
    const { bucket, log } = this.#options
    let had = 0
    const timer = setInterval(() => {
      if (!this.#isCaughtUp) return
      if (had > delivered()) {
        log.warn({ bucket }, 'a watch has lost changes, watching anew')
        watch.stop()
        return
      }
      const asked = this.#bus.isConnected ? kv.status() : Promise.reject()
      asked.then(
        status => {
          had = status.streamInfo.state.last_seq
        },
        () => undefined,
      )
    }, compareEveryMs)
    return { [Symbol.dispose]: () => clearInterval(timer) }
  }

  #take(entry: KvWatchEntry): void {
    const { schema, bucket, log } = this.#options
    const isGone = entry.operation !== 'PUT'
    let usable: Entry<EntryOf<Schema>> | undefined
    if (!isGone) {
      const result = schema.safeParse(decode(entry))
      if (result.success) usable = entryOf(result.data, entry.revision)
      else
        log.error(
          { bucket, key: entry.key, error: result.error.message },
          'unreadable entry left out',
        )
    }
    this.#pending.set(entry.key, usable)
  }

  #apply(): void {
    if (this.#swap) clearImmediate(this.#swap)
    this.#swap = undefined
    const pending = this.#pending
    this.#pending = new Map()
    const changes: Change<EntryOf<Schema>>[] = []
    for (const [key, entry] of pending) {
      const before = this.entries.get(key)
      const after = entry?.value
      if (before !== undefined || after !== undefined) changes.push({ key, before, after })
    }
    this.entries = this.entries.with(edits(pending, ({ value }) => value))
    this.revisions = this.revisions.with(edits(pending, ({ revision }) => revision))
    this.revision = this.#pendingRevision
    this.version++
    if (changes.length > 0) for (const listener of this.#listeners) listener(changes)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    if (this.#swap) clearImmediate(this.#swap)
    this.#stop?.()
  }
}

function* edits<Value, Part>(
  pending: ReadonlyMap<string, Entry<Value> | undefined>,
  partOf: (entry: Entry<Value>) => Part,
): Iterable<Edit<Part>> {
  for (const [key, entry] of pending) yield [key, entry && partOf(entry)]
}

function entryOf<Value>(
  value: Value,
  revision: number,
): Entry<Exclude<Value, undefined>> | undefined {
  return value === undefined ? undefined : { value: value as Exclude<Value, undefined>, revision }
}

function decode(entry: KvWatchEntry): unknown {
  try {
    return entry.json()
  } catch {
    return undefined
  }
}

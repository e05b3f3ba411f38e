/**
 * A key-value bucket that registry makes: opened however long that takes, read so that a replica that lags behind
 * hides nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { type Bus, busWaitMs } from './bus.ts'
import { detailOf } from './errors.ts'
import type { Logger } from './log.ts'
import { bucketEntry } from './subjects.ts'

export interface BucketOptions {
  log: Logger
  /** Longest wait for one answer of the store. */
  timeoutMs: number
  signal?: AbortSignal
}

export interface StoredEntry {
  readonly text: string
  /** For compare-and-set. */
  readonly revision: number
}

export interface Bucket {
  readonly kv: KV
  /** The entry, or undefined when there is none: a miss is read once more from the leader. */
  read(key: string): Promise<StoredEntry | undefined>
  /** One change, which fails as soon as the bus is lost, whether or not it was made. */
  write<Result>(change: (kv: KV) => Promise<Result>): Promise<Result>
}

const retryMs = 500

/** Any replica answers a reading, in milliseconds; one that hangs answers never, so another one is asked then. */
const readWithinMs = 1_500

export async function openBucket(bus: Bus, name: string, options: BucketOptions): Promise<Bucket> {
  const { log, timeoutMs, signal } = options
  const reading = { timeout: Math.min(timeoutMs, readWithinMs) }
  const manager = await jetstreamManager(bus.connection, { ...reading, checkAPI: false })
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    try {
      const kv = await new Kvm(jetstream(bus.connection, { timeout: timeoutMs })).open(name)
      await kv.status()
      const reader = await new Kvm(jetstream(bus.connection, reading)).open(name)
      const readOnce = (key: string) => read(reader, manager, name, key)
      return {
        kv,
        read: key => asking(bus, () => readOnce(key).catch(() => readOnce(key))),
        write: change => bus.whileConnected(() => change(kv)),
      }
    } catch (error) {
      const line = { bucket: name, reason: detailOf(error) }
      if (attempt % 10 === 1) log.warn(line, 'bucket cannot be opened yet, trying again')
      await sleep(retryMs, undefined, signal ? { signal } : {})
    }
  }
}

/** What was under way when the connection broke is asked once more. */
async function asking<Answer>(bus: Bus, ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    await bus.untilConnected(busWaitMs)
    const answered = await bus.untilLost(ask)
    if (answered) return answered.value
  }
}

async function read(
  kv: KV,
  manager: JetStreamManager,
  name: string,
  key: string,
): Promise<StoredEntry | undefined> {
  const entry = await kv.get(key)
  if (entry) {
    const isThere = entry.operation === 'PUT'
    return isThere ? { text: entry.string(), revision: entry.revision } : undefined
  }
  const message = await manager.streams.getMessage(`KV_${name}`, {
    last_by_subj: bucketEntry(name, key),
  })
  if (!message || message.header?.get('KV-Operation')) return undefined
  return { text: message.string(), revision: message.seq }
}

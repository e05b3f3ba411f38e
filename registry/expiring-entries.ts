/**
 * A bucket whose entries each bring their own lifetime, read and written one by one: nothing of it is kept in memory,
 * since it is asked for seldom. Writes compare and set, so of two registries that use up an entry one finds it used.
 */

import {
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamPublishOptions,
  jetstream,
} from '@nats-io/jetstream'
import { headers } from '@nats-io/transport-node'
import type { z } from 'zod'
import { openBucket } from '#infra/bucket.ts'
import type { Bus } from '#infra/bus.ts'
import { SallyportError } from '#infra/errors.ts'
import { parseJson } from '#infra/json.ts'
import type { Logger } from '#infra/log.ts'
import { bucketEntry } from '#infra/subjects.ts'
import type { Versioned } from './store.ts'

export interface ExpiringEntries<Value> {
  read(key: string): Promise<Versioned<Value> | undefined>
  /**
   * Writes an entry that vanishes after `lifetimeMs`. With `revision` (0: none must be there) false when somebody else
   * was faster.
   */
  write(
    key: string,
    value: Value,
    options: { lifetimeMs: number; revision?: number },
  ): Promise<boolean>
  /** Removes an entry that has this revision; false when somebody else was faster. */
  remove(key: string, revision: number): Promise<boolean>
}

export interface EntriesOptions<Schema extends z.ZodType> {
  bucket: string
  schema: Schema
  log: Logger
  signal?: AbortSignal
}

const timeoutMs = 5_000

/** How long a removed entry is remembered, for those who watch. */
const markerLifetime = '10m'

const wrongRevision: readonly number[] = [
  JetStreamApiCodes.StreamWrongLastSequence,
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
]

export async function openExpiringEntries<Schema extends z.ZodType>(
  bus: Bus,
  { bucket, schema, log, signal }: EntriesOptions<Schema>,
): Promise<ExpiringEntries<z.output<Schema>>> {
  const stored = await openBucket(bus, bucket, { log, timeoutMs, ...(signal && { signal }) })
  const js = jetstream(bus.connection, { timeout: timeoutMs })
  const publish = (key: string, content: string, options: Partial<JetStreamPublishOptions>) =>
    answered(bus, () => isFirst(js.publish(bucketEntry(bucket, key), content, options)))
  return {
    async read(key) {
      const entry = await answered(bus, () => stored.read(key))
      if (!entry) return undefined
      const value = parseJson(schema, Buffer.from(entry.text), `${bucket}/${key}`, 'internal')
      return { value, revision: entry.revision }
    },
    write: (key, value, { lifetimeMs, revision }) =>
      publish(key, JSON.stringify(value), {
        ttl: `${Math.max(1, Math.ceil(lifetimeMs / 1_000))}s`,
        ...(revision !== undefined && { expect: { lastSubjectSequence: revision } }),
      }),
    remove(key, revision) {
      const removal = headers()
      removal.set('KV-Operation', 'PURGE')
      removal.set('Nats-Rollup', 'sub')
      const expect = { lastSubjectSequence: revision }
      return publish(key, '', { headers: removal, ttl: markerLifetime, expect })
    },
  }
}

/** False when somebody else wrote before. */
async function isFirst(written: Promise<unknown>): Promise<boolean> {
  try {
    await written
    return true
  } catch (error) {
    if (error instanceof JetStreamApiError && wrongRevision.includes(error.code)) return false
    throw error
  }
}

async function answered<Answer>(bus: Bus, ask: () => Promise<Answer>): Promise<Answer> {
  if (!bus.isConnected) throw new SallyportError('bus_unavailable', 'the bus is not connected')
  try {
    return await ask()
  } catch (cause) {
    throw new SallyportError('bus_unavailable', 'the store did not answer', { cause })
  }
}

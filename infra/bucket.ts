/** Opens a key-value bucket that registry makes, however long that takes. */

import { setTimeout as sleep } from 'node:timers/promises'
import { jetstream } from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import type { Bus } from '#infra/bus.ts'
import type { Logger } from '#infra/log.ts'

export interface BucketOptions {
  log: Logger
  /** Longest wait for one answer of the store. */
  timeoutMs: number
  signal?: AbortSignal
}

const retryMs = 500

export async function openBucket(bus: Bus, name: string, options: BucketOptions): Promise<KV> {
  const { log, timeoutMs, signal } = options
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    try {
      const bucket = await new Kvm(jetstream(bus.connection, { timeout: timeoutMs })).open(name)
      await bucket.status()
      return bucket
    } catch (error) {
      const line = { bucket: name, reason: error instanceof Error ? error.message : String(error) }
      if (attempt % 10 === 1) log.warn(line, 'bucket cannot be opened yet, trying again')
      await sleep(retryMs, undefined, signal ? { signal } : {})
    }
  }
}

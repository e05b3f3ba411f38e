/**
 * Makes this process's public key known before it signs anything, and keeps it known. The bucket forgets a key that is
 * no longer refreshed, so the key of a process that stopped or was killed outlives its last lease and then goes by
 * itself: nobody removes keys, and no process can break the leases of another.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { KV } from '@nats-io/kv'
import type { Logger } from '#infra/log.ts'

/** Far below the lifetime of an entry in the bucket (10 min), so that a store may be away for a while. */
export const leaseKeyRefreshMs = 60_000
const retryMs = 500

/** How long registry and connectors get to hear of a key before anything is signed with it. */
const headStartMs = 250

/** A public key under the name that it rests by. */
interface PublicKey {
  readonly kid: string
}

/** Resolves when the key is stored and connectors have had time to hear of it. */
export async function publishLeaseKey(
  bucket: KV,
  key: PublicKey,
  { log, signal }: { log: Logger; signal?: AbortSignal },
): Promise<Disposable> {
  const cancel = signal ? { signal } : {}
  while (!(await put(bucket, key, log))) await sleep(retryMs, undefined, cancel)
  await sleep(headStartMs, undefined, cancel)
  const refresh = setInterval(() => void put(bucket, key, log), leaseKeyRefreshMs).unref()
  return { [Symbol.dispose]: () => clearInterval(refresh) }
}

async function put(bucket: KV, key: PublicKey, log: Logger): Promise<boolean> {
  try {
    await bucket.put(key.kid, JSON.stringify(key))
    return true
  } catch (error) {
    log.warn({ reason: error instanceof Error ? error.message : error }, 'lease key not stored')
    return false
  }
}

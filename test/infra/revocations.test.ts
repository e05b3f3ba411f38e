/** Revocations: said at once, kept for later, and never said late of what has begun anew. */

import { jetstreamManager } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { expect, test } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import { Revocation, revocationKey } from '#infra/contracts/policy.ts'
import { sessionLifetimeMs } from '#infra/contracts/principal.ts'
import { createLogger } from '#infra/log.ts'
import { Revoker } from '#infra/revocations.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { startTestNats } from '../harness/nats.ts'

const log = createLogger('test', 'silent')
const patient = { timeout: 10_000 }

const prepare = (bus: Bus) =>
  prepareStorage(bus, { replicas: 1, auditMaxBytes: 2 ** 24, auditMaxAgeMs: 3_600_000, log })

/** A bus with storage, a gateway that listens, and what is stored. */
async function startGround() {
  await using stack = new AsyncDisposableStack()
  const nats = stack.use(await startTestNats())
  const registry = await nats.connect('registry')
  await prepare(registry)
  const gateway = await nats.connect('gateway')
  const heard: Revocation[] = []
  gateway.subscribe(subjects.revocations, {
    callback: ({ data }) => heard.push(Revocation.parse(JSON.parse(data.toString()))),
  })
  await gateway.connection.flush()
  const bucket = await new Kvm(registry.connection).open(buckets.revocations)
  const stored = async ({ kind, id }: Revocation) => {
    const entry = await bucket.get(revocationKey(kind, id))
    return entry?.operation === 'PUT' ? Revocation.parse(entry.json()) : undefined
  }
  const manager = await jetstreamManager(registry.connection)
  const owned = stack.move()
  return {
    bus: registry,
    bucket,
    heard,
    stored,
    /** Takes the bucket away until storage is prepared again. */
    loseBucket: () => manager.streams.delete(`KV_${buckets.revocations}`),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const revocation: Revocation = {
  kind: 'application',
  id: 'wiki',
  atMs: 1,
  reason: 'test',
  revision: 7,
}

test('a revocation is heard at once and kept, also by a service that stops right after', async () => {
  await using ground = await startGround()
  {
    await using revoker = new Revoker({ ...ground, log })
    revoker.revoke(revocation)
  }
  expect(await ground.stored(revocation)).toEqual(revocation)
  await expect.poll(() => ground.heard, patient).toEqual([revocation])
})

test('what cannot be stored is heard all the same, and stored and said again when that is possible', async () => {
  await using ground = await startGround()
  await using revoker = new Revoker({ ...ground, log })
  await ground.loseBucket()
  revoker.revoke(revocation)
  await expect.poll(() => ground.heard, patient).toEqual([revocation])
  await prepare(ground.bus)
  await expect.poll(() => ground.stored(revocation), patient).toEqual(revocation)
  await expect.poll(() => ground.heard, patient).toEqual([revocation, revocation])
})

test('what has begun anew meanwhile is not revoked late', async () => {
  await using ground = await startGround()
  {
    await using revoker = new Revoker({ ...ground, log, isStillMeant: () => false })
    await ground.loseBucket()
    revoker.revoke(revocation)
    await expect.poll(() => ground.heard, patient).toEqual([revocation])
    await prepare(ground.bus)
  }
  expect(await ground.stored(revocation)).toBeUndefined()
  expect(ground.heard).toHaveLength(1)
})

test('what is stored late does not take the place of a later one', async () => {
  const ofUser = (atMs: number): Revocation => ({ kind: 'user', id: 'ada', atMs, reason: 'test' })
  await using ground = await startGround()
  {
    await using revoker = new Revoker({ ...ground, log })
    await ground.loseBucket()
    revoker.revoke(ofUser(1))
    await expect.poll(() => ground.heard, patient).toHaveLength(1)
    await prepare(ground.bus)
    // By another registry, which meets the bucket as soon as it is there.
    await ground.bucket.put(revocationKey('user', 'ada'), JSON.stringify(ofUser(2)))
    await expect.poll(() => ground.heard, patient).toHaveLength(2)
  }
  expect(await ground.stored(ofUser(2))).toEqual(ofUser(2))
})

test('a tombstone outlives the longest session', async () => {
  await using ground = await startGround()
  const { ttl } = await ground.bucket.status()
  const sessions = await new Kvm(ground.bus.connection).open(buckets.sessions)
  expect(ttl).toBeGreaterThan((await sessions.status()).ttl)
  expect((await sessions.status()).ttl).toBeGreaterThanOrEqual(sessionLifetimeMs)
})

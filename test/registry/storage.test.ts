import { jetstreamManager } from '@nats-io/jetstream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { maxLastLeaseMinutes } from '#infra/contracts/application.ts'
import { leaseLifetimeMs } from '#infra/contracts/policy.ts'
import { createLogger } from '#infra/log.ts'
import { buckets, streams } from '#infra/subjects.ts'
import { leaseKeyRefreshMs } from '../../policy/lease-key.ts'
import { prepareStorage, type StorageOptions } from '../../registry/storage.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'

const log = createLogger('test', 'silent')
const dayMs = 86_400_000

let nats: TestNats

beforeAll(async () => {
  nats = await startTestNats()
})
afterAll(() => nats[Symbol.asyncDispose]())

const prepare = async (more: Partial<StorageOptions> = {}) => {
  const bus = await nats.connect('registry')
  const auditMaxBytes = 2 ** 24
  await prepareStorage(bus, { replicas: 1, auditMaxBytes, auditMaxAgeMs: 90 * dayMs, log, ...more })
  return bus
}

const configOf = async (stream: string) => {
  const manager = await jetstreamManager((await nats.connect('registry')).connection)
  return (await manager.streams.info(stream)).config
}

const lifetimeMs = (nanoseconds: number) => nanoseconds / 1_000_000

test('every bucket is created with its lifetime and history', async () => {
  await prepare()
  const settings = await Promise.all(
    Object.values(buckets).map(async bucket => {
      const { max_age, max_msgs_per_subject, num_replicas } = await configOf(`KV_${bucket}`)
      return [bucket, lifetimeMs(max_age) / 3_600_000, max_msgs_per_subject, num_replicas]
    }),
  )
  expect(settings).toEqual([
    ['applications', 0, 5, 1],
    ['connector-groups', 0, 5, 1],
    ['connectors', 0, 1, 1],
    ['sessions', 24, 1, 1],
    ['codes', 1 / 60, 1, 1],
    ['principals', 24, 1, 1],
    ['revocations', 25, 1, 1],
    ['policies', 0, 5, 1],
    ['signals', 0, 1, 1],
    ['lease-keys', 1 / 6, 1, 1],
    ['assertion-keys', 1 / 6, 1, 1],
    ['enrolment-tokens', 0, 1, 1],
    ['enrolment-consents', 0, 1, 1],
    ['revoked-certificates', 0, 1, 1],
  ])
})

test('the key of a policy service that was killed is known for as long as its last leases may be used', async () => {
  await prepare()
  const { max_age } = await configOf(`KV_${buckets.leaseKeys}`)
  const lastUseMs = leaseLifetimeMs + maxLastLeaseMinutes * 60_000
  expect(lifetimeMs(max_age) - leaseKeyRefreshMs).toBeGreaterThanOrEqual(lastUseMs)
})

test('nobody can delete single audit events or purge the trail', async () => {
  const bus = await prepare()
  expect(await configOf(streams.audit)).toMatchObject({
    subjects: expect.arrayContaining(['sallyport.audit.>']),
    storage: 'file',
    deny_delete: true,
    deny_purge: true,
    allow_direct: true,
    allow_atomic: true,
  })
  const { streams: api } = await jetstreamManager(bus.connection)
  await expect(api.purge(streams.audit)).rejects.toThrow(/purge not permitted/)
})

test('a later start keeps the content and takes over changed settings', async () => {
  const bus = await prepare()
  bus.publishJson('sallyport.audit.admin.-.updated', { id: '1' })
  await bus.connection.flush()
  await prepare({ auditMaxBytes: 2 ** 25, auditMaxAgeMs: 7 * dayMs })
  const config = await configOf(streams.audit)
  expect(config.max_bytes).toBe(2 ** 25)
  expect(lifetimeMs(config.max_age)).toBe(7 * dayMs)
  const manager = await jetstreamManager(bus.connection)
  expect((await manager.streams.info(streams.audit)).state.messages).toBe(1)
})

test('replicas without a cluster end the start with the setting and the fix', async () => {
  await using other = await startTestNats()
  const bus = await other.connect('registry')
  const options = { replicas: 3, auditMaxBytes: 2 ** 24, auditMaxAgeMs: dayMs, log }
  await expect(prepareStorage(bus, options)).rejects.toThrow(/SALLYPORT_REGISTRY_REPLICAS to 1/)
})

test('an audit trail larger than the disk ends the start with the setting and the fix', async () => {
  await using other = await startTestNats()
  const bus = await other.connect('registry')
  const options = { replicas: 1, auditMaxBytes: 2 ** 49, auditMaxAgeMs: dayMs, log }
  await expect(prepareStorage(bus, options)).rejects.toThrow(/SALLYPORT_REGISTRY_AUDIT_MAX_BYTES/)
})

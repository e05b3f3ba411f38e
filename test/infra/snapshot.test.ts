/** Snapshots of a bucket: complete at the start, current afterwards, and never changed under a reader. */

import { jetstreamManager } from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import { createLogger } from '#infra/log.ts'
import { type Change, type Snapshot, watchBucket } from '#infra/snapshot.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'

const schema = z.object({ name: z.string() })
type Named = z.output<typeof schema>
const log = createLogger('test', 'silent')

let nats: TestNats
let bus: Bus

beforeAll(async () => {
  nats = await startTestNats()
  bus = await nats.connect('registry')
})
afterAll(() => nats[Symbol.asyncDispose]())

const createBucket = (name: string): Promise<KV> =>
  new Kvm(bus.connection).create(name, { markerTTL: 60_000 })

const put = (bucket: KV, key: string, name: string) =>
  bucket.put(key, JSON.stringify({ name } satisfies Named))

const watch = (bucket: string, by = bus): Promise<Snapshot<Named>> =>
  watchBucket(by, { bucket, schema, log })

describe('a snapshot', () => {
  it('is complete when it is there', async () => {
    const bucket = await createBucket('complete')
    for (let number = 0; number < 200; number++) await put(bucket, `key-${number}`, `${number}`)
    await using snapshot = await watch('complete')
    expect(snapshot.entries.size).toBe(200)
    expect(snapshot.entries.get('key-199')).toEqual({ name: '199' })
  })

  it('of an empty bucket is there at once', async () => {
    await createBucket('empty')
    const startMs = performance.now()
    await using snapshot = await watch('empty')
    expect(snapshot.entries.size).toBe(0)
    expect(performance.now() - startMs).toBeLessThan(1_000)
  })

  it('without what was deleted before', async () => {
    const bucket = await createBucket('deleted-before')
    await put(bucket, 'stays', 'a')
    await put(bucket, 'goes', 'b')
    await bucket.delete('goes')
    await using snapshot = await watch('deleted-before')
    expect([...snapshot.entries.keys()]).toEqual(['stays'])
  })

  it('waits for a bucket that is created later', async () => {
    const watching = watch('later')
    const bucket = await createBucket('later')
    await put(bucket, 'key', 'a')
    await using snapshot = await watching
    await expect.poll(() => snapshot.entries.get('key')).toEqual({ name: 'a' })
  })

  it('follows puts, deletes and keys that expire, and tells each change', async () => {
    const bucket = await createBucket('follows')
    await put(bucket, 'key', 'before')
    await using snapshot = await watch('follows')
    const told: Change<Named>[] = []
    snapshot.onChange(changes => told.push(...changes))
    await put(bucket, 'key', 'after')
    await expect.poll(() => snapshot.entries.get('key')).toEqual({ name: 'after' })
    await bucket.delete('key')
    await expect.poll(() => snapshot.entries.has('key')).toBe(false)
    await bucket.create('short', JSON.stringify({ name: 'lived' }), '1s')
    await expect.poll(() => snapshot.entries.has('short')).toBe(true)
    await expect.poll(() => snapshot.entries.has('short'), { timeout: 5_000 }).toBe(false)
    expect(told).toEqual([
      { key: 'key', before: { name: 'before' }, after: { name: 'after' } },
      { key: 'key', before: { name: 'after' }, after: undefined },
      { key: 'short', before: undefined, after: { name: 'lived' } },
      { key: 'short', before: { name: 'lived' }, after: undefined },
    ])
  })

  it('never changes the map that a reader holds', async () => {
    const bucket = await createBucket('immutable')
    await put(bucket, 'key', 'old')
    await using snapshot = await watch('immutable')
    const { entries, version } = snapshot
    await put(bucket, 'key', 'new')
    await expect.poll(() => snapshot.version).toBeGreaterThan(version)
    expect(entries.get('key')).toEqual({ name: 'old' })
    expect(snapshot.entries.get('key')).toEqual({ name: 'new' })
  })

  it('leaves out what cannot be read, and drops what became unreadable', async () => {
    const bucket = await createBucket('unreadable')
    await bucket.put('bad', 'not JSON')
    await put(bucket, 'good', 'a')
    await put(bucket, 'turns', 'b')
    await using snapshot = await watch('unreadable')
    expect([...snapshot.entries.keys()].toSorted()).toEqual(['good', 'turns'])
    await bucket.put('turns', '{"name": 1}')
    await expect.poll(() => [...snapshot.entries.keys()]).toEqual(['good'])
  })

  it('leaves out without a word what its schema makes undefined', async () => {
    const lines: string[] = []
    const telling = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) })
    const bucket = await createBucket('not-for-this-reader')
    const onlyShort = schema.transform(({ name }) => (name.length < 3 ? name : undefined))
    await put(bucket, 'long', 'long')
    await put(bucket, 'short', 'a')
    await using snapshot = await watchBucket(bus, {
      bucket: 'not-for-this-reader',
      schema: onlyShort,
      log: telling,
    })
    expect([...snapshot.entries]).toEqual([['short', 'a']])
    const told: Change<string>[] = []
    snapshot.onChange(changes => told.push(...changes))
    await put(bucket, 'long', 'longer')
    await put(bucket, 'short', 'too long')
    await expect.poll(() => snapshot.entries.size).toBe(0)
    await put(bucket, 'long', 'b')
    await expect.poll(() => [...snapshot.entries]).toEqual([['long', 'b']])
    expect([...snapshot.revisions.keys()]).toEqual(['long'])
    expect(told).toEqual([
      { key: 'short', before: 'a', after: undefined },
      { key: 'long', before: undefined, after: 'b' },
    ])
    expect(lines).toEqual([])
  })

  it('keeps the last state while the bus is away, and catches up when it is back', async () => {
    await using own = await startTestNats()
    const watcher = await own.connect('registry')
    const writer = await own.connect('registry')
    const bucket = await new Kvm(writer.connection).create('outage')
    await put(bucket, 'key', 'before')
    await using snapshot = await watch('outage', watcher)
    await own.kill()
    await expect.poll(() => watcher.isConnected).toBe(false)
    expect(snapshot.entries.get('key')).toEqual({ name: 'before' })
    await own.restart()
    await expect.poll(() => writer.isConnected, { timeout: 10_000 }).toBe(true)
    await put(bucket, 'key', 'after')
    await expect
      .poll(() => snapshot.entries.get('key'), { timeout: 10_000 })
      .toEqual({ name: 'after' })
  })

  it('goes on where a watch got stuck on the way, and reads nothing twice', async () => {
    const bucket = await createBucket('stuck')
    const numbers = Array.from({ length: 2_000 }, (_, number) => number)
    // So much that it does not come at once.
    const long = 'x'.repeat(8_000)
    await Promise.all(numbers.map(number => put(bucket, `key-${number}`, `${number} ${long}`)))
    const manager = await jetstreamManager(bus.connection)
    const read: string[] = []
    const slow = schema.transform(named => {
      read.push(named.name)
      if (read.length === 10) void getStuck()
      for (const until = performance.now() + 0.5; performance.now() < until; );
      return named
    })
    const getStuck = async () => {
      for await (const { name } of manager.consumers.list('KV_stuck')) {
        await manager.consumers.delete('KV_stuck', name)
      }
      await bucket.delete('key-0')
    }
    await using snapshot = await watchBucket(bus, { bucket: 'stuck', schema: slow, log })
    expect(snapshot.entries.size).toBe(1_999)
    expect(snapshot.entries.has('key-0')).toBe(false)
    expect(read).toHaveLength(2_000)
  })

  it('is complete however long it takes to read, and stays so while it is watched anew', async () => {
    const bucket = await createBucket('large')
    const numbers = Array.from({ length: 2_500 }, (_, number) => number)
    // So much that it does not come at once.
    const long = 'x'.repeat(8_000)
    await Promise.all(numbers.map(number => put(bucket, `key-${number}`, `${number} ${long}`)))
    let parsed = 0
    const slow = schema.transform(named => {
      parsed++
      for (const until = performance.now() + 1; performance.now() < until; );
      return named
    })
    await using snapshot = await watchBucket(bus, { bucket: 'large', schema: slow, log })
    expect(snapshot.entries.size).toBe(2_500)
    const told: string[] = []
    snapshot.onChange(changes => told.push(...changes.map(({ key }) => key)))
    const manager = await jetstreamManager(bus.connection)
    for await (const { name } of manager.consumers.list('KV_large')) {
      await manager.consumers.delete('KV_large', name)
    }
    await put(bucket, 'key-7', 'after')
    await expect.poll(() => snapshot.entries.get('key-7')).toEqual({ name: 'after' })
    expect(snapshot.entries.size).toBe(2_500)
    expect(told).toEqual(['key-7'])
    expect(parsed).toBe(2_501)
  })

  it('says nothing more after it was disposed', async () => {
    const bucket = await createBucket('disposed')
    const snapshot = await watch('disposed')
    await using other = await watch('disposed')
    let told = 0
    snapshot.onChange(() => told++)
    await snapshot[Symbol.asyncDispose]()
    await put(bucket, 'key', 'a')
    await expect.poll(() => other.entries.size).toBe(1)
    expect(told).toBe(0)
  })
})

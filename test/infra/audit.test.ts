/**
 * The audit trail against a real nats-server: nothing recorded is lost while the bus or the stream is away, and what
 * has to be lost is said loudly. The stream is made here; registry makes it in production.
 */

import { existsSync } from 'node:fs'
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { jetstream, jetstreamManager, type StreamConfig } from '@nats-io/jetstream'
import pino from 'pino'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Gathering } from '#infra/audit/parcel.ts'
import { type Audit, type AuditOptions, type NewAuditEvent, openAudit } from '#infra/audit.ts'
import type { Bus } from '#infra/bus.ts'
import { AuditEvent, eventsOf } from '#infra/contracts/audit.ts'
import { streams, subjects } from '#infra/subjects.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'

/** Generous, for machines that are busy. */
const soon = { timeout: 5_000 }

const accessOf = (requestId: string): NewAuditEvent => ({
  category: 'access',
  outcome: 'granted',
  requestId,
  user: 'ada@sallyport.localhost',
  session: 'f00d',
  application: 'wiki',
  clientAddress: '127.0.0.1',
  method: 'GET',
  host: 'wiki.sallyport.localhost',
  path: '/',
  status: 200,
  connectorGroup: 'default',
  connector: 'paris-1',
  attempts: 1,
  decision: { outcome: 'grant', reasons: ['users-ok'], policies: [] },
  fault: null,
  faultDetail: null,
  requestBytes: 0,
  responseBytes: 1024,
  decidedMs: 0.1,
  respondedMs: 1,
  durationMs: 1.2,
})

const signInOf = (requestId: string): NewAuditEvent => ({
  category: 'sign-in',
  outcome: 'succeeded',
  requestId,
  user: 'ada@sallyport.localhost',
  session: 'f00d',
  application: null,
  clientAddress: '127.0.0.1',
  reasons: [],
  amr: ['pwd'],
})

async function makeStream(bus: Bus, config: Partial<StreamConfig> = {}): Promise<void> {
  const manager = await jetstreamManager(bus.connection)
  await manager.streams.add({
    name: streams.audit,
    subjects: [subjects.audits, subjects.auditBatchEnd],
    allow_batched: true,
    ...config,
  })
}

async function storedEvents(nats: TestNats): Promise<AuditEvent[]> {
  const bus = await nats.connect('registry')
  const manager = await jetstreamManager(bus.connection)
  const { messages } = (await manager.streams.info(streams.audit)).state
  const events: AuditEvent[] = []
  let read = 0
  if (messages === 0) return events
  const consumer = await jetstream(bus.connection).consumers.get(streams.audit)
  for await (const message of await consumer.fetch({ max_messages: messages, expires: 5_000 })) {
    events.push(...parsed(message.data))
    if (++read === messages) break
  }
  return events
}

const parsed = (data: Uint8Array) => eventsOf(data).map(text => AuditEvent.parse(JSON.parse(text)))

const requestIds = (events: AuditEvent[]) => new Set(events.map(event => event.requestId))

/** A log whose lines can be read. */
function listeningLog() {
  const lines: string[] = []
  return { lines, log: pino({ level: 'warn' }, { write: line => lines.push(line) }) }
}

async function openTrail(nats: TestNats, options: Partial<AuditOptions> = {}) {
  const [bus, registry] = await Promise.all([nats.connect('gateway'), nats.connect('registry')])
  const { lines, log } = listeningLog()
  const audit: Audit = openAudit(bus, { service: 'gateway', log, ...options })
  return { bus, registry, audit, lines }
}

async function cutOff(nats: TestNats, bus: Bus): Promise<void> {
  await nats.kill()
  await expect.poll(() => bus.isConnected, soon).toBe(false)
}

async function temporaryFile(): Promise<AsyncDisposable & { path: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-audit-'))
  return {
    path: join(folder, 'spill.ndjson'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

const noDuplicatesOf = (events: AuditEvent[]) => new Map(events.map(event => [event.id, event]))

test('the oldest of what has gathered is found, whichever of its messages was full first', () => {
  const gathering = new Gathering()
  const add = (subject: string, recordedAtMs: number) =>
    gathering.add({ id: `${recordedAtMs}`, subject, json: 'x'.repeat(30_000), recordedAtMs })
  add('slow', 1)
  for (const recordedAtMs of [2, 3]) add('fast', recordedAtMs)
  add('slow', 4)
  expect(gathering.oldestMs()).toBe(1)
})

describe('audit trail', () => {
  test('an event reaches the stream and live tails, once, with id, time and source', async () => {
    await using nats = await startTestNats()
    const { bus, registry, audit } = await openTrail(nats)
    await using _ = audit
    await makeStream(registry)
    const tail = await nats.connect('auditor')
    const seen: AuditEvent[] = []
    tail.subscribe(subjects.audits, {
      callback: ({ data }) => seen.push(...parsed(data)),
    })
    await tail.connection.flush()
    const startedMs = performance.now()
    for (let i = 0; i < 300; i++) audit.record(accessOf(`r${i}`))
    await expect.poll(() => seen.length, { interval: 5 }).toBe(300)
    expect(performance.now() - startedMs).toBeLessThan(200)
    expect(await audit.flush(2_000)).toBe(true)
    const stored = await storedEvents(nats)
    expect(stored).toEqual(seen)
    expect(noDuplicatesOf(stored).size).toBe(300)
    expect(stored[0]?.source).toBe(`gateway/${bus.instance}`)
    expect(Math.abs(Date.parse(stored[0]?.time ?? '') - Date.now())).toBeLessThan(5_000)
  })

  test('the subject carries category, application and outcome', async () => {
    await using nats = await startTestNats()
    const { registry, audit } = await openTrail(nats)
    await using _ = audit
    await makeStream(registry)
    const tail = await nats.connect('auditor')
    const { promise, resolve } = Promise.withResolvers<string>()
    tail.subscribe('sallyport.audit.access.wiki.granted', { callback: m => resolve(m.subject) })
    await tail.connection.flush()
    audit.record(accessOf('one'))
    expect(await promise).toBe('sallyport.audit.access.wiki.granted')
  })

  test('nothing is lost when the server is killed and started again under load', async () => {
    await using nats = await startTestNats()
    const { bus, registry, audit } = await openTrail(nats)
    await using _ = audit
    await makeStream(registry)
    let recorded = 0
    const stopping = new AbortController()
    const load = (async () => {
      while (!stopping.signal.aborted) {
        for (let i = 0; i < 4; i++) audit.record(accessOf(`r${recorded++}`))
        await pause(1)
      }
    })()
    for (let crash = 0; crash < 3; crash++) {
      const before = recorded
      await expect.poll(() => recorded - before, soon).toBeGreaterThan(1_000)
      await nats.kill()
      const during = recorded
      await expect.poll(() => recorded - during, soon).toBeGreaterThan(200)
      await nats.restart()
      await expect.poll(() => bus.isConnected, { timeout: 10_000 }).toBe(true)
    }
    stopping.abort()
    await load
    expect(await audit.flush(10_000)).toBe(true)
    expect(audit.dropped).toBe(0)
    const stored = await storedEvents(nats)
    expect(noDuplicatesOf(stored).size).toBe(recorded)
    expect(requestIds(stored).size).toBe(recorded)
  }, 60_000)

  test('a stream that takes no batches gets every event once', async () => {
    await using nats = await startTestNats()
    const { registry, audit } = await openTrail(nats)
    await using _ = audit
    await makeStream(registry, { allow_batched: false })
    for (let i = 0; i < 500; i++) {
      audit.record(accessOf(`r${i}`))
      if (i % 50 === 0) await turn()
    }
    expect(await audit.flush(5_000)).toBe(true)
    const stored = await storedEvents(nats)
    expect(stored).toHaveLength(500)
    expect(requestIds(stored).size).toBe(500)
  })

  test('a stream without the subject that ends batches still gets every event', async () => {
    await using nats = await startTestNats()
    const { registry, audit } = await openTrail(nats)
    await using _ = audit
    await makeStream(registry, { subjects: [subjects.audits] })
    for (let i = 0; i < 10; i++) audit.record(accessOf(`r${i}`))
    expect(await audit.flush(5_000)).toBe(true)
    expect(requestIds(await storedEvents(nats)).size).toBe(10)
  })

  test('without a stream the trail turns unhealthy after 5 s, and healthy when it is there', async () => {
    await using nats = await startTestNats()
    const { registry, audit, lines } = await openTrail(nats)
    await using _ = audit
    audit.record(accessOf('early'))
    expect(audit.isHealthy).toBe(true)
    await expect.poll(() => audit.isHealthy, { timeout: 7_000 }).toBe(false)
    expect(lines.join('')).toContain('audit events are not acknowledged')
    await makeStream(registry)
    await expect.poll(() => audit.isHealthy, { timeout: 5_000 }).toBe(true)
    expect(requestIds(await storedEvents(nats))).toEqual(new Set(['early']))
  })

  test('a clock that is set back holds nothing up', async () => {
    await using nats = await startTestNats()
    const { registry, audit, lines } = await openTrail(nats)
    await using _ = audit
    audit.record(accessOf('refused'))
    await expect.poll(() => lines.join('')).toContain('audit events have to be sent again')
    const { now } = Date
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() - 3_600_000)
    onTestFinished(() => clock.mockRestore())
    await makeStream(registry)
    await expect.poll(() => audit.pending, soon).toBe(0)
  })

  test('what memory has no room for goes to the spill file and comes back from it', async () => {
    await using nats = await startTestNats()
    await using spill = await temporaryFile()
    const { bus, registry, audit } = await openTrail(nats, {
      maxPendingEvents: 100,
      spillFile: spill.path,
    })
    await using _ = audit
    await makeStream(registry)
    await cutOff(nats, bus)
    for (let i = 0; i < 1_000; i++) audit.record(accessOf(`r${i}`))
    expect(audit.pending).toBe(100)
    const spilled = () => readFile(spill.path, 'utf8').catch(() => '')
    await expect.poll(async () => (await spilled()).split('\n').length - 1, soon).toBe(900)
    await nats.restart()
    await expect.poll(() => existsSync(spill.path), { timeout: 15_000 }).toBe(false)
    expect(await audit.flush(5_000)).toBe(true)
    expect(requestIds(await storedEvents(nats)).size).toBe(1_000)
    expect(audit.dropped).toBe(0)
  }, 30_000)

  test.each([
    ['in a folder that is not there', '/nowhere/audit.jsonl', 'ENOENT'],
    ['that is a folder', tmpdir(), 'it is no file'],
  ])('a spill file %s is refused at the start', async (_, spillFile, reason) => {
    await using nats = await startTestNats()
    await expect(openTrail(nats, { spillFile })).rejects.toThrow(
      `AUDIT_SPILL_PATH: ${spillFile} cannot be used (${reason})`,
    )
  })

  test('order is kept by what is sent again, by what lies in the spill file, and by what comes behind it', async () => {
    await using nats = await startTestNats()
    await using spill = await temporaryFile()
    const { bus, registry, audit } = await openTrail(nats, {
      maxPendingBytes: 40_000,
      spillFile: spill.path,
    })
    await using _ = audit
    await makeStream(registry)
    let recorded = 0
    const record = (count: number) => {
      for (let i = 0; i < count; i++) audit.record(accessOf(`${recorded++}`))
    }
    record(50)
    await cutOff(nats, bus)
    record(2_000)
    expect(audit.pending).toBeLessThan(100)
    await nats.restart()
    while (!bus.isConnected || existsSync(spill.path)) {
      record(1)
      await pause(2)
    }
    expect(await audit.flush(5_000)).toBe(true)
    expect(audit.dropped).toBe(0)
    const first = [...requestIds(await storedEvents(nats))].map(Number)
    expect(first).toEqual(Array.from({ length: recorded }, (_, index) => index))
  }, 20_000)

  test('what gathers in an outage leaves in few messages, and requests do not push out what is rare', async () => {
    await using nats = await startTestNats()
    const { bus, registry, audit } = await openTrail(nats, { maxPendingEvents: 80 })
    await using _ = audit
    await makeStream(registry)
    await cutOff(nats, bus)
    for (let i = 0; i < 100; i++) {
      audit.record(accessOf(`r${i}`))
      if (i % 10 === 0) await pause(6)
    }
    expect(audit.dropped).toBe(30)
    for (let i = 0; i < 10; i++) audit.record(signInOf(`s${i}`))
    expect(audit.dropped).toBe(30)
    audit.record(signInOf('one too many'))
    expect(audit.dropped).toBe(31)
    await nats.restart()
    await expect.poll(() => audit.pending, { timeout: 10_000 }).toBe(0)
    expect(
      (await storedEvents(nats)).filter(({ category }) => category === 'sign-in'),
    ).toHaveLength(10)
    const manager = await jetstreamManager((await nats.connect('registry')).connection)
    expect((await manager.streams.info(streams.audit)).state.messages).toBe(2)
  }, 20_000)

  test('what comes while a full spill file is read back is kept', async () => {
    await using nats = await startTestNats()
    await using spill = await temporaryFile()
    const { bus, registry, audit } = await openTrail(nats, {
      maxPendingEvents: 100,
      spillFile: spill.path,
      maxSpillBytes: 200_000,
    })
    await using _ = audit
    await makeStream(registry)
    await cutOff(nats, bus)
    for (let i = 0; i < 1_000; i++) audit.record(accessOf(`r${i}`))
    const { dropped } = audit
    expect(dropped).toBeGreaterThan(0)
    await expect.poll(() => existsSync(spill.path)).toBe(true)
    await nats.restart()
    // As soon as there is room for it: the file may be gone within a few turns from then on.
    let late = 0
    for (; existsSync(spill.path); await turn())
      if (late < 20 && audit.pending < 60) audit.record(accessOf(`late-${late++}`))
    expect(late).toBeGreaterThan(0)
    expect(await audit.flush(5_000)).toBe(true)
    expect(audit.dropped).toBe(dropped)
    expect(requestIds(await storedEvents(nats)).size).toBe(1_000 - dropped + late)
  }, 30_000)

  test('an event larger than a message never gets into the spill file, where it would be in the way', async () => {
    await using nats = await startTestNats()
    await using spill = await temporaryFile()
    const { bus, registry, audit } = await openTrail(nats, {
      maxPendingEvents: 2,
      spillFile: spill.path,
    })
    await using _ = audit
    await makeStream(registry)
    await cutOff(nats, bus)
    const huge = { ...accessOf('huge'), path: '/'.repeat(3_000_000) }
    const events = [accessOf('first'), accessOf('second'), huge, accessOf('last')]
    for (const event of events) audit.record(event)
    expect(audit.dropped).toBe(1)
    await nats.restart()
    const stored = async () => requestIds(await storedEvents(nats))
    await expect.poll(stored, { timeout: 10_000 }).toEqual(new Set(['first', 'second', 'last']))
  }, 20_000)

  test('what finds no room anywhere is counted, reported, and makes the trail unhealthy', async () => {
    await using nats = await startTestNats()
    await using spill = await temporaryFile()
    const { bus, audit, lines } = await openTrail(nats, {
      maxPendingEvents: 10,
      spillFile: spill.path,
      maxSpillBytes: 20_000,
    })
    await using _ = audit
    await cutOff(nats, bus)
    for (let i = 0; i < 100; i++) audit.record(accessOf(`r${i}`))
    expect(audit.isHealthy).toBe(false)
    expect(audit.dropped).toBeGreaterThan(0)
    expect(lines.join('')).toContain('EVENTS ARE LOST')
  })

  test('a spill file that cannot be written loses events only with a count', async () => {
    await using nats = await startTestNats()
    const spill = await temporaryFile()
    const { bus, audit, lines } = await openTrail(nats, {
      maxPendingEvents: 1,
      spillFile: spill.path,
    })
    await using _ = audit
    await spill[Symbol.asyncDispose]()
    await cutOff(nats, bus)
    for (let i = 0; i < 5; i++) audit.record(accessOf(`r${i}`))
    await expect.poll(() => audit.dropped, soon).toBe(4)
    expect(lines.join('')).toContain('the audit spill cannot be written')
  })

  test('what is not acknowledged when a process stops is sent by the next one', async () => {
    await using nats = await startTestNats()
    await using spill = await temporaryFile()
    const first = await openTrail(nats, { spillFile: spill.path })
    for (let i = 0; i < 20; i++) first.audit.record(accessOf(`r${i}`))
    await first.audit[Symbol.asyncDispose]()
    expect(first.audit.dropped).toBe(0)
    await appendFile(spill.path, '{"half an ev')
    await makeStream(first.registry)
    const second = await openTrail(nats, { spillFile: spill.path })
    await using audit = second.audit
    await expect.poll(() => existsSync(spill.path), { timeout: 10_000 }).toBe(false)
    expect(requestIds(await storedEvents(nats)).size).toBe(20)
    expect(audit.dropped).toBe(1)
  }, 20_000)

  test('recording never throws, whatever it is given', async () => {
    await using nats = await startTestNats()
    const { audit, lines } = await openTrail(nats)
    await using _ = audit
    const broken = { ...accessOf('r'), requestBytes: 1n } as unknown as NewAuditEvent
    const huge = { ...accessOf('r'), path: '/'.repeat(2_000_000) }
    expect(() => audit.record(broken)).not.toThrow()
    expect(() => audit.record(huge)).not.toThrow()
    expect(audit.dropped).toBe(2)
    expect(lines.join('')).toContain('larger than a message may be')
  })

  test('ids do not repeat between two runs of one service', async () => {
    await using nats = await startTestNats()
    const { bus, registry, audit } = await openTrail(nats)
    await makeStream(registry)
    audit.record(accessOf('first'))
    await audit[Symbol.asyncDispose]()
    await using again = openAudit(bus, { service: 'gateway', log: pino({ level: 'silent' }) })
    again.record(accessOf('second'))
    expect(await again.flush(2_000)).toBe(true)
    expect(noDuplicatesOf(await storedEvents(nats)).size).toBe(2)
  })

  test('says nothing that the installation has redacted, and everything else', async () => {
    await using nats = await startTestNats()
    const { registry, audit } = await openTrail(nats, { redacted: ['user', 'clientAddress'] })
    await using _ = audit
    await makeStream(registry)
    audit.record(accessOf('one'))
    audit.record({ ...accessOf('two'), user: null })
    expect(await audit.flush(2_000)).toBe(true)
    const [one, two] = await storedEvents(nats)
    expect(one).toMatchObject({ user: '[redacted]', clientAddress: '[redacted]', path: '/' })
    expect(two).toMatchObject({ user: null, requestId: 'two' })
    expect(JSON.stringify([one, two])).not.toMatch(/ada|127\.0\.0\.1/)
  })
})

import { Kvm } from '@nats-io/kv'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { openAudit } from '#infra/audit.ts'
import type { Bus } from '#infra/bus.ts'
import { Connector, type ConnectorStatus, memberIdOf } from '#infra/contracts/connector.ts'
import { createLogger } from '#infra/log.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { openConnectors } from '../../registry/connectors.ts'
import { startRegistry } from '../../registry/registry.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { openStore } from '../../registry/store.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import {
  connectorsPath,
  listen,
  type Received,
  registryConfig,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'
import { sampleStatus } from './sample-status.ts'

const log = createLogger('test', 'silent')

let registry: TestRegistry
let connector: Bus

beforeAll(async () => {
  registry = await startTestRegistry()
  connector = await registry.nats.connect('connector')
})
afterAll(() => registry[Symbol.asyncDispose]())

const say = (bus: Bus, more: Partial<ConnectorStatus>) => {
  const status = sampleStatus(more)
  bus.publishJson(subjects.connectorStatus(status.groupId, memberIdOf(status)), status)
}

const read = async (id: string) => (await registry.send('GET', `${connectorsPath}/${id}`)).body

/** Audit of these connectors alone: that of others may come late. */
const eventsOf = (events: readonly Received[], ...ids: string[]) =>
  events.filter(({ connector }) => ids.includes(connector))

/** For what has to come, however busy the machine is. */
const patient = { timeout: 10_000 }

test('of what a connector says faster than it can be written, the last is kept', async () => {
  const bus = await registry.nats.connect('registry')
  const bucket = await new Kvm(bus.connection).open(buckets.connectors)
  const writes = async () => (await bucket.status()).streamInfo.state.last_seq
  const before = await writes()
  const said = 300
  const tell = (number: number) =>
    say(connector, { connectorId: 'talker', problems: [`problem ${number}`] })
  for (let number = 1; number <= said; number++) tell(number)
  const problems = async () => {
    // As connectors do every few seconds.
    tell(said)
    return (await read('talker')).problems
  }
  await expect.poll(problems, patient).toEqual([`problem ${said}`])
  expect((await writes()) - before).toBeLessThan(said / 2)
})

test('a connector that reports is listed with its load, and belongs to its group', async () => {
  say(connector, { connectorId: 'reporter' })
  await expect
    .poll(() => read('reporter'), patient)
    .toMatchObject({
      id: 'reporter',
      machineName: 'machine.internal',
      externalIp: null,
      status: 'active',
      version: '0.1.0',
      load: { openExchanges: 3, maxExchanges: 128 },
      lastSeen: expect.stringMatching(/^\d{4}-/),
    })
  const groups = await registry.send('GET', `${connectorsPath}/reporter/memberOf`)
  expect(groups.body.value).toMatchObject([{ id: 'default' }])
})

test('a connector that stops is inactive at once, gateways are told, and audit tells its story', async () => {
  const gone = await listen(registry.nats, 'gateway', subjects.connectorsGone)
  const events = await listen(registry.nats, 'auditor', subjects.auditsLike('connector'))
  for (const state of ['serving', 'draining', 'stopped'] as const) {
    say(connector, { connectorId: 'leaver', state })
  }
  await expect.poll(async () => (await read('leaver')).status, patient).toBe('inactive')
  await expect.poll(() => gone, patient).toEqual([{ connectorId: 'leaver', reason: 'stopped' }])
  const told = () => eventsOf(events, 'leaver')
  await expect
    .poll(() => told().map(({ outcome }) => outcome), patient)
    .toEqual(['started', 'draining', 'stopped'])
  expect(told()[0]).toMatchObject({ connector: 'leaver', connectorGroup: 'default' })
})

test('a status under a foreign name, or one that is not understood, changes nothing', async () => {
  const status = sampleStatus({ connectorId: 'victim' })
  connector.publishJson(subjects.connectorStatus('default', 'forger'), status)
  connector.publishJson(subjects.connectorStatus('default', 'garbled'), { connectorId: 'garbled' })
  say(connector, { connectorId: 'honest' })
  await expect.poll(async () => (await read('honest')).status, patient).toBe('active')
  for (const id of ['victim', 'forger', 'garbled']) {
    expect((await registry.send('GET', `${connectorsPath}/${id}`)).status).toBe(404)
  }
})

test('two registries tell of each change once', async () => {
  await using _second = await startRegistry(registryConfig(registry.nats))
  const events = await listen(registry.nats, 'auditor', subjects.auditsLike('connector'))
  const ids = Array.from({ length: 10 }, (_, number) => `pair-${number}`)
  for (const state of ['serving', 'draining', 'stopped'] as const) {
    for (const connectorId of ids) say(connector, { connectorId, state })
    const told = () => eventsOf(events, ...ids).filter(({ outcome }) => outcome === outcomes[state])
    await expect.poll(told, patient).toHaveLength(ids.length)
  }
  expect(eventsOf(events, ...ids)).toHaveLength(3 * ids.length)
})

const outcomes = { serving: 'started', draining: 'draining', stopped: 'stopped' }

async function openPresence(nats: TestNats, timeoutMs: number, removeInactiveAfterMs: number) {
  await using stack = new AsyncDisposableStack()
  const bus = await nats.connect('registry')
  await prepareStorage(bus, { replicas: 1, auditMaxBytes: 2 ** 24, auditMaxAgeMs: 86_400_000, log })
  const audit = stack.use(openAudit(bus, { service: 'registry', log }))
  const store = stack.use(
    await openStore(bus, { bucket: buckets.connectors, schema: Connector, log }),
  )
  const connectors = stack.use(
    openConnectors({ bus, store, audit, log, timeoutMs, removeInactiveAfterMs }),
  )
  await bus.connection.flush()
  const owned = stack.move()
  return { store, connectors, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test('a connector that falls silent becomes inactive, gateways are told, and it is forgotten later', async () => {
  await using nats = await startTestNats()
  await using presence = await openPresence(nats, 2_000, 8_000)
  const bus = await nats.connect('connector')
  const gone = await listen(nats, 'gateway', subjects.connectorsGone)
  const events = await listen(nats, 'auditor', subjects.auditsLike('connector'))
  const status = () => presence.connectors.list().map(({ value }) => value.status)
  say(bus, { connectorId: 'silent' })
  await expect.poll(status, patient).toEqual(['active'])
  await expect.poll(status, patient).toEqual(['inactive'])
  await expect.poll(() => gone, patient).toEqual([{ connectorId: 'silent', reason: 'inactive' }])
  say(bus, { connectorId: 'silent' })
  await expect.poll(status, patient).toEqual(['active'])
  await expect.poll(status, { timeout: 18_000 }).toEqual([])
  await expect
    .poll(() => events.map(({ outcome }) => outcome), patient)
    .toEqual(['started', 'inactive', 'active', 'inactive', 'removed'])
})

test('a registry that has just started blames no connector for its own silence', async () => {
  await using nats = await startTestNats()
  const bus = await nats.connect('connector')
  {
    await using presence = await openPresence(nats, 60_000, 86_400_000)
    say(bus, { connectorId: 'patient' })
    await expect.poll(() => presence.connectors.list(), patient).toHaveLength(1)
  }
  const startedMs = Date.now()
  await using presence = await openPresence(nats, 2_500, 86_400_000)
  const status = () => presence.connectors.get('patient').value.status
  await expect.poll(status, patient).toBe('inactive')
  expect(Date.now() - startedMs).toBeGreaterThan(2_400)
})

test('a connector that was off as long as all registries is not forgotten before it could report', async () => {
  await using nats = await startTestNats()
  const bus = await nats.connect('connector')
  const off: Connector = {
    id: 'off',
    connectorGroupId: 'default',
    isEnabled: true,
    certificates: [],
    enrolledDateTime: null,
    movedDateTime: null,
    machineName: 'host',
    version: '0.1.0',
    externalIp: null,
    status: 'inactive',
    lastSeenDateTime: new Date(Date.now() - 7_200_000).toISOString(),
    lastStatus: null,
  }
  const ended = { serialNumber: '01', spki: 'A'.repeat(43), notAfter: off.lastSeenDateTime }
  {
    await using presence = await openPresence(nats, 60_000, 86_400_000)
    const expired = { ...off, id: 'expired', certificates: [ended] }
    for (const record of [off, expired])
      await presence.connectors.change(record.id, { apply: () => record })
  }
  await using presence = await openPresence(nats, 60_000, 3_600_000)
  const known = () => presence.connectors.list().map(({ value }) => [value.id, value.status])
  expect(known()).toHaveLength(2)
  // Nothing brings that one back but an administrator.
  await expect.poll(known, patient).toEqual([['off', 'inactive']])
  say(bus, { connectorId: 'off' })
  await expect.poll(known, patient).toEqual([['off', 'active']])
})

test('a clock that is set makes no connector silent', async () => {
  await using nats = await startTestNats()
  await using presence = await openPresence(nats, 5_000, 86_400_000)
  const bus = await nats.connect('connector')
  const gone = await listen(nats, 'gateway', subjects.connectorsGone)
  const status = (id: string) =>
    presence.connectors.list().find(({ value }) => value.id === id)?.value.status
  say(bus, { connectorId: 'silent' })
  const saying = setInterval(() => say(bus, { connectorId: 'steady' }), 500)
  onTestFinished(() => clearInterval(saying))
  await expect
    .poll(() => [status('silent'), status('steady')], patient)
    .toEqual(['active', 'active'])
  onTestFinished(() => void vi.useRealTimers())
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 })
  // By then the others have been looked at several times.
  await expect.poll(() => gone.map(({ connectorId }) => connectorId), patient).toContain('silent')
  expect(gone).toEqual([{ connectorId: 'silent', reason: 'inactive' }])
  expect(status('steady')).toBe('active')
})

test('a registry that stood still takes nobody for silent before it has read what was said meanwhile', async () => {
  await using nats = await startTestNats()
  await using presence = await openPresence(nats, 15_000, 86_400_000)
  const bus = await nats.connect('connector')
  const status = () => presence.connectors.list().map(({ value }) => value.status)
  say(bus, { connectorId: 'steady' })
  await expect.poll(status, patient).toEqual(['active'])
  const nowMs = performance.now()
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  vi.advanceTimersByTime(nowMs + 15_001)
  const looks = vi.spyOn(presence.store, 'entries', 'get')
  await expect.poll(() => looks.mock.calls.length, { interval: 10 }).toBeGreaterThan(0)
  // Follows what was to be written before it.
  await presence.connectors.change('steady', { apply: () => undefined })
  expect(status()).toEqual(['active'])
})

test('a connector is inactive as soon as the last of its workers is lost, and not before', async () => {
  await using nats = await startTestNats()
  const bus = await nats.connect('connector')
  const timeoutMs = 1_500
  await using presence = await openPresence(nats, timeoutMs, 86_400_000)
  const startedMs = Date.now()
  const sum = () => presence.connectors.get('several').value
  const capacity = () =>
    presence.connectors.list().map(({ value }) => value.lastStatus?.maxExchanges)
  for (const worker of [1, 2]) say(bus, { connectorId: 'several', worker })
  await expect.poll(capacity, patient).toEqual([256])
  presence.connectors.lost('several_1')
  await expect.poll(capacity, patient).toEqual([128])
  expect(sum().status).toBe('active')
  // A registry that has not listened for long enough may not know all workers.
  await expect.poll(() => Date.now() - startedMs).toBeGreaterThan(timeoutMs)
  // News, so that it is written at once, whether or not its silence was noticed meanwhile.
  say(bus, { connectorId: 'several', worker: 2, state: 'saturated' })
  await expect.poll(() => sum().lastStatus?.state, patient).toBe('saturated')
  presence.connectors.lost('several_2')
  await expect.poll(() => sum().status, { ...patient, interval: 10 }).toBe('inactive')
})

test('one that is enrolled anew is not taken for the one before, whose workers are still being cut off', async () => {
  await using nats = await startTestNats()
  const bus = await nats.connect('connector')
  await using presence = await openPresence(nats, 15_000, 86_400_000)
  const { connectors } = presence
  for (const worker of [1, 2]) say(bus, { connectorId: 'anew', worker })
  await expect.poll(() => connectors.list()[0]?.value.lastStatus?.maxExchanges).toBe(256)
  const before = await connectors.remove('anew')
  const enrolled = { ...before, status: 'inactive' as const, lastStatus: null }
  await connectors.change('anew', { apply: () => enrolled })
  connectors.lost('anew_1')
  // Follows what was to be written before it.
  await connectors.change('anew', { apply: () => undefined })
  expect(connectors.get('anew').value).toEqual(enrolled)
})

test('a connector that was removed does not come back when its workers are lost one after the other', async () => {
  await using nats = await startTestNats()
  const bus = await nats.connect('connector')
  await using presence = await openPresence(nats, 15_000, 86_400_000)
  const { connectors } = presence
  const known = () => connectors.list().map(({ value }) => value.id)
  for (const worker of [1, 2, 3]) say(bus, { connectorId: 'gone', worker })
  await expect.poll(() => connectors.list()[0]?.value.lastStatus?.maxExchanges).toBe(384)
  await connectors.remove('gone')
  // As the bus tells it of connections that are cut off.
  for (const worker of [1, 2, 3]) connectors.lost(`gone_${worker}`)
  // What is written for one connector follows what was written before: a record of this one comes last.
  say(bus, { connectorId: 'other' })
  await expect.poll(known).toContain('other')
  expect(known()).toEqual(['other'])
})

/** Who is alive in which group, as a gateway hears it. */

import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest'
import type { Bus } from '#infra/bus.ts'
import { type ConnectorStatus, memberIdOf, statusTimeoutMs } from '#infra/contracts/connector.ts'
import { subjects } from '#infra/subjects.ts'
import { followMembers, type Members } from '../../gateway/members.ts'
import { Search, type Step } from '../../gateway/search.ts'
import { application } from '../harness/application.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { sampleStatus } from '../registry/sample-status.ts'

let nats: TestNats
let connector: Bus
let registry: Bus
let bus: Bus
let members: Members
let gone: string[]

beforeAll(async () => {
  nats = await startTestNats()
  connector = await nats.connect('connector')
  registry = await nats.connect('registry')
})
afterAll(() => nats[Symbol.asyncDispose]())

beforeEach(async () => {
  bus = await nats.connect('gateway')
  members = followMembers(bus)
  gone = []
  members.onGone(memberId => gone.push(memberId))
  await bus.connection.flush()
})

afterEach(() => members[Symbol.dispose]())

const say = (more: Partial<ConnectorStatus>) => {
  const status = sampleStatus(more)
  connector.publishJson(subjects.connectorStatus(status.groupId, memberIdOf(status)), status)
}
const announceGone = (id: string) =>
  registry.publishJson(subjects.connectorGone(id), { connectorId: id, reason: 'disabled' })

test('a connector that reports from another group is alive there alone, and nothing of it is lost', async () => {
  say({ connectorId: 'mover', groupId: 'paris' })
  await expect.poll(() => members.liveIn('paris')).toBe(1)
  say({ connectorId: 'mover', groupId: 'lyon' })
  await expect.poll(() => members.liveIn('lyon')).toBe(1)
  expect(members.liveIn('paris')).toBe(0)
  expect(gone).toEqual([])
})

test('a connector that is gone takes all of its workers along, and nobody else’s', async () => {
  for (const worker of [1, 2]) say({ connectorId: 'several', worker, groupId: 'rome' })
  say({ connectorId: 'several-more', groupId: 'rome' })
  await expect.poll(() => members.liveIn('rome')).toBe(3)
  announceGone('several')
  await expect.poll(() => members.liveIn('rome')).toBe(1)
  expect(gone.toSorted()).toEqual(['several', 'several_1', 'several_2'])
})

test('a process that started later takes the place of the one before: what that had is lost, and it is not heard any more', async () => {
  const [first, second] = ['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:01.000Z']
  const twin = { connectorId: 'twin', groupId: 'olten' }
  say({ ...twin, startedDateTime: first })
  say({ ...twin, startedDateTime: first })
  say({ ...twin, startedDateTime: second })
  await expect.poll(() => gone).toEqual(['twin'])
  expect(members.liveIn('olten')).toBe(1)
  say({ ...twin, startedDateTime: first, state: 'stopped' })
  say({ connectorId: 'other', groupId: 'zug' })
  await expect.poll(() => members.liveIn('zug')).toBe(1)
  expect(members.liveIn('olten')).toBe(1)
  expect(gone).toEqual(['twin'])
  // Once it is gone, whoever comes counts: a clock may have been set back.
  announceGone('twin')
  await expect.poll(() => gone).toEqual(['twin', 'twin'])
  say({ ...twin, startedDateTime: first })
  await expect.poll(() => members.liveIn('olten')).toBe(1)
})

test('whoever is disabled or removed is barred, whoever stops is not', async () => {
  const barred: string[] = []
  members.onGone((memberId, isBarred) => isBarred && barred.push(memberId))
  for (const reason of ['disabled', 'removed', 'stopped', 'inactive', 'disconnected'])
    registry.publishJson(subjects.connectorGone(reason), { connectorId: reason, reason })
  await expect.poll(() => gone.length).toBe(5)
  expect(barred).toEqual(['disabled', 'removed'])
})

test('a worker that is gone leaves the others', async () => {
  for (const worker of [1, 2]) say({ connectorId: 'pair', worker, groupId: 'oslo' })
  await expect.poll(() => members.liveIn('oslo')).toBe(2)
  announceGone('pair_1')
  await expect.poll(() => members.liveIn('oslo')).toBe(1)
  expect(gone).toEqual(['pair_1'])
})

test('whoever is gone without having been heard of is told of all the same: it may hold an exchange', async () => {
  announceGone('unheard')
  await expect.poll(() => gone).toEqual(['unheard'])
})

test('whoever is gone for a reason that cannot be read is barred: nothing more is taken of it', async () => {
  const barred: string[] = []
  members.onGone((memberId, isBarred) => isBarred && barred.push(memberId))
  registry.publish(subjects.connectorGone('garbled'), Buffer.from('{'))
  await expect.poll(() => barred).toEqual(['garbled'])
})

test('the silence of a bus that was away is nobody’s: all have their time from its return', async () => {
  say({ connectorId: 'waiting', groupId: 'bern' })
  await expect.poll(() => members.liveIn('bern')).toBe(1)
  await nats.kill()
  await expect.poll(() => bus.isConnected).toBe(false)
  // The clock that takes its place begins at 0.
  const nowMs = performance.now()
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  vi.advanceTimersByTime(nowMs + statusTimeoutMs + 1)
  await nats.restart()
  await expect.poll(() => bus.isConnected).toBe(true)
  const looks = vi.spyOn(bus, 'isConnected', 'get')
  onTestFinished(() => looks.mockRestore())
  await expect.poll(() => looks.mock.calls.length).toBeGreaterThan(1)
  expect(gone).toEqual([])
  vi.advanceTimersByTime(statusTimeoutMs + 1)
  await expect.poll(() => gone).toEqual(['waiting'])
})

test('a gateway that stood still takes nobody for silent before it has read what was said meanwhile', async () => {
  say({ connectorId: 'steady', groupId: 'thun' })
  await expect.poll(() => members.liveIn('thun')).toBe(1)
  const nowMs = performance.now()
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  vi.advanceTimersByTime(nowMs + statusTimeoutMs + 1)
  const looks = vi.spyOn(bus, 'isConnected', 'get')
  onTestFinished(() => looks.mockRestore())
  await expect.poll(() => looks.mock.calls.length, { interval: 10 }).toBe(1)
  expect(gone).toEqual([])
})

test('a group whose queue is empty has too much to do only once one of it has come back to the bus', async () => {
  say({ connectorId: 'first', groupId: 'basel' })
  await expect.poll(() => members.liveIn('basel')).toBe(1)
  expect(emptyQueue('basel')).toMatchObject({ fault: 'connectors_busy' })
  await nats.kill()
  await expect.poll(() => bus.isConnected).toBe(false)
  await nats.restart()
  await expect.poll(() => bus.isConnected && connector.isConnected).toBe(true)
  expect(members.liveIn('basel')).toBe(1)
  expect(emptyQueue('basel')).toMatchObject({ fault: 'bus_unavailable' })
  // What is said before the server knows its subscriptions again is not heard.
  await bus.connection.flush()
  say({ connectorId: 'first', groupId: 'basel' })
  await expect.poll(() => emptyQueue('basel')).toMatchObject({ fault: 'connectors_busy' })
  expect(emptyQueue('nowhere')).toMatchObject({ fault: 'no_connector' })
})

test('a request that some cannot carry is tried 32 times, however long each refusal takes on a busy machine', async () => {
  for (const connectorId of ['blind', 'blind-too', 'sees']) say({ connectorId, groupId: 'chur' })
  await expect.poll(() => members.liveIn('chur')).toBe(3)
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const wiki = application('wiki', 'https://wiki.example.com/')
  const search = new Search({ ...wiki, connectorGroupId: 'chur' }, members)
  const refusal = { type: 'refused', code: 'not_ready', detail: '', neverStarted: true } as const
  const steps = Array.from({ length: 32 }, (_, count) => {
    search.asked(performance.now())
    vi.advanceTimersByTime(50)
    return search.refused(count % 2 === 0 ? 'blind' : 'blind-too', refusal)
  })
  expect(steps.slice(0, -1)).toEqual(Array(31).fill({ waitMs: 0 }))
  expect(steps.at(-1)).toMatchObject({ fault: 'origin_unreachable' })
})

/** What a request comes to that finds nobody, however often it asks. */
function emptyQueue(connectorGroupId: string): Step {
  const wiki = application('wiki', 'https://wiki.example.com/')
  const search = new Search({ ...wiki, connectorGroupId }, members)
  for (;;) {
    search.asked(performance.now())
    const step = search.foundNobody(false)
    if ('fault' in step) return step
  }
}

import { once } from 'node:events'
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import { streams, subjects } from '#infra/subjects.ts'
import { eventLine } from '../../registry/cli/event-line.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { type Running, runCommand, startCommand } from './cli.ts'

let nats: TestNats
let registry: Bus

beforeAll(async () => {
  nats = await startTestNats()
  registry = await nats.connect('registry')
})
afterAll(() => nats[Symbol.asyncDispose]())

const accessEvent = (more: object = {}) => ({
  id: 'e-1',
  time: '2026-01-02T03:04:05.678Z',
  source: 'gateway/g1',
  category: 'access',
  requestId: 'r-1',
  outcome: 'granted',
  user: 'anna@example.com',
  session: 's-1',
  application: 'wiki',
  clientAddress: '127.0.0.1',
  method: 'GET',
  host: 'wiki.sallyport.localhost',
  path: '/start',
  status: 200,
  connectorGroup: 'default',
  connector: 'c-1',
  attempts: 1,
  decision: { outcome: 'grant', reasons: ['assigned'], policies: [] },
  fault: null,
  faultDetail: null,
  requestBytes: 0,
  responseBytes: 12,
  decidedMs: 0.2,
  respondedMs: 3,
  durationMs: 4.25,
  ...more,
})

const send = (event: ReturnType<typeof accessEvent>, category: 'access' | 'policy' = 'access') =>
  registry.publishJson(subjects.audit(category, event.application, event.outcome), event)

async function startTail(...args: string[]): Promise<Running> {
  const tail = startCommand(['tail', ...args], { SALLYPORT_BUS_URL: nats.server.urlFor('auditor') })
  await expect.poll(() => tail.stderr, { timeout: 15_000 }).toContain('following')
  return tail
}

test('an event is printed within 200 ms, exactly as it is on the bus', async () => {
  await using tail = await startTail('--json')
  const printed = once(tail.process.stdout ?? tail.process, 'data')
  const startedMs = performance.now()
  const event = accessEvent()
  send(event)
  await printed
  expect(performance.now() - startedMs).toBeLessThan(200)
  expect(tail.stdout).toBe(`${JSON.stringify(event)}\n`)
})

test('people get one line with time, verdict, user, application, connector, request, status, duration and reason', async () => {
  await using tail = await startTail()
  send(accessEvent())
  send(
    accessEvent({
      outcome: 'denied',
      status: 403,
      connector: null,
      decision: { outcome: 'block', reasons: ['not_assigned'], policies: [] },
    }),
  )
  await expect.poll(() => tail.stdout.split('\n')).toHaveLength(3)
  const [granted, denied] = tail.stdout.split('\n')
  expect(granted).toMatch(
    /^2026-01-0\d \d\d:\d\d:05\.678 {2}granted +anna@example\.com +wiki +c-1 +GET \/start +200 +4\.3 ms$/,
  )
  expect(denied).toMatch(
    / denied +anna@example\.com +wiki +- +GET \/start +403 +4\.3 ms {2}r-1 {2}not_assigned$/,
  )
  expect(denied?.indexOf('GET')).toBe(granted?.indexOf('GET'))
  expect(tail.stdout).not.toContain('\u001b')
})

test.each([
  [['--app', 'wiki', '--category', 'access', '--outcome', 'denied']],
  [['access.wiki.denied']],
  [['*.wiki', '--outcome', 'denied', '--category', 'access', '--user', 'ANNA@example.com']],
  [['sallyport.audit.access.wiki.denied']],
])('%j shows only what it asks for', async args => {
  await using tail = await startTail('--json', ...args)
  send(accessEvent({ id: 'granted' }))
  send(accessEvent({ id: 'other app', application: 'mail', outcome: 'denied' }))
  send(accessEvent({ id: 'wanted', outcome: 'denied' }))
  const ids = () =>
    tail.stdout
      .trim()
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line).id)
  await expect.poll(ids).toEqual(['wanted'])
})

test('--user shows only events of that user', async () => {
  await using tail = await startTail('--json', '--user', 'bob@example.com')
  send(accessEvent({ id: 'anna' }))
  send(accessEvent({ id: 'bob', user: 'Bob@example.com' }))
  await expect.poll(() => tail.stdout).toContain('"bob"')
  expect(tail.stdout).not.toContain('"anna"')
})

test('Ctrl-C ends it with status 0', async () => {
  await using tail = await startTail()
  tail.process.kill('SIGINT')
  expect(await tail.ended()).toMatchObject({ status: 0, stdout: '' })
})

test('a reader that closes its end ends it quietly', async () => {
  await using tail = await startTail('--json')
  tail.process.stdout?.destroy()
  const ended = tail.ended()
  const timer = setInterval(() => send(accessEvent()), 20)
  await ended.finally(() => clearInterval(timer))
  expect(tail.process.exitCode).toBe(0)
  expect(tail.stderr).not.toContain('Error')
})

describe('the past', () => {
  const id = (line: string) => JSON.parse(line).id as string
  const ids = (text: string) => text.trim().split('\n').filter(Boolean).map(id)
  const until = (count: number) =>
    expect.poll(async () => (await manager.streams.info(streams.audit)).state.messages).toBe(count)
  let manager: JetStreamManager

  beforeAll(async () => {
    manager = await jetstreamManager(registry.connection)
    await manager.streams.add({ name: streams.audit, subjects: [subjects.audits] })
  })

  test('--since shows what was stored, of what is asked for alone, and goes on', async () => {
    const name = (number: number) => subjects.audit('access', `past-${number}`, 'granted')
    for (let i = 0; i < 20; i++) registry.publishJson(name(i % 2), accessEvent({ id: `e-${i}` }))
    await until(20)
    await using tail = await startTail('access.past-1', '--json', '--since', '10m')
    registry.publishJson(name(0), accessEvent({ id: 'other' }))
    registry.publishJson(name(1), accessEvent({ id: 'later' }))
    const odd = Array.from({ length: 10 }, (_, i) => `e-${2 * i + 1}`)
    await expect.poll(() => ids(tail.stdout)).toEqual([...odd, 'later'])
  })

  test('--no-follow ends with the last stored event, also when there is none', async () => {
    const before = (await manager.streams.info(streams.audit)).state.messages
    registry.publish(
      subjects.audit('policy', 'parcel', 'block'),
      Buffer.from(['a', 'b'].map(id => JSON.stringify(accessEvent({ id }))).join('\n')),
    )
    await until(before + 1)
    const environment = { SALLYPORT_BUS_URL: nats.server.urlFor('auditor') }
    const past = (...args: string[]) =>
      runCommand(['tail', '--json', '--no-follow', '--since', ...args], environment)
    const found = await past('1h', '--category', 'policy', '--verdict', 'block')
    expect({ status: found.status, ids: ids(found.stdout) }).toEqual({ status: 0, ids: ['a', 'b'] })
    expect(await past('1h', '--app', 'nothing')).toMatchObject({ status: 0, stdout: '' })
    const future = new Date(Date.now() + 60_000).toISOString()
    expect(await past(future, '--app', 'past-1')).toMatchObject({ status: 0, stdout: '' })
  })

  test.each([
    [['--since', 'yesterday'], '--since is a duration'],
    [['--no-follow'], 'shows nothing without --since'],
  ])('%j is refused with advice', async (args, message) => {
    const environment = { SALLYPORT_BUS_URL: nats.server.urlFor('auditor') }
    const { status, stderr } = await runCommand(['tail', ...args], environment)
    expect(status).toBe(2)
    expect(stderr).toContain(message)
  })
})

describe('trouble with the bus is said plainly', () => {
  test.each([
    [{}, 2, 'set SALLYPORT_BUS_URL'],
    [{ SALLYPORT_BUS_URL: 'http://x' }, 2, 'must be tls://'],
    [{ SALLYPORT_BUS_URL: 'nats://auditor:x@127.0.0.1:1' }, 1, 'no bus answers at 127.0.0.1:1'],
    [
      { SALLYPORT_BUS_URL: `tls://SU${'A'.repeat(56)}@127.0.0.1:1` },
      2,
      'SALLYPORT_BUS_URL: its user',
    ],
    [
      { SALLYPORT_BUS_URL: 'tls://127.0.0.1:1', SALLYPORT_BUS_CA_PATH: '/nowhere.pem' },
      2,
      'SALLYPORT_BUS_CA_PATH: /nowhere.pem cannot be read (ENOENT)',
    ],
    [
      { SALLYPORT_BUS_URL: 'tls://127.0.0.1:1', SALLYPORT_BUS_CA_PATH: 'README.md' },
      2,
      'SALLYPORT_BUS_CA_PATH: README.md holds no certificate',
    ],
  ])('%j', async (environment: Record<string, string>, status, message) => {
    const result = await runCommand(['tail'], environment)
    expect(result).toMatchObject({ status, stdout: '', stderr: expect.stringContaining(message) })
  })

  test('a wrong password', async () => {
    const url = `nats://auditor:wrong-password@127.0.0.1:${nats.server.port}`
    const { status, stderr } = await runCommand(['tail'], { SALLYPORT_BUS_URL: url })
    expect(status).toBe(1)
    expect(stderr).toContain('refuses the credentials')
    expect(stderr).not.toContain('wrong-password')
  })

  test('a user who may not read audit events', async () => {
    const environment = { SALLYPORT_BUS_URL: nats.server.urlFor('connector') }
    const { status, stderr } = await runCommand(['tail'], environment)
    expect(status).toBe(1)
    expect(stderr).toContain('use the auditor')
  })
})

describe('a line', () => {
  const line = (more: object, isColoured = false) =>
    eventLine(accessEvent(more), 'subject', isColoured)

  test('has colour only where it is wanted', () => {
    expect(line({}, true)).toContain('\u001b[32mgranted')
    expect(line({ outcome: 'denied' }, true)).toContain('\u001b[31mdenied')
    expect(line({ outcome: 'aborted' }, true)).toContain('\u001b[33maborted')
    expect(line({})).not.toContain('\u001b')
  })

  test('cannot be split, overwritten or turned around by what a client sends', () => {
    const text = line({ path: '/a\r\n12:00:00.000  granted\u001b[1A\u202e', user: 'x\u0007y' })
    expect(text).not.toMatch(/\p{C}/u)
    expect(text).toContain('\\u{d}\\u{a}')
  })

  test('says of what went on without policy that it did', () => {
    expect(line({ lastLease: true })).toMatch(/ by its last lease$/)
    expect(line({})).not.toContain('last lease')
  })

  test('names the fault of a failed exchange', () => {
    expect(line({ outcome: 'failed', status: 504, fault: 'no_connector' })).toMatch(
      /504 .*no_connector$/,
    )
  })

  test('has the support id of what was refused, and why policy refused it', () => {
    const decision = { outcome: 'block', reasons: ['policy-blocks'], policies: ['p-1'] }
    const refused = { outcome: 'denied', status: 403, fault: 'access_denied', decision }
    expect(line(refused)).toMatch(/ r-1 {2}access_denied: policy-blocks$/)
    expect(line({ ...refused, decision: accessEvent().decision })).toMatch(/ r-1 {2}access_denied$/)
    expect(line({})).not.toContain('r-1')
  })

  test('says why a connector was refused or cut off', () => {
    const { id, time, source } = accessEvent()
    const event = {
      ...{ id, time, source, requestId: null, user: null, session: null, application: null },
      ...{ category: 'connector', outcome: 'cut_off', connector: 'c-1', connectorGroup: 'paris' },
      ...{ machineName: 'host-1', version: '1.2.3', reason: 'answered_twice' },
    }
    expect(eventLine(event, 'subject', false)).toMatch(
      / cut_off .* answered_twice; on host-1, version 1\.2\.3$/,
    )
  })

  test('says the day when that is not today', () => {
    const now = new Date()
    expect(line({ time: now.toISOString() })).toMatch(/^\d\d:\d\d:\d\d\.\d{3} {2}granted/)
    expect(line({ time: '2026-01-02T12:00:00.000Z' })).toMatch(/^2026-01-0[123] \d\d:/)
  })

  test('shows an event that it does not understand by its subject', () => {
    expect(eventLine({ category: 'weather' }, 'sallyport.audit.weather.-.rain', false)).toContain(
      'sallyport.audit.weather.-.rain',
    )
    expect(eventLine(undefined, 'sallyport.audit.x.-.y', false)).toContain('sallyport.audit.x')
  })
})

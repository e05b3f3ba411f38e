/**
 * Lines for answers, both ends of them, with a real bus and a line between that breaks: every frame comes once and in
 * order, whatever happens to the connection, and nothing comes of who may not answer any more.
 */

import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { decodeAboutLine, isLineBroken, keyOfBroken } from '#infra/answer-line.ts'
import type { Bus } from '#infra/bus.ts'
import { directReady } from '#infra/direct.ts'
import { type BatchedFrame, decodeBatch, isBatch } from '#infra/frame-batch.ts'
import { encodeData } from '#infra/frames.ts'
import { createLogger } from '#infra/log.ts'
import { StreamBudget } from '#infra/stream-budget.ts'
import { subjects } from '#infra/subjects.ts'
import { frameTypes } from '#infra/wire.ts'
import { AnswerLine } from '../../connector/answer-line.ts'
import { AnswerWays } from '../../connector/answer-ways.ts'
import { DirectDialer } from '../../connector/direct-dialer.ts'
import { AnswerLines } from '../../gateway/answer-lines.ts'
import { DirectOffers } from '../../gateway/direct-offers.ts'
import { createFront } from '../../gateway/front/front.ts'
import { Patience } from '../../gateway/front/patience.ts'
import { IncomingReader } from '../../gateway/incoming.ts'
import { followMembers } from '../../gateway/members.ts'
import { Relay } from '../../gateway/relay.ts'
import { mib } from '../harness/memory.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { startTcpLine, type TcpLine } from '../harness/tcp-line.ts'

const log = createLogger('test', 'silent')

let nats: TestNats
let gatewayBus: Bus
let connectorBus: Bus
let lines: AnswerLines
let ways: AnswerWays
let between: TcpLine
/** What the gateway has got, by exchange, and how much of it over the bus. */
let received: Map<string, number[]>
let overBus: number
let offers: number
let lost: AnswerLine[]
let needed: boolean
let unreadable: string[]
/** The gateway takes nothing that is on the bus. */
let isDeaf: boolean
let newLines: () => AnswerLines

beforeEach(async () => {
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  nats = stack.use(await startTestNats())
  gatewayBus = await nats.connect('gateway', 'g1')
  connectorBus = await nats.connect('connector', 'c1')
  received = new Map()
  overBus = 0
  offers = 0
  lost = []
  needed = false
  const direct = new DirectOffers()
  unreadable = []
  isDeaf = false
  newLines = () => {
    const options = { bus: gatewayBus, offers: direct, receive: note }
    return stack.use(new AnswerLines({ ...options, unreadable: id => void unreadable.push(id) }))
  }
  lines = newLines()
  const reader = new IncomingReader('g', () => false)
  const front = createFront({
    listener(req, res, { upgrade }) {
      const incoming = reader.read(req)
      if (!('fault' in incoming)) direct.accept({ req, res, incoming, upgrade })
    },
  })
  stack.defer(() => front.destroy())
  between = stack.use(await startTcpLine(await front.listen('127.0.0.1', 0)))
  gatewayBus.subscribe(subjects.upTo('g1'), {
    callback({ data }) {
      if (isDeaf) return
      if (isLineBroken(data)) return lines.broken('c1', keyOfBroken(data))
      overBus++
      note('c1', data)
      lines.heard('c1')
    },
  })
  const gatewayUrl = `http://127.0.0.1:${between.port}/`
  ways = stack.use(
    new AnswerWays({
      bus: connectorBus,
      log,
      memberId: 'c1',
      direct: new DirectDialer({ gatewayUrl, proxy: {}, log }),
      isNeeded: () => needed,
      onLost: line => lost.push(line),
    }),
  )
  connectorBus.subscribe(subjects.downTo('c1'), {
    callback({ data }) {
      if (data[0] === frameTypes.line) offers++
      ways.hear(data)
    },
  })
  await Promise.all([gatewayBus.connection.flush(), connectorBus.connection.flush()])
})

function note(memberId: string, message: Buffer): void {
  expect(memberId).toBe('c1')
  // A frame alone goes without its exchange's name, which is of no interest here.
  const frames = isBatch(message) ? decodeBatch(message) : [{ exchangeId: 'alone', frame: message }]
  for (const { exchangeId, frame } of frames) {
    const numbers = received.get(exchangeId) ?? []
    numbers.push(frame.readUInt32BE(1))
    received.set(exchangeId, numbers)
  }
}

const numbered = (exchangeId: string, number: number, bytes = 4): BatchedFrame => {
  const data = Buffer.alloc(bytes)
  data.writeUInt32BE(number)
  return { exchangeId, frame: encodeData(data) }
}

/** The key of an offer that the connector does not take. */
async function offered(gatewayId = 'g1'): Promise<string> {
  ways[Symbol.dispose]()
  const keys: string[] = []
  connectorBus.subscribe(subjects.downTo('c1'), {
    callback: ({ data }) => keys.push(Object(decodeAboutLine(data)).key),
  })
  await connectorBus.connection.flush()
  for (let i = 0; i < 16; i++) ways.send(gatewayId, [numbered('a', i)])
  await expect.poll(() => keys).toHaveLength(1)
  return keys[0] ?? ''
}

/** Comes with a key as a connector does; resolves to the status that it is answered with. */
async function come(key: string, port = between.port) {
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer ${key}\r\n`)
  socket.write('Upgrade: sallyport-direct\r\nConnection: Upgrade\r\n\r\n')
  const [head] = await once(socket, 'data')
  return { socket, status: String(head).slice(9, 12) }
}

/** Answers over the bus until a line has been offered and taken. */
async function openLine(): Promise<AnswerLine> {
  for (let i = 0; i < 16; i++) ways.send('g1', [numbered('warm', i), numbered('warm', i)])
  await expect.poll(() => ways.to('g1')).toBeInstanceOf(AnswerLine)
  await expect.poll(() => lines.size).toBe(1)
  received.clear()
  overBus = 0
  return ways.to('g1') as AnswerLine
}

test('whoever answers more than now and then is offered a line, and answers by it', async () => {
  for (let i = 0; i < 15; i++) ways.send('g1', [numbered('a', i)])
  await connectorBus.connection.flush()
  await sleep(100)
  expect(offers).toBe(0)
  const line = await openLine()
  expect(offers).toBe(1)
  ways.send(line, [numbered('a', 1)])
  ways.send(line, [numbered('a', 2), numbered('b', 3)])
  await line.settled()
  expect(Object.fromEntries(received)).toEqual({ a: [1, 2], b: [3] })
  expect(overBus).toBe(0)
  // To another gateway everything goes over the bus.
  expect(ways.to('g2')).toBe('g2')
})

test('a connector without a way to the gateway answers over the bus', async () => {
  const without = new AnswerWays({
    bus: connectorBus,
    log,
    memberId: 'c1',
    isNeeded: () => false,
    onLost: () => undefined,
  })
  for (let i = 0; i < 40; i++) without.send('g1', [numbered('a', i)])
  await expect.poll(() => overBus).toBe(40)
  expect(without.to('g1')).toBe('g1')
  without[Symbol.dispose]()
})

describe('nothing is lost, sent twice or overtaken', () => {
  test.each([
    ['when connections are cut', () => between.cut(), 40],
    ['when nothing passes any more, and nobody says so', () => between.hang(), 1],
    ['when the gateway ends the line', () => lines.end(), 1],
  ] as const)('%s', async (_, harm, times) => {
    const line = await openLine()
    let number = 0
    // Until some time after the harm, with messages of every size.
    for (let turn = 0; turn < 400; turn++) {
      const frames = Array.from({ length: 1 + (turn % 5) }, () =>
        numbered(`x${number % 7}`, number++, turn % 31 === 0 ? 60_000 : 4),
      )
      ways.send(line, frames)
      if (turn % 10 === 9) await sleep(1)
      if (turn >= 100 && turn < 100 + times) harm()
    }
    const count = () => [...received.values()].flat().length
    await expect.poll(count, { timeout: 10_000 }).toBe(number)
    for (let each = 0; each < 7; each++) {
      const expected = Array.from({ length: number }, (_, n) => n).filter(n => n % 7 === each)
      expect(received.get(`x${each}`)).toEqual(expected)
    }
    expect(overBus).toBeGreaterThan(0)
    expect(lost).toEqual([])
    expect(line.isOver).toBe(true)
    // What begins now does not wait for it.
    expect(ways.to('g1')).not.toBe(line)
  })
})

test('what comes late of a line that was given up is not taken once more', async () => {
  const line = await openLine()
  between.hang()
  ways.send(line, [numbered('a', 1)])
  await expect.poll(() => line.isOver).toBe(true)
  between.goOn()
  await expect.poll(() => between.open).toBe(0)
  await expect.poll(() => lines.size).toBe(0)
  expect(Object.fromEntries(received)).toEqual({ a: [1] })
})

test('a slow way is no silent one: what queues up there goes by it', async () => {
  const line = await openLine()
  between.slow(2 * mib)
  for (let number = 0; number < 80; number++) ways.send(line, [numbered('a', number, 64 * 1024)])
  const startedAt = performance.now()
  await expect.poll(() => received.get('a')?.length, { timeout: 10_000 }).toBe(80)
  expect(performance.now() - startedAt).toBeGreaterThan(1_500)
  expect(overBus).toBe(0)
  expect(line.isOpen).toBe(true)
})

test('a line on which nothing is said is asked after, so that nothing between takes it for idle', async () => {
  const line = await openLine()
  await line.settled()
  const clock = vi.spyOn(performance, 'now')
  onTestFinished(() => clock.mockRestore())
  needed = true
  between.hang()
  const now = performance.now()
  clock.mockReturnValue(now + 14_000)
  await sleep(300)
  expect(line.isOpen).toBe(true)
  clock.mockReturnValue(now + 16_000)
  await sleep(300)
  clock.mockReturnValue(now + 17_000)
  // The time that it seems to have stood still is taken off once.
  await sleep(300)
  expect(line.isOpen).toBe(false)
})

test('a gateway that has not heard that a line is broken is told again', async () => {
  const line = await openLine()
  between.hang()
  ways.send(line, [numbered('a', 1)])
  isDeaf = true
  await expect.poll(() => line.isOpen).toBe(false)
  await connectorBus.connection.flush()
  await sleep(200)
  expect(line.isOver).toBe(false)
  isDeaf = false
  await expect.poll(() => Object.fromEntries(received), { timeout: 3_000 }).toEqual({ a: [1] })
  expect(lost).toEqual([])
})

test('what a gateway says nothing of, or knows nothing of, is given up', async () => {
  const silent = await openLine()
  isDeaf = true
  between.hang()
  ways.send(silent, [numbered('a', 1)])
  await expect.poll(() => lost, { timeout: 10_000 }).toEqual([silent])
  isDeaf = false
  ways.send(silent, [numbered('b', 2)])
  await expect.poll(() => Object.fromEntries(received)).toEqual({ b: [2] })
  between.mend()
  lines.end()
  const forgotten = await openLine()
  lines.end()
  lines = newLines()
  ways.send(forgotten, [numbered('c', 3)])
  await expect.poll(() => lost).toEqual([silent, forgotten])
})

test("a line is nobody else's", async () => {
  const line = await openLine()
  const told: (number | undefined)[] = []
  const other = await nats.connect('connector', 'c2')
  other.subscribe(subjects.downTo('c2'), {
    callback: ({ data }) => told.push(Object(decodeAboutLine(data)).messages),
  })
  await other.connection.flush()
  lines.broken('c2', line.key)
  await expect.poll(() => told).toEqual([undefined])
  ways.send(line, [numbered('a', 1)])
  await line.settled()
  expect(line.isOpen).toBe(true)
})

test('who is gone answers by no line, nor by one that was offered before', async () => {
  const line = await openLine()
  lines.gone('c1')
  await expect.poll(() => line.isOpen).toBe(false)
  expect(lines.size).toBe(0)
  const key = await offered()
  lines.gone('c1')
  expect((await come(key)).status).toBe('421')
})

test('a gateway that stops, or has lost the bus, ends all lines; only one that stops offers none any more', async () => {
  const line = await openLine()
  lines.end()
  await expect.poll(() => line.isOver).toBe(true)
  const next = await openLine()
  lines.drain()
  await expect.poll(() => next.isOver).toBe(true)
  offers = 0
  for (let i = 0; i < 40; i++) ways.send('g1', [numbered('a', i)])
  await expect.poll(() => overBus).toBe(40)
  expect(offers).toBe(0)
})

test('what is no line is not read on', async () => {
  const { socket, status } = await come(await offered())
  expect(status).toBe('101')
  socket.write(directReady)
  await expect.poll(() => lines.size).toBe(1)
  socket.write('GET / HTTP/1.1\r\n\r\n')
  await once(socket, 'close')
  expect(unreadable).toEqual(['c1'])
  expect(lines.size).toBe(0)
})

test('a line is kept while somebody needs it, and given up when nobody has for a minute', async () => {
  const line = await openLine()
  const clock = vi.spyOn(performance, 'now')
  onTestFinished(() => clock.mockRestore())
  const later = performance.now() + 61_000
  needed = true
  clock.mockReturnValue(later)
  await sleep(600)
  expect(line.isOpen).toBe(true)
  needed = false
  await expect.poll(() => line.isOver).toBe(true)
  expect(lost).toEqual([])
})

describe('a relay', () => {
  /** A gateway's relay with its door, and a connector that does as it likes. */
  async function rogueLine() {
    await using stack = new AsyncDisposableStack()
    const bus = await nats.connect('gateway', 'g2')
    const members = stack.use(followMembers(bus))
    const uploads = stack.use(new Patience(60))
    const budget = new StreamBudget({ memoryBytes: 2 ** 26 })
    const relay = stack.use(new Relay({ bus, log, members, uploads, budget }))
    const front = createFront({
      listener(req, res, { upgrade }) {
        const incoming = new IncomingReader('g', () => false).read(req)
        if (!('fault' in incoming)) relay.direct.accept({ req, res, incoming, upgrade })
      },
    })
    stack.defer(() => front.destroy())
    const port = await front.listen('127.0.0.1', 0)
    await bus.connection.flush()
    const key = await offered('g2')
    const { socket } = await come(key, port)
    socket.write(directReady)
    await expect.poll(() => relay.openLines).toBe(1)
    const owned = stack.move()
    return { relay, socket, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  test('ends the line of a connector that has been disabled', async () => {
    await using rogue = await rogueLine()
    const registry = await nats.connect('registry')
    const gone = { connectorId: 'c1', reason: 'disabled' }
    registry.publishJson(subjects.connectorGone('c2'), gone)
    await registry.connection.flush()
    expect(rogue.relay.openLines).toBe(1)
    registry.publishJson(subjects.connectorGone('c1'), gone)
    await once(rogue.socket, 'close')
    expect(rogue.relay.openLines).toBe(0)
  })

  test.each([
    ['it stops', (relay: Relay) => relay.drain()],
    ['the bus is lost, which would say who may not answer any more', () => nats.kill()],
  ])('ends all lines when %s', async (_, end) => {
    await using rogue = await rogueLine()
    void end(rogue.relay)
    await once(rogue.socket, 'close')
    expect(rogue.relay.openLines).toBe(0)
  })
})

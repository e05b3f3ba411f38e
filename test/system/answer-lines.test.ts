/** Answers go past the bus where connectors can dial the gateway: nobody notices when that way breaks, again and again. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { isBatch } from '#infra/frame-batch.ts'
import { frameTypes } from '#infra/wire.ts'
import { changeConnector } from '../harness/admin.ts'
import { digestOfBody, digestOfStream } from '../harness/bodies.ts'
import { Client } from '../harness/client.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { failures, drive as sendAll, startDriving } from '../harness/load.ts'
import { mib } from '../harness/memory.ts'
import { startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { startTcpLine, type TcpLine } from '../harness/tcp-line.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: CountingOrigin
let system: TestSystem
let between: TcpLine
let visitor: Visitor
/** Messages of answers on the bus. */
let onBus = 0

const isAnswer = (data: Buffer) => isBatch(data) || data[0] === frameTypes.response

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({ publish: [signedInApplication('wiki', origin.url)] })
  between = await startTcpLine(Number(new URL(system.gatewayUrls[0] ?? '').port))
  const [first] = system.services.of('connector')
  await system.add('connector', byLine('by-line'))
  if (first) await system.stop(first)
  const bus = await system.connect('registry')
  bus.subscribe('sallyport.up.>', {
    callback: ({ data }) => {
      if (isAnswer(data)) onBus++
    },
  })
  await bus.connection.flush()
  visitor = await signInTo(system, 'wiki')
})
afterAll(async () => {
  await system?.[Symbol.asyncDispose]()
  await between?.[Symbol.asyncDispose]()
  await origin?.[Symbol.asyncDispose]()
})

const byLine = (id: string) => ({
  SALLYPORT_CONNECTOR_ID: id,
  SALLYPORT_CONNECTOR_GATEWAY_URL: `http://portal.sallyport.localhost:${between.port}/`,
})

const sendOne = () =>
  sendAll({ gateways: () => system.gatewayUrls, headers: visitor.headers, count: 1 })

const drive = () =>
  startDriving({
    gateways: () => system.gatewayUrls,
    headers: visitor.headers,
    request: number => ({
      method: number % 2 === 0 ? 'POST' : 'GET',
      path: '/',
      ...(number % 2 === 0 && { body: `change ${number}` }),
    }),
  })

/** Resolves when the connector has dialled the gateway for its answers. */
const untilDialled = () => expect.poll(() => between.open, { timeout: 20_000 }).toBe(1)

test('answers leave the bus', async () => {
  await using load = drive()
  await untilDialled()
  await load.untilAnswered(100)
  onBus = 0
  await load.untilAnswered(500)
  expect(onBus).toBe(0)
  expect(failures(await load.stop())).toEqual([])
})

test('of requests under way when the line breaks none is lost and none is sent twice', async () => {
  const arrivedBefore = origin.arrived
  await using load = drive()
  for (const harm of ['cut', 'cut', 'hang'] as const) {
    await untilDialled()
    await load.untilAnswered(200)
    between[harm]()
    await load.untilAnswered(500)
    between.mend()
  }
  const replies = await load.stop()
  expect(failures(replies)).toEqual([])
  expect(origin.arrived - arrivedBefore).toBe(replies.length)
  expect(origin.repeated()).toEqual([])
})

test('a connector that is disabled answers past the bus no more than on it', async () => {
  await using load = drive()
  await untilDialled()
  await load.untilAnswered(100)
  await changeConnector(system, 'by-line', { isEnabled: false })
  await expect.poll(() => between.open).toBe(0)
  const refused = async () => failures(await sendOne()).length
  await expect.poll(refused).toBe(1)
  await changeConnector(system, 'by-line', { isEnabled: true })
  await expect.poll(refused, { timeout: 40_000 }).toBe(0)
})

test('an answer that had begun is cut off when its connector is killed, never ended as if it were whole', async () => {
  await using load = drive()
  await untilDialled()
  await load.untilAnswered(100)
  await load.stop()
  using client = new Client(system.gatewayUrls[0] ?? '', visitor)
  onBus = 0
  const { stream } = await client.open('/long')
  expect(onBus).toBe(0)
  const [victim] = system.services.of('connector')
  if (victim) await system.kill(victim)
  await expect(digestOfStream(stream)).rejects.toThrow('aborted')
  await system.add('connector', byLine('next'))
  await expect.poll(async () => failures(await sendOne())).toEqual([])
})

test('a connector that stops has said everything', async () => {
  origin.delayMs = 50
  await using load = drive()
  await untilDialled()
  const leaving = system.services.of('connector').at(-1)
  await system.add('connector')
  if (leaving) await system.stop(leaving)
  expect(between.open).toBe(0)
  origin.delayMs = 0
  await load.untilAnswered(100)
  expect(failures(await load.stop())).toEqual([])
})

test('each process of a gateway has a line of each process of a connector, and large bodies find theirs too', async () => {
  await using files = await startOrigin()
  await using pair = await startSystem({
    environment: { SALLYPORT_GATEWAY_WORKERS: '2', SALLYPORT_CONNECTOR_WORKERS: '2' },
    publish: [signedInApplication('wiki', origin.url), signedInApplication('files', files.url)],
  })
  const bus = await pair.connect('registry')
  let answers = 0
  bus.subscribe('sallyport.up.>', { callback: ({ data }) => void (isAnswer(data) && answers++) })
  await bus.connection.flush()
  const { headers } = await signInTo(pair, 'wiki')
  const gateways = () => pair.gatewayUrls
  const onTheBus = async () => {
    answers = 0
    expect(failures(await sendAll({ gateways, headers, count: 300 }))).toEqual([])
    return answers
  }
  await expect.poll(onTheBus, { timeout: 30_000 }).toBe(0)
  const bytes = 8 * mib
  const filesVisitor = await signInTo(pair, 'files')
  const downloads = Array.from({ length: 8 }, async () => {
    using client = new Client(pair.gatewayUrls[0] ?? '', filesVisitor)
    expect(await client.digest(`/bytes/${bytes}?chunked`)).toEqual(digestOfBody(bytes))
  })
  await Promise.all(downloads)
  // No short answer waits behind what is known to be large.
  expect(answers).toBe(0)
  using client = new Client(pair.gatewayUrls[0] ?? '', filesVisitor)
  expect(await client.digest(`/bytes/${bytes}`)).toEqual(digestOfBody(bytes))
  expect(answers).toBe(1)
})

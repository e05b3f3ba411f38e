/** Answers go past the bus where connectors can dial the gateway: nobody notices when that way breaks, again and again. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { isBatch } from '#infra/frame-batch.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { startTcpLine, type TcpLine } from '../harness/tcp-line.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: CountingOrigin
let system: TestSystem
let between: TcpLine
let headers: Readonly<Record<string, string>>
/** Messages of answers on the bus. */
let onBus = 0

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({ publish: [signedInApplication('wiki', origin.url)] })
  between = await startTcpLine(Number(new URL(system.gatewayUrls[0] ?? '').port))
  const [first] = system.services.of('connector')
  await system.add('connector', {
    SALLYPORT_CONNECTOR_ID: 'by-line',
    SALLYPORT_CONNECTOR_GATEWAY_URL: `http://portal.sallyport.localhost:${between.port}/`,
  })
  if (first) await system.stop(first)
  const bus = await system.connect('registry')
  bus.subscribe('sallyport.up.>', {
    callback: ({ data }) => {
      if (isBatch(data) || data.length > 100) onBus++
    },
  })
  await bus.connection.flush()
  const visitor = await signInTo(system, 'wiki')
  headers = visitor.headers
})
afterAll(async () => {
  await system?.[Symbol.asyncDispose]()
  await between?.[Symbol.asyncDispose]()
  await origin?.[Symbol.asyncDispose]()
})

const drive = () =>
  startDriving({
    gateways: () => system.gatewayUrls,
    headers,
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

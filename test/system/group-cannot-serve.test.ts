/** What users are told when nobody of a connector group can take their request, how fast, and that it passes. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { lostAfterMs } from '#infra/wire.ts'
import { createGroup, moveToGroup } from '../harness/admin.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { drive, failures, medianMs, type Reply } from '../harness/load.ts'
import { resolving } from '../harness/name-resolution.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: CountingOrigin
let shop: CountingOrigin
let system: TestSystem
let visitor: Visitor

beforeAll(async () => {
  origin = await startCountingOrigin()
  shop = await startCountingOrigin()
  const { port } = new URL(origin.url)
  system = await startSystem({
    connectors: 0,
    environment: { SALLYPORT_CONNECTOR_MAX_EXCHANGES: '8' },
    publish: [
      signedInApplication('wiki', `http://wiki.internal:${port}/`),
      signedInApplication('shop', shop.url),
    ],
  })
  await system.add('connector', resolving({ 'wiki.internal': '127.0.0.1' }))
  await system.add('connector', resolving({ 'wiki.internal': '127.0.0.1' }))
  await createGroup(system, 'empty')
  await createGroup(system, 'split')
  visitor = await signInTo(system, 'wiki')
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

const send = (count: number, concurrency = 1, path = '/', by = visitor): Promise<Reply[]> =>
  drive({
    gateways: () => system.gatewayUrls,
    headers: by.headers,
    count,
    concurrency,
    request: number => ({ method: number % 2 === 0 ? 'POST' : 'GET', path }),
  })

test('without a connector every request is answered 504 no_connector within 50 ms', async () => {
  await moveToGroup(system, 'wiki', 'empty')
  await expect.poll(async () => (await send(1))[0]?.code).toBe('no_connector')
  const replies = await send(40)
  for (const reply of replies) expect(reply).toMatchObject({ status: 504, code: 'no_connector' })
  expect(medianMs(replies)).toBeLessThan(50)
  await moveToGroup(system, 'wiki', 'default')
  await expect.poll(async () => failures(await send(1))).toEqual([])
})

test('when all connectors have as much as they take, it is 503 with Retry-After within 50 ms, and passes', async () => {
  const held = send(16, 16, '/held')
  await expect.poll(() => origin.held).toBe(16)
  const arrivedBefore = origin.arrived
  const alone = await send(60)
  const together = await send(200, 8)
  for (const reply of [...alone, ...together])
    expect(reply).toMatchObject({ status: 503, code: 'connectors_busy', retryAfter: '1' })
  expect(medianMs(alone)).toBeLessThan(50)
  // The search is bounded, and nobody's is prolonged by those of others.
  expect(Math.max(...[...alone, ...together].map(({ ms }) => ms))).toBeLessThan(1_000)
  expect(origin.arrived).toBe(arrivedBefore)
  origin.release()
  expect(failures(await held)).toEqual([])
  await expect.poll(async () => failures(await send(1))).toEqual([])
  expect(failures(await send(100, 8))).toEqual([])
})

test('when the origin is down everywhere it is 502 origin_unreachable at once, and passes', async () => {
  await origin.close()
  const replies = await send(40)
  for (const reply of replies)
    expect(reply).toMatchObject({ status: 502, code: 'origin_unreachable' })
  await origin.reopen()
  await expect.poll(async () => failures(await send(1)), { timeout: 3_000 }).toEqual([])
  // The other one may still believe that it is down; nobody notices.
  expect(failures(await send(100, 8))).toEqual([])
})

test('when one of two connectors cannot reach the origin, nobody notices', async () => {
  const add = (id: string, address: string) =>
    system.add('connector', {
      ...resolving({ 'wiki.internal': address }),
      SALLYPORT_CONNECTOR_ID: id,
      SALLYPORT_CONNECTOR_GROUP: 'split',
    })
  await add('sees', '127.0.0.1')
  await add('blind', '127.0.0.9')
  await moveToGroup(system, 'wiki', 'split')
  const events = await followAudit(system)
  const replies = await send(200, 4)
  expect(failures(replies)).toEqual([])
  await expect.poll(() => liveAccess(events).length).toBe(200)
  const ofSplit = liveAccess(events).filter(({ connectorGroup }) => connectorGroup === 'split')
  expect(new Set(ofSplit.map(({ connector }) => connector))).toEqual(new Set(['sees']))
  expect(ofSplit.filter(({ attempts }) => attempts > 1).length).toBeGreaterThan(20)
  expect(origin.repeated()).toEqual([])
})

test('requests that share a message on the way to a group of one learn together that it takes none', async () => {
  await createGroup(system, 'lone')
  await system.add('connector', {
    ...resolving({ 'wiki.internal': '127.0.0.1' }),
    SALLYPORT_CONNECTOR_GROUP: 'lone',
  })
  await moveToGroup(system, 'wiki', 'lone')
  await expect.poll(async () => failures(await send(1))).toEqual([])
  const held = send(8, 8, '/held')
  await expect.poll(() => origin.held).toBe(8)
  const replies = await send(120, 40)
  for (const reply of replies) expect(reply).toMatchObject({ status: 503, code: 'connectors_busy' })
  // None by its silence.
  expect(Math.max(...replies.map(({ ms }) => ms))).toBeLessThan(lostAfterMs)
  origin.release()
  expect(failures(await held)).toEqual([])
  expect(failures(await send(100, 8))).toEqual([])
})

test('an application that does not answer is refused by itself, and takes no room from the others', async () => {
  await createGroup(system, 'shared')
  await system.add('connector', {
    ...resolving({ 'wiki.internal': '127.0.0.1' }),
    SALLYPORT_CONNECTOR_GROUP: 'shared',
    SALLYPORT_CONNECTOR_MAX_EXCHANGES: '100',
    SALLYPORT_CONNECTOR_MAX_AWAITED: '6',
  })
  await moveToGroup(system, 'wiki', 'shared')
  await moveToGroup(system, 'shop', 'shared')
  const buyer = await signInTo(system, 'shop')
  const held = send(6, 6, '/held')
  await expect.poll(() => origin.held).toBe(6)
  const refused = await send(60, 8)
  for (const reply of refused) expect(reply).toMatchObject({ status: 503, code: 'connectors_busy' })
  expect(failures(await send(60, 4, '/', buyer))).toEqual([])
  origin.release()
  expect(failures(await held)).toEqual([])
  // What has been answered takes no room, though its body is still under way.
  const long = send(6, 6, '/long')
  await expect.poll(() => origin.held).toBe(6)
  expect(failures(await send(60, 4))).toEqual([])
  origin.release()
  expect(failures(await long)).toEqual([])
})

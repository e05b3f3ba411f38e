/** An application with a standby group: served there as long as its own group cannot, and not a request longer. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { administer, createGroup } from '../harness/admin.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { drive, failures, type Reply } from '../harness/load.ts'
import { resolving } from '../harness/name-resolution.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: CountingOrigin
let system: TestSystem
let visitor: Visitor

const there = resolving({ 'wiki.internal': '127.0.0.1' })
const nowhere = resolving({ 'wiki.internal': '127.0.0.9' })

const addConnector = (id: string, group: string, environment = there) =>
  system.add('connector', {
    ...environment,
    SALLYPORT_CONNECTOR_ID: id,
    SALLYPORT_CONNECTOR_GROUP: group,
  })

beforeAll(async () => {
  origin = await startCountingOrigin()
  const { port } = new URL(origin.url)
  system = await startSystem({
    connectors: 0,
    publish: [signedInApplication('wiki', `http://wiki.internal:${port}/`)],
  })
  for (const group of ['paris', 'lyon', 'far']) await createGroup(system, group)
  const groups = { connectorGroupId: 'paris', standbyConnectorGroupId: 'lyon' }
  await administer(system, 'PATCH', '/applications/wiki', groups)
  await addConnector('lyon-1', 'lyon')
  await addConnector('lyon-2', 'lyon')
  visitor = await signInTo(system, 'wiki')
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const either = (number: number) => (number % 2 === 0 ? 'POST' : 'GET')

const send = (
  count: number,
  concurrency = 1,
  path = '/',
  method: (number: number) => string = either,
): Promise<Reply[]> =>
  drive({
    gateways: () => system.gatewayUrls,
    headers: visitor.headers,
    count,
    concurrency,
    request: number => ({ method: method(number), path }),
  })

/** By which group requests were served, as the audit says. */
async function servedBy(count: number): Promise<Record<string, number>> {
  const events = await followAudit(system)
  const startedAt = new Date().toISOString()
  // The request before may be recorded a moment after its answer.
  const own = () => liveAccess(events).filter(({ time }) => time >= startedAt)
  expect(failures(await send(count, 2))).toEqual([])
  await expect.poll(() => own().length).toBe(count)
  const groups = own().map(event => String(event.connectorGroup))
  const byGroup = Object.groupBy(groups, group => group)
  return Object.fromEntries(Object.entries(byGroup).map(([group, of]) => [group, of?.length ?? 0]))
}

test('while nobody of its own group is online, the standby group serves at once', async () => {
  expect(await servedBy(40)).toEqual({ lyon: 40 })
})

test('when its own group is there it serves everything, and the standby group takes over when it dies', async () => {
  const own = await addConnector('paris-1', 'paris')
  expect(await servedBy(40)).toEqual({ paris: 40 })
  await system.kill(own)
  // Nobody knows yet that it is dead. What it may have begun is not sent again, unless that does no harm.
  expect(failures(await send(60, 2, '/', () => 'GET'))).toEqual([])
  expect(await servedBy(20)).toEqual({ lyon: 20 })
  expect(origin.repeated()).toEqual([])
})

test('when its own group cannot reach the origin, the standby group serves, and gives it back by itself', async () => {
  const blind = await addConnector('paris-2', 'paris', nowhere)
  expect(await servedBy(20)).toEqual({ lyon: 20 })
  await system.stop(blind)
  await addConnector('paris-3', 'paris')
  expect(await servedBy(20)).toEqual({ paris: 20 })
})

test('a group that is busy is no reason for another: its users wait', async () => {
  await administer(system, 'PATCH', '/applications/wiki', { connectorGroupId: 'far' })
  await addConnector('far-1', 'far', { ...there, SALLYPORT_CONNECTOR_MAX_EXCHANGES: '4' })
  await expect.poll(async () => Object.keys(await servedBy(2))).toEqual(['far'])
  const held = send(4, 4, '/held')
  await expect.poll(() => origin.held).toBe(4)
  const [busy] = await send(1)
  expect(busy).toMatchObject({ status: 503, code: 'connectors_busy' })
  origin.release()
  expect(failures(await held)).toEqual([])
})

test('without its standby group it is as before: nobody there, 504', async () => {
  const groups = { connectorGroupId: 'default', standbyConnectorGroupId: null }
  await administer(system, 'PATCH', '/applications/wiki', groups)
  await expect.poll(async () => (await send(1))[0]).toMatchObject({ code: 'no_connector' })
})

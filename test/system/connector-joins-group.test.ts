/** Connectors come to a group, groups serve different applications, and applications move between groups, under load. */

import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Message } from '#infra/bus.ts'
import { subjects } from '#infra/subjects.ts'
import { createGroup, moveToGroup } from '../harness/admin.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { drive, failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: CountingOrigin
let system: TestSystem

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({
    publish: [signedInApplication('wiki', origin.url), signedInApplication('ledger', origin.url)],
  })
  await createGroup(system, 'paris')
  await moveToGroup(system, 'ledger', 'paris')
  await system.add('connector', {
    SALLYPORT_CONNECTOR_ID: 'paris-1',
    SALLYPORT_CONNECTOR_GROUP: 'paris',
  })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

test('two groups serve different applications, and neither sees the requests of the other', async () => {
  const wiki = await signInTo(system, 'wiki')
  const ledger = await signInTo(system, 'ledger')
  const events = await followAudit(system)
  const requests: Message[] = []
  const bus = await system.connect('registry')
  bus.subscribe('sallyport.exchange.>', { callback: message => requests.push(message) })
  await bus.connection.flush()
  const gateways = () => system.gatewayUrls
  const startedAt = new Date().toISOString()
  // The last request of signing in may be recorded a moment after its answer.
  const own = () => liveAccess(events).filter(({ time }) => time >= startedAt)
  const replies = await Promise.all([
    drive({ gateways, headers: wiki.headers, count: 200 }),
    drive({ gateways, headers: ledger.headers, count: 200 }),
  ])
  expect(failures(replies.flat())).toEqual([])
  await expect.poll(() => own().length).toBeGreaterThanOrEqual(400)
  expect(new Set(own().map(({ id }) => id)).size).toBe(400)
  expect(own()).toHaveLength(400)
  const pairs = own().map(event => `${event.application} by ${event.connector}`)
  expect(new Set(pairs)).toEqual(new Set(['wiki by connector-1', 'ledger by paris-1']))
  const asked = new Set(requests.map(({ subject }) => subject))
  expect(asked).toEqual(
    new Set([subjects.exchange('default', 'wiki'), subjects.exchange('paris', 'ledger')]),
  )
})

test('a new connector has its share of the requests within two seconds', async () => {
  const { headers } = await signInTo(system, 'wiki')
  const events = await followAudit(system)
  // A process that has just started takes some milliseconds more on a busy machine. Beside an origin that takes none it
  // is twice as slow as its group, and holds back.
  origin.delayMs = 20
  onTestFinished(() => {
    origin.delayMs = 0
  })
  await using load = startDriving({ gateways: () => system.gatewayUrls, headers })
  await load.untilAnswered(200)
  await system.add('connector', { SALLYPORT_CONNECTOR_ID: 'newcomer' })
  const joinedMs = Date.now()
  await load.untilAnswered(400)
  expect(Date.now() - joinedMs).toBeLessThan(2_000)
  expect(failures(await load.stop())).toEqual([])
  const since = liveAccess(events).filter(({ time }) => Date.parse(time) > joinedMs)
  const share = since.filter(({ connector }) => connector === 'newcomer').length / since.length
  expect(share).toBeGreaterThan(1 / 2 / 1.3)
})

test('an application that moves to another group is served by it within a second, without a failed request', async () => {
  const { headers } = await signInTo(system, 'wiki')
  const events = await followAudit(system)
  const request = (number: number) => ({ method: number % 2 === 0 ? 'POST' : 'GET', path: '/' })
  await using load = startDriving({ gateways: () => system.gatewayUrls, headers, request })
  for (const group of ['paris', 'default', 'paris']) {
    await load.untilAnswered(200)
    const movedMs = Date.now()
    await moveToGroup(system, 'wiki', group)
    await load.untilAnswered(400)
    const isOfGroup = (connector: string | null) =>
      (connector === 'paris-1') === (group === 'paris')
    const lastElsewhere = liveAccess(events).findLast(({ connector }) => !isOfGroup(connector))
    expect(Date.parse(lastElsewhere?.time ?? '')).toBeLessThan(movedMs + 1_000)
    expect(isOfGroup(liveAccess(events).at(-1)?.connector ?? null)).toBe(true)
  }
  expect(failures(await load.stop())).toEqual([])
  expect(origin.repeated()).toEqual([])
})

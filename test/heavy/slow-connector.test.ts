/**
 * A connector whose origin answers ten times slower than the others' does not decide the pace of its group, gets its
 * share back when it is fast again, and takes everything when the others are gone.
 */

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createGroup, moveToGroup } from '../harness/admin.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { type Driving, failures, type Reply, startDriving } from '../harness/load.ts'
import { resolving } from '../harness/name-resolution.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

/** Long beside what a busy machine adds to each of them. */
const fastMs = 20
const slowMs = 200

/** One host name leads each connector to an origin of its own. */
const host = 'wiki.internal'

/** The first one is the slow one. */
const origins: CountingOrigin[] = []
let system: TestSystem
let visitor: Visitor

beforeAll(async () => {
  const first = await startCountingOrigin('127.0.0.1')
  const port = Number(new URL(first.url).port)
  origins.push(first)
  origins.push(await startCountingOrigin('127.0.0.2', port))
  origins.push(await startCountingOrigin('127.0.0.3', port))
  system = await startSystem({
    gateways: 2,
    connectors: 0,
    publish: [signedInApplication('wiki', `http://${host}:${port}/`)],
  })
  for (const { url } of origins)
    await system.add('connector', resolving({ [host]: new URL(url).hostname }))
  visitor = await signInTo(system, 'wiki')
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  for (const origin of origins) await origin[Symbol.asyncDispose]()
})
beforeEach(() => takes(slowMs, fastMs, fastMs))

function takes(...delaysMs: number[]): void {
  for (const [i, origin] of origins.entries()) origin.delayMs = delaysMs[i] as number
}

const steadily = (): Driving =>
  startDriving({
    gateways: () => system.gatewayUrls,
    headers: visitor.headers,
    concurrency: 56,
    request: number => ({ method: number % 4 === 0 ? 'POST' : 'GET', path: '/' }),
  })

/** The first origin's part of the next requests. */
async function shareOfFirst(load: Driving, requests: number): Promise<number> {
  const arrivals = () => origins.map(({ arrived }) => arrived)
  const before = arrivals()
  await load.untilAnswered(requests)
  const [first = 0, ...others] = arrivals().map((arrived, i) => arrived - (before[i] as number))
  return first / others.reduce((sum, each) => sum + each, first)
}

const soon = { timeout: 15_000, interval: 0 }

function percentile(replies: readonly Reply[], part: number): number {
  const sorted = replies.map(({ ms }) => ms).toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length * part)] as number
}

test('a connector ten times slower than the two others gets under 15 % of the requests, and its share back when it is as fast', async () => {
  await using load = steadily()
  await expect.poll(() => shareOfFirst(load, 300), soon).toBeLessThan(0.15)
  const settled = load.replies.length
  expect(await shareOfFirst(load, 4_000)).toBeLessThan(0.15)
  expect(percentile(load.replies.slice(settled), 0.99)).toBeLessThan(1_000)
  takes(fastMs, fastMs, fastMs)
  await expect.poll(() => shareOfFirst(load, 1_000), soon).toBeGreaterThan(0.28)
  expect(failures(await load.stop())).toEqual([])
})

test('connectors that are all equally slow share evenly', async () => {
  takes(60, 60, 60)
  await using load = steadily()
  // Longer than it takes to find out who is slow.
  await load.untilAnswered(2_500)
  const share = await shareOfFirst(load, 2_000)
  expect(share).toBeGreaterThan(0.25)
  expect(share).toBeLessThan(0.42)
  expect(failures(await load.stop())).toEqual([])
})

test('a slow connector that takes only a few at once is rarely asked in vain, and its refusals are nobody’s failure', async () => {
  await createGroup(system, 'narrow')
  const add = (id: string, origin: CountingOrigin | undefined, most: string) =>
    system.add('connector', {
      ...resolving({ [host]: new URL(origin?.url ?? '').hostname }),
      SALLYPORT_CONNECTOR_ID: id,
      SALLYPORT_CONNECTOR_GROUP: 'narrow',
      SALLYPORT_CONNECTOR_MAX_EXCHANGES: most,
    })
  await add('narrow', origins[0], '8')
  await add('wide', origins[1], '128')
  await moveToGroup(system, 'wiki', 'narrow')
  const events = await followAudit(system)
  const load = steadily()
  await load.untilAnswered(3_000)
  expect(failures(await load.stop())).toEqual([])
  await expect.poll(() => liveAccess(events).length).toBeGreaterThan(2_900)
  const ofNarrow = liveAccess(events).filter(({ connectorGroup }) => connectorGroup === 'narrow')
  const asked = ofNarrow.map(({ attempts }) => attempts)
  expect(asked.filter(attempts => attempts > 1).length / asked.length).toBeLessThan(0.15)
  await moveToGroup(system, 'wiki', 'default')
})

test('a slow connector that holds back takes every request as soon as the others are stopped', async () => {
  await using load = steadily()
  await expect.poll(() => shareOfFirst(load, 300), soon).toBeLessThan(0.15)
  const [, ...fast] = system.services.of('connector').slice(0, 3)
  await Promise.all(fast.map(connector => system.stop(connector)))
  expect(await shareOfFirst(load, 400)).toBe(1)
  expect(failures(await load.stop())).toEqual([])
})

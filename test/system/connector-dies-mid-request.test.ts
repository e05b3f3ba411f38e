/**
 * A connector that is killed while it has requests: what may be repeated is, what may not is reported once and clearly,
 * and nothing waits for a time-out. The bus's server tells the registry of the lost connection, the registry tells the
 * gateways.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ServiceProcess } from '#infra/embedded/service-process.ts'
import { decodeBatch } from '#infra/frame-batch.ts'
import { frameTypes } from '#infra/wire.ts'
import { accessEvents, readAudit } from '../harness/audit-trail.ts'
import {
  type CountingOrigin,
  heldBySurvivors,
  startCountingOrigin,
} from '../harness/counting-origin.ts'
import { drive, failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: CountingOrigin
let system: TestSystem
let visitor: Visitor

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({
    connectors: 3,
    // How far an exchange has come is seen on the bus; past it: answer-lines.test.ts.
    environment: { SALLYPORT_CONNECTOR_DIRECT_CONNECTIONS: 'false' },
    publish: [signedInApplication('wiki', origin.url)],
  })
  visitor = await signInTo(system, 'wiki')
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const session = () => ({ gateways: () => system.gatewayUrls, headers: visitor.headers })
const all = (count: number, method: string, path: string) =>
  drive({ ...session(), count, concurrency: count, request: () => ({ method, path }) })

/** Counts the connectors' frames of one type from now on. */
async function countFrames(type: number): Promise<() => number> {
  const bus = await system.connect('registry')
  let count = 0
  bus.subscribe('sallyport.up.>', {
    callback: ({ data }) => {
      const isBatch = data[0] === frameTypes.batch
      const frames = isBatch ? decodeBatch(data).map(({ frame }) => frame) : [data]
      count += frames.filter(frame => frame[0] === type).length
    },
  })
  await bus.connection.flush()
  return () => count
}

/** Kills the oldest connector and answers its id. */
async function killOne(): Promise<string> {
  const [victim] = system.services.of('connector')
  if (!victim) throw new Error('there is no connector')
  await system.kill(victim)
  return String(victim.details.connectorId)
}

test('under load no GET fails, no POST is sent twice, and none waits longer than silence may last', async () => {
  const request = (number: number) => ({ method: number % 3 === 0 ? 'POST' : 'GET', path: '/' })
  await using load = startDriving({ ...session(), request })
  await load.untilAnswered(500)
  await killOne()
  await load.untilAnswered(1_000)
  const replies = await load.stop()
  expect(failures(replies.filter(({ method }) => method === 'GET'))).toEqual([])
  const posts = replies.filter(({ method }) => method === 'POST')
  for (const lost of posts.filter(({ status }) => status !== 200))
    expect(lost).toMatchObject({ status: 502, code: 'connector_lost' })
  expect(posts.filter(({ number }) => origin.timesSeen(number) > 1)).toEqual([])
  expect(Math.max(...replies.map(({ ms }) => ms))).toBeLessThan(2_500)
  await system.add('connector')
})

test('a gateway that stood still itself takes no connector for lost: what came meanwhile is answered', async () => {
  const { pid = 0 } = system.services.of('gateway')[0] as ServiceProcess
  const request = (number: number) => ({ method: number % 2 === 0 ? 'POST' : 'GET', path: '/' })
  await using load = startDriving({ ...session(), request })
  await load.untilAnswered(200)
  for (let times = 0; times < 3; times++) {
    process.kill(pid, 'SIGSTOP')
    try {
      await sleep(1_300)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await load.untilAnswered(50)
  }
  const replies = await load.stop()
  expect(failures(replies)).toEqual([])
  expect(replies.filter(({ number }) => origin.timesSeen(number) !== 1)).toEqual([])
})

test('GETs that the connector had accepted go to another one within a second', async () => {
  const accepted = await countFrames(frameTypes.accepted)
  const replies = all(18, 'GET', '/held')
  await expect.poll(accepted).toBe(18)
  const arrived = origin.arrived
  const killedMs = performance.now()
  await killOne()
  await expect.poll(() => origin.arrived, { interval: 5 }).toBeGreaterThan(arrived)
  await expect.poll(() => origin.held, { interval: 5 }).toBe(18)
  expect(performance.now() - killedMs).toBeLessThan(1_000)
  origin.release()
  expect(failures(await replies)).toEqual([])
  await system.add('connector')
})

test('POSTs in flight on it get one clear 502 each, the others finish, and none is sent twice', async () => {
  const accepted = await countFrames(frameTypes.accepted)
  const replies = all(18, 'POST', '/held')
  await expect.poll(accepted).toBe(18)
  const victim = await killOne()
  const survivors = await heldBySurvivors(origin, 18)
  origin.release()
  const lost = (await replies).filter(({ status }) => status !== 200)
  expect(lost).toHaveLength(18 - survivors)
  for (const reply of lost) expect(reply).toMatchObject({ status: 502, code: 'connector_lost' })
  for (const { number } of await replies) expect(origin.timesSeen(number)).toBe(1)
  const auditor = await system.connect('auditor')
  const recorded = async () =>
    accessEvents(await readAudit(auditor)).filter(
      ({ method, path }) => method === 'POST' && path === '/held',
    )
  await expect.poll(async () => (await recorded()).length).toBe(18)
  const failed = (await recorded()).filter(({ outcome }) => outcome === 'failed')
  expect(failed).toHaveLength(lost.length)
  for (const event of failed)
    expect(event).toMatchObject({
      fault: 'connector_lost',
      connector: victim,
      attempts: 1,
      status: 502,
    })
  await system.add('connector')
})

test('long answers that it had begun are cut off, never ended as if they were whole', async () => {
  const heads = await countFrames(frameTypes.response)
  const replies = all(18, 'GET', '/long')
  await expect.poll(heads).toBe(18)
  await killOne()
  const survivors = await heldBySurvivors(origin, 18)
  origin.release()
  const cut = (await replies).filter(({ status }) => status === undefined)
  expect(cut).toHaveLength(18 - survivors)
  for (const { error } of cut) expect(error).toContain('cut off')
  expect(failures(await replies)).toHaveLength(cut.length)
})

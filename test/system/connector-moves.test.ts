/** A connector is moved to another group, disabled, enabled and removed while it works. */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ServiceProcess } from '#infra/embedded/service-process.ts'
import { exitRemoved } from '#infra/lifecycle.ts'
import { frameTypes } from '#infra/wire.ts'
import {
  changeConnector,
  createGroup,
  moveToGroup,
  readConnector,
  removeConnector,
} from '../harness/admin.ts'
import { digestOfStream } from '../harness/bodies.ts'
import { Client } from '../harness/client.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { drive, failures, type Reply, startDriving } from '../harness/load.ts'
import { mib } from '../harness/memory.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

const large = `/bytes/${6 * mib}`

let origin: CountingOrigin
let files: Origin
let system: TestSystem
let mover: ServiceProcess
let wiki: Visitor
let ledger: Visitor

beforeAll(async () => {
  origin = await startCountingOrigin()
  files = await startOrigin()
  system = await startSystem({
    publish: [
      signedInApplication('wiki', origin.url),
      signedInApplication('ledger', origin.url),
      signedInApplication('files', files.url),
    ],
  })
  await createGroup(system, 'paris')
  await moveToGroup(system, 'ledger', 'paris')
  await moveToGroup(system, 'files', 'paris')
  // Of two processes: what holds for them holds for one.
  const workers = { SALLYPORT_CONNECTOR_WORKERS: '2' }
  mover = await system.add('connector', { SALLYPORT_CONNECTOR_ID: 'mover', ...workers })
  wiki = await signInTo(system, 'wiki')
  ledger = await signInTo(system, 'ledger')
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  await files[Symbol.asyncDispose]()
})

const gateways = () => system.gatewayUrls
const moveTo = (connectorGroupId: string) => changeConnector(system, 'mover', { connectorGroupId })
const ask = async ({ headers }: Visitor) => (await drive({ gateways, headers, count: 1 }))[0]
const either = (number: number) => ({ method: number % 2 === 0 ? 'POST' : 'GET', path: '/' })

test('a connector that is moved serves its new group within seconds, no request fails, and it says what it carried', async () => {
  const events = await followAudit(system)
  const { pid } = mover
  await using load = startDriving({ gateways, headers: wiki.headers, request: either })
  await load.untilAnswered(200)
  expect(await ask(ledger)).toMatchObject({ status: 504, code: 'no_connector' })
  for (const group of ['paris', 'default', 'paris']) {
    await load.untilAnswered(100)
    const movedMs = Date.now()
    await moveTo(group)
    const expected = group === 'paris' ? 200 : 504
    await expect.poll(async () => (await ask(ledger))?.status).toBe(expected)
    expect(Date.now() - movedMs).toBeLessThan(5_000)
    await expect.poll(async () => (await readConnector(system, 'mover')).servedGroupId).toBe(group)
  }
  const awayMs = Date.now()
  await load.untilAnswered(200)
  expect(failures(await load.stop())).toEqual([])
  expect(origin.repeated()).toEqual([])
  // What had begun before it went may end by it later.
  const since = load.replies.filter(({ startedAtMs }) => startedAtMs > awayMs)
  const carriersOf = (replies: readonly Reply[]) => {
    const byRequest = new Map(liveAccess(events).map(it => [it.requestId, it.connector]))
    return new Set(replies.map(({ requestId = '' }) => byRequest.get(requestId)))
  }
  await expect.poll(() => carriersOf(since)).toEqual(new Set(['connector-1']))
  expect(mover.pid).toBe(pid)
  expect(mover.restarts).toBe(0)
  const { carried, lastByteDateTime } = await readConnector(system, 'mover')
  expect(Date.now() - Date.parse(lastByteDateTime ?? '')).toBeLessThan(30_000)
  const ofWiki = carried.find(({ applicationId }) => applicationId === 'wiki')
  expect(ofWiki?.exchanges).toBeGreaterThan(50)
  expect(ofWiki?.bytes).toBeGreaterThan(50 * '{"number":"1","method":"GET"}'.length)
})

test('what a connector has under way when it is moved is finished, while the new group is served', async () => {
  await moveTo('paris')
  await expect.poll(async () => (await ask(ledger))?.status).toBe(200)
  const request = () => ({ method: 'POST', path: '/held', body: 'a change' })
  const waiting = drive({ gateways, headers: ledger.headers, count: 4, concurrency: 4, request })
  await expect.poll(() => origin.held).toBe(4)
  await moveTo('default')
  await expect.poll(async () => (await ask(ledger))?.status).toBe(504)
  const isThere = async () => (await readConnector(system, 'mover')).servedGroupId
  await expect.poll(isThere).toBe('default')
  expect(origin.held).toBe(4)
  origin.release()
  expect(failures(await waiting)).toEqual([])
})

test('a disabled connector serves nobody, breaks off, and serves again when it is enabled, without a restart', async () => {
  await moveTo('paris')
  await expect.poll(async () => (await ask(ledger))?.status).toBe(200)
  const { pid } = mover
  using client = new Client(system.gatewayUrls[0] as string, await signInTo(system, 'files'))
  const bus = await system.connect('registry')
  const said: number[] = []
  bus.subscribe('sallyport.down.>', { callback: ({ data }) => said.push(data[0] as number) })
  await bus.connection.flush()
  const download = await client.open(large, { agent: false })
  download.stream.pause()
  await expect.poll(() => said).toContain(frameTypes.bulk)
  await sleep(500)
  await changeConnector(system, 'mover', { isEnabled: false })
  // Also what it had handed over to its kernel by then.
  await expect(digestOfStream(download.stream)).rejects.toThrow('aborted')
  await expect
    .poll(async () => await ask(ledger))
    .toMatchObject({ status: 504, code: 'no_connector' })
  expect((await readConnector(system, 'mover')).status).toBe('inactive')
  await expect.poll(() => system.logs()).toMatch(/"connector":"mover".*has (been )?disabled/)
  await changeConnector(system, 'mover', { isEnabled: true })
  await expect.poll(async () => (await ask(ledger))?.status, { timeout: 40_000 }).toBe(200)
  expect(mover.pid).toBe(pid)
})

test('a connector that is removed ends, says why, and is not started again', async () => {
  await removeConnector(system, 'mover')
  await expect.poll(() => mover.exitCode, { timeout: 30_000 }).toBe(exitRemoved)
  expect(await system.logs()).toMatch(/^[^{].*removed.*enrol/im)
  expect(await ask(ledger)).toMatchObject({ status: 504, code: 'no_connector' })
  expect(mover.restarts).toBe(0)
  await expect(readConnector(system, 'mover')).rejects.toThrow('404')
})

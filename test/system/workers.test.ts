/**
 * A gateway and a connector that consist of two processes each: one port, one identity, and a crash of one of them is
 * no more than that. Clients are the same as everywhere; only who answers them is looked at.
 */

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { ServiceProcess, ServiceRole } from '#infra/embedded/service-process.ts'
import { schedulingPolicy } from '#infra/scheduling.ts'
import { administer } from '../harness/admin.ts'
import { accessEvents, readAudit } from '../harness/audit-trail.ts'
import { bodyStream, digestOfBody } from '../harness/bodies.ts'
import { Client } from '../harness/client.ts'
import {
  type CountingOrigin,
  heldBySurvivors,
  startCountingOrigin,
} from '../harness/counting-origin.ts'
import { drive, failures, startDriving } from '../harness/load.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { stillRunning } from '../harness/processes.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'
import {
  type Answers,
  gatewayOf,
  gatewaysOf,
  listenToAnswers,
  workersOf,
} from '../harness/workers.ts'

let counting: CountingOrigin
let origin: Origin
let system: TestSystem
let visitor: Visitor
let answers: Answers

beforeAll(async () => {
  counting = await startCountingOrigin()
  origin = await startOrigin()
  system = await startSystem({
    environment: {
      SALLYPORT_GATEWAY_WORKERS: '2',
      SALLYPORT_CONNECTOR_WORKERS: '2',
      SALLYPORT_CONNECTOR_MAX_EXCHANGES: '101',
      // Who answers is seen on the bus; past it: answer-lines.test.ts.
      SALLYPORT_CONNECTOR_DIRECT_CONNECTIONS: 'false',
      SALLYPORT_GATEWAY_RATE_OF_SIGN_IN: '1/80',
    },
    publish: [signedInApplication('wiki', counting.url), signedInApplication('app', origin.url)],
  })
  visitor = await signInTo(system, 'wiki')
  answers = await listenToAnswers(system)
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  await counting[Symbol.asyncDispose]()
})

const session = () => ({ gateways: () => system.gatewayUrls, headers: visitor.headers })
const send = (count: number, path = '/', method = 'GET') =>
  drive({ ...session(), count, concurrency: count, request: () => ({ method, path }) })

function only(role: ServiceRole): ServiceProcess {
  const [service] = system.services.of(role)
  if (!service) throw new Error(`there is no ${role}`)
  return service
}

/** A client whose one connection is with one worker, for each of the two. The kernel chooses who gets a connection. */
async function clientOfEachWorker(visitor: Visitor): Promise<Client[]> {
  const clients = new Map<string | undefined, Client>()
  while (clients.size < 2) {
    const client = new Client(system.gatewayUrls[0] as string, visitor)
    const answer = await client.send('/nothing-here')
    const name = gatewayOf(answer.header('sallyport-request-id'))
    if (clients.has(name)) client[Symbol.dispose]()
    else clients.set(name, client)
  }
  return [...clients.values()]
}

/** Ends one worker as a crash would, and answers the pids of the others. */
async function killOneWorker(role: ServiceRole): Promise<number[]> {
  const [victim, ...others] = await workersOf(only(role))
  process.kill(victim as number, 'SIGKILL')
  await expect.poll(() => stillRunning([victim as number])).toEqual([])
  return others
}

test.skipIf(process.platform !== 'linux')(
  'nobody interrupts whoever runs when a message arrives',
  async () => {
    const scaled = [only('gateway'), only('connector')]
    const workers = await Promise.all(scaled.map(workersOf))
    const services = [...scaled, only('policy'), only('registry'), system.parts.nats.process]
    const pids = [...services.map(({ pid }) => pid), ...workers.flat()]
    expect(pids).toHaveLength(9)
    // As sched.h numbers SCHED_BATCH.
    expect(new Set(pids.map(pid => schedulingPolicy(pid as number)))).toEqual(new Set(['3']))
  },
)

describe('a gateway with two workers', () => {
  test('serves one session on one port over many connections, each worker its part', async () => {
    expect(system.gatewayUrls).toHaveLength(1)
    const replies = await send(40)
    expect(failures(replies)).toEqual([])
    expect(gatewaysOf(replies).size).toBe(2)
  })

  test('streams downloads and uploads through each of its workers and each of the connector’s', async () => {
    const bytes = 8 * 2 ** 20
    const expected = digestOfBody(bytes)
    const clients = await clientOfEachWorker(await signInTo(system, 'app'))
    answers.clear()
    const both = async (client: Client) => {
      const upload = await client.send('/echo', { body: bodyStream(bytes) })
      expect(upload.json()).toMatchObject(expected)
      expect(await client.digest(`/bytes/${bytes}?chunked`)).toEqual(expected)
    }
    // The bus chooses which of the connector's workers takes an exchange.
    const round = async () => {
      await Promise.all(clients.map(both))
      return answers.members.size === 2
    }
    await vi.waitUntil(round, { timeout: 20_000, interval: 1 })
    for (const client of clients) client[Symbol.dispose]()
  })

  test('counts what an address asks over all workers: one that has used it up gets no more from the other', async () => {
    const clients = await clientOfEachWorker(visitor)
    const ask = (client: Client | undefined) => client?.send('/.sallyport/session')
    for (let status = 200; status !== 429; ) status = (await ask(clients[0]))?.status ?? 0
    // The other worker has hardly been asked: by itself it would say no only after dozens.
    const status = async () => (await ask(clients[1]))?.status
    await expect.poll(status, { interval: 300, timeout: 3_000 }).toBe(429)
    for (const client of clients) client[Symbol.dispose]()
  })

  test('goes on when a worker is killed, and has two again soon', async () => {
    await using load = startDriving(session())
    await load.untilAnswered(200)
    const before = gatewaysOf(load.replies)
    await killOneWorker('gateway')
    await load.untilAnswered(200)
    const all = await load.stop()
    // What the lost one had in its hands may fail; there are sixteen at once.
    expect(failures(all).length).toBeLessThanOrEqual(16)
    const present = async () => [...gatewaysOf(await send(8))]
    await expect.poll(async () => (await present()).some(name => !before.has(name))).toBe(true)
    await expect.poll(async () => (await present()).length).toBe(2)
    expect(failures(await send(40))).toEqual([])
    expect(await workersOf(only('gateway'))).toHaveLength(2)
    expect(await system.logs()).toContain('a worker ended unexpectedly (SIGKILL)')
  })
})

interface ConnectorList {
  value: { id: string; status: string; load: { maxExchanges: number } }[]
}

const connectors = async () => {
  const path = '/onPremisesPublishingProfiles/applicationProxy/connectors'
  return ((await administer(system, 'GET', path)) as ConnectorList).value
}

describe('a connector with two workers', () => {
  test('is one connector to administrators and in audit, with the sum of what its workers take', async () => {
    answers.clear()
    expect(failures(await send(40))).toEqual([])
    expect([...answers.members].toSorted()).toEqual(['connector-1_1', 'connector-1_2'])
    const [connector, ...others] = await connectors()
    expect(others).toEqual([])
    expect(connector).toMatchObject({
      id: 'connector-1',
      status: 'active',
      load: { maxExchanges: 101 },
    })
    const events = async () => accessEvents(await readAudit(await system.connect('auditor')))
    await expect.poll(async () => (await events()).length).toBeGreaterThan(40)
    const named = (await events()).map(event => event.connector).filter(name => name !== null)
    expect(new Set(named)).toEqual(new Set(['connector-1']))
  })

  test('loses with a killed worker only what that one had, and has two again soon', async () => {
    const replies = send(24, '/held', 'POST')
    await expect.poll(() => counting.held).toBe(24)
    await killOneWorker('connector')
    const survivors = await heldBySurvivors(counting, 24)
    expect(survivors).toBeGreaterThan(0)
    await expect.poll(async () => failures(await send(1))).toEqual([])
    counting.release()
    const lost = (await replies).filter(({ status }) => status !== 200)
    expect(lost).toHaveLength(24 - survivors)
    for (const reply of lost) expect(reply).toMatchObject({ status: 502, code: 'connector_lost' })
    for (const { number } of await replies) expect(counting.timesSeen(number)).toBe(1)
    const both = async () => {
      answers.clear()
      await send(20)
      return [...answers.members].toSorted()
    }
    await expect.poll(both).toEqual([expect.stringMatching(/_[12]$/), 'connector-1_3'])
    expect(await connectors()).toMatchObject([{ id: 'connector-1', status: 'active' }])
  })

  test('repeats a GET that a killed worker had taken at another one', async () => {
    const replies = send(12, '/held')
    await expect.poll(() => counting.held).toBe(12)
    const arrived = counting.arrived
    await killOneWorker('connector')
    await expect.poll(() => counting.arrived).toBeGreaterThan(arrived)
    await expect.poll(() => counting.held).toBe(12)
    counting.release()
    expect(failures(await replies)).toEqual([])
    await expect.poll(() => workersOf(only('connector'))).toHaveLength(2)
  })
})

describe.each(['connector', 'gateway'] as const)('SIGTERM to a %s with two workers', role => {
  test('loses no request that is under way, ends all workers, and leaves with exit code 0', async () => {
    const leaving = only(role)
    const url = `${system.gatewayUrls[0]}`
    const workers = await workersOf(leaving)
    const waiting = send(24, '/held', 'POST')
    await expect.poll(() => counting.held).toBe(24)
    const more = role === 'connector' ? await system.add('connector') : undefined
    await using load = startDriving(session())
    await load.untilAnswered(100)
    if (!more) await load.stop()
    const stopped = system.stop(leaving)
    if (more) await load.untilAnswered(100)
    else await expect.poll(() => fetch(url).catch(() => 'refused')).toBe('refused')
    counting.release()
    await stopped
    expect(failures(await waiting)).toEqual([])
    expect(failures(await load.stop())).toEqual([])
    expect(leaving.exitCode).toBe(0)
    expect(await stillRunning(workers)).toEqual([])
  })
})

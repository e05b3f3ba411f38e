/** The times that an origin gets to begin its answer, waited for in full: 85 seconds, 180, and one that was set. */

import { setTimeout as pass } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { applicationServerTimeoutsMs } from '#infra/contracts/application.ts'
import { administer } from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: Origin
let system: TestSystem
let client: Client

/** Longer than what applications get that say nothing of it. */
const longPollMs = 100_000
const limitMs = 240_000

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('app', origin.url)] })
  client = new Client(system.gatewayUrls[0] as string, await signInTo(system, 'app'))
  await publish('long', { applicationServerTimeout: 'Long' })
  await publish('own', { firstByteTimeoutInSeconds: 110 })
  origin.at('/long-poll', async (_req, res) => {
    await pass(longPollMs)
    res.end('news')
  })
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

async function publish(id: string, settings: object): Promise<void> {
  await administer(system, 'POST', '/applications', {
    id,
    appRoleAssignmentRequired: false,
    onPremisesPublishing: {
      externalUrl: `http://app.sallyport.localhost:${system.port}/${id}/`,
      internalUrl: origin.url,
      ...settings,
    },
  })
  await expectServed(`/${id}/bytes/1`)
}

async function expectServed(path: string): Promise<void> {
  while ((await client.send(path)).status !== 200) await pass(20)
}

async function expectTimeout(path: string, method: string, afterMs: number): Promise<void> {
  const startedAt = performance.now()
  const answer = await client.send(path, { method, limitMs, agent: false })
  const ms = performance.now() - startedAt
  expect(answer).toMatchObject({ status: 504 })
  expect(answer.json()).toMatchObject({ code: 'origin_timeout' })
  expect(ms).toBeGreaterThan(afterMs - 2_000)
  expect(ms).toBeLessThan(afterMs + 10_000)
}

test.concurrent('an origin that hangs is a 504 origin_timeout after 85 s, and asked once', async () => {
  const { default: afterMs } = applicationServerTimeoutsMs
  await Promise.all(
    ['GET', 'POST'].map(method => expectTimeout('/ways/hangs?once', method, afterMs)),
  )
  const hung = origin.seen.filter(({ path }) => path === '/ways/hangs?once')
  expect(hung.map(({ end }) => end)).toEqual(['broken', 'broken'])
})

test.concurrent('that of an application with the time-out "Long" after 180 s', async () => {
  await expectTimeout('/long/ways/hangs', 'GET', applicationServerTimeoutsMs.long)
})

test.concurrent('that of an application with its own time to first byte after that', async () => {
  await expectTimeout('/own/ways/hangs', 'GET', 110_000)
})

test.concurrent('a long poll of 100 s is answered with "Long" and with an own time, and not without', async () => {
  const poll = (path: string) => client.send(path, { limitMs, agent: false })
  const answers = await Promise.all(['/long/long-poll', '/own/long-poll', '/long-poll'].map(poll))
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 504])
  expect(answers[0]?.text).toBe('news')
})

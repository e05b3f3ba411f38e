/** The time that an origin gets to begin its answer, waited for in full: 85 seconds. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { applicationServerTimeoutsMs } from '#infra/contracts/application.ts'
import { Client } from '../harness/client.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: Origin
let system: TestSystem
let client: Client

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('app', origin.url)] })
  client = new Client(system.gatewayUrls[0] as string, await signInTo(system, 'app'))
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

test('an origin that hangs is a 504 origin_timeout after the time it is given, and asked once', async () => {
  const startedAt = performance.now()
  const answers = await Promise.all(
    ['GET', 'POST'].map(method => client.send('/ways/hangs', { method, limitMs: 120_000 })),
  )
  const ms = performance.now() - startedAt
  for (const answer of answers) {
    expect(answer).toMatchObject({ status: 504 })
    expect(answer.json()).toMatchObject({ code: 'origin_timeout' })
  }
  expect(ms).toBeGreaterThan(applicationServerTimeoutsMs.default - 2_000)
  expect(ms).toBeLessThan(applicationServerTimeoutsMs.default + 10_000)
  const hung = origin.seen.filter(({ path }) => path === '/ways/hangs')
  expect(hung.map(({ end }) => end)).toEqual(['broken', 'broken'])
})

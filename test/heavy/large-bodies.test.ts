/** Bodies larger than any memory, both ways: every byte arrives, and neither gateway nor connector grows. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { bodyStream, digestOfBody } from '../harness/bodies.ts'
import { Client } from '../harness/client.ts'
import { mib, watchMemory } from '../harness/memory.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

const size = 10 * 1024 * mib
const limitMs = 1_100_000
const allowedMib = 64
const whole = digestOfBody(size)

let origin: Origin
let system: TestSystem
let client: Client

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('app', origin.url)] })
  client = new Client(system.gatewayUrls[0] as string, await signInTo(system, 'app'))
  // Both ways once, so that what follows measures growth and not the first use of the code.
  await client.digest(`/bytes/${100 * mib}`)
  await client.send('/echo', { body: bodyStream(100 * mib) })
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

function expectBounded(growth: Record<string, number>): void {
  for (const [name, grown] of Object.entries(growth)) {
    expect(grown, `${name} has grown by ${grown} MiB`).toBeLessThan(allowedMib)
  }
}

test.each(['', '?chunked'])('10 GiB go down as they are %s', async how => {
  using memory = await watchMemory(system)
  expect(await client.digest(`/bytes/${size}${how}`, { limitMs })).toEqual(whole)
  expectBounded(memory.growthMib())
})

test.each([{ bytes: size }, {}])('10 GiB go up as they are, %o', async known => {
  using memory = await watchMemory(system)
  const answer = await client.send('/echo', { body: bodyStream(size), limitMs, ...known })
  expect(answer.json()).toMatchObject(whole)
  expectBounded(memory.growthMib())
})

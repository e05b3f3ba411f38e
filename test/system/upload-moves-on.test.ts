/**
 * Uploads that stream, in a group of which one connector cannot reach the origin: the body is asked for only when an
 * origin takes it, so it moves on to the other connector whole.
 */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { bodyStream, digestOfBody } from '../harness/bodies.ts'
import { Client } from '../harness/client.ts'
import { resolving } from '../harness/name-resolution.ts'
import { type Echo, type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: Origin
let system: TestSystem
let client: Client

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({
    connectors: 0,
    publish: [signedInApplication('wiki', `http://wiki.internal:${origin.port}/`)],
  })
  for (const address of ['127.0.0.1', '127.0.0.9', '127.0.0.9']) {
    await system.add('connector', resolving({ 'wiki.internal': address }))
  }
  client = new Client(
    system.gatewayUrls[0] as string,
    await signInTo(system, 'wiki', 'bob@sallyport.example'),
  )
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

test('every byte of it arrives, in order and once', async () => {
  // At once, before the blind ones know that they are blind.
  const uploads = Array.from({ length: 24 }, () =>
    client.send('/echo', { body: bodyStream(1_000_000) }),
  )
  const expected = digestOfBody(1_000_000)
  for (const answer of await Promise.all(uploads)) {
    expect(answer.json<Echo>()).toMatchObject(expected)
  }
  expect(origin.seen.filter(({ path }) => path === '/echo')).toHaveLength(24)
})

/** One client or user can ask only so much of a gateway, and is told when to come again; others notice nothing. */

import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { drive, type Reply } from '../harness/load.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: CountingOrigin
let system: TestSystem
let [alice, bob]: Visitor[] = []

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({
    environment: {
      SALLYPORT_GATEWAY_RATE_PER_USER: '2/30',
      SALLYPORT_GATEWAY_RATE_OF_SIGN_IN: '1/60',
      SALLYPORT_GATEWAY_CONNECTIONS_PER_ADDRESS: '40',
    },
    publish: [signedInApplication('wiki', origin.url)],
  })
  alice = await signInTo(system, 'wiki')
  bob = await signInTo(system, 'wiki', 'bob@sallyport.example')
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const send = (visitor: Visitor | undefined, count: number, path = '/'): Promise<Reply[]> =>
  drive({
    gateways: () => system.gatewayUrls,
    headers: visitor?.headers ?? {},
    count,
    concurrency: 8,
    request: () => ({ method: 'GET', path }),
  })

test('a user beyond the rate gets 429 with Retry-After, and the origin hears nothing of it', async () => {
  const before = origin.arrived
  const replies = await send(alice, 60)
  const passed = replies.filter(({ status }) => status === 200)
  const refused = replies.filter(({ status }) => status === 429)
  expect(passed.length + refused.length).toBe(60)
  expect(passed.length).toBeGreaterThanOrEqual(25)
  expect(refused.length).toBeGreaterThanOrEqual(20)
  for (const reply of refused) {
    expect(reply.code).toBe('too_many_requests')
    expect(Number(reply.retryAfter)).toBeGreaterThanOrEqual(1)
  }
  expect(origin.arrived - before).toBe(passed.length)
})

test('another user of the same address goes on', async () => {
  const replies = await send(bob, 5)
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
})

test('signing in has a stricter limit of its own', async () => {
  const replies = await send(alice, 80, '/.sallyport/session')
  expect(replies.some(({ status }) => status === 429)).toBe(true)
})

test('connections beyond the limit of an address are closed at once', async () => {
  const sockets = Array.from({ length: 60 }, () => connect(system.port, '127.0.0.1'))
  const ended = sockets.map(socket => new Promise(resolve => socket.once('close', resolve)))
  for (const socket of sockets) socket.on('error', () => undefined)
  await Promise.all(ended.slice(40))
  expect(sockets.filter(socket => !socket.closed).length).toBeLessThanOrEqual(40)
  for (const socket of sockets) socket.destroy()
})

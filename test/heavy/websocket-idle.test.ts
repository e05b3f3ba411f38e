/**
 * Connections on which nobody says anything, for a real hour: users of other proxies see theirs cut after one or two
 * minutes. `SALLYPORT_TEST_IDLE_SECONDS` shortens it.
 */

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as pass } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { Client } from '../harness/client.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

const idleSeconds = Number(process.env.SALLYPORT_TEST_IDLE_SECONDS ?? 3_600)
const timeout = (idleSeconds + 60) * 1_000

let origin: Origin
let system: TestSystem
let visitor: Visitor
let client: Client

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('app', origin.url)] })
  visitor = await signInTo(system, 'app')
  client = new Client(system.gatewayUrls[0] as string, visitor)
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

test(`ten WebSockets and an event stream, idle for ${idleSeconds} seconds, are all there and carry both ways`, {
  timeout,
}, async () => {
  const sockets = await Promise.all(Array.from({ length: 10 }, openSocket))
  const { promise: source, resolve } = Promise.withResolvers<ServerResponse>()
  origin.at('/events', (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    resolve(res)
  })
  const { stream } = await client.open('/events', { agent: false, limitMs: timeout })
  const events = await source
  await pass(idleSeconds * 1_000)
  for (const ws of sockets) {
    ws.send('still here')
    expect(String((await once(ws, 'message'))[0])).toBe('still here')
    ws.close()
  }
  events.write('data: 1\n\n')
  expect(String(await once(stream, 'data'))).toBe('data: 1\n\n')
  stream.destroy()
})

async function openSocket(): Promise<WebSocket> {
  const url = `${client.gateway.href.replace('http', 'ws')}ws`
  const ws = new WebSocket(url, { headers: visitor.headers }).on('error', () => undefined)
  await once(ws, 'open')
  return ws
}

/** Which bodies leave the bus for a connection of their own: the gateway's offers are seen on the bus. */

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { decodeDown } from '#infra/frames.ts'
import { Client } from '../harness/client.ts'
import { mib } from '../harness/memory.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

const bytes = 2 * mib

let origin: Server
let system: TestSystem
let wiki: Client
const offers: string[] = []

beforeAll(async () => {
  // Of unknown length, and open until the client leaves.
  origin = createServer((req, res) => {
    if (req.url === '/') return res.end('small')
    res.writeHead(200, { 'Content-Type': req.url?.slice(1).replace('+', '/') })
    return res.write(Buffer.alloc(bytes))
  })
  await once(origin.listen(0, '127.0.0.1'), 'listening')
  const { port } = origin.address() as AddressInfo
  system = await startSystem({
    publish: [signedInApplication('wiki', `http://127.0.0.1:${port}/`)],
  })
  const bus = await system.connect('registry')
  bus.subscribe('sallyport.down.>', {
    callback: ({ data }) => {
      if (decodeDown(data).type === 'bulk') offers.push('offered')
    },
  })
  await bus.connection.flush()
  wiki = new Client(system.gatewayUrls[0] ?? '', await signInTo(system, 'wiki'))
})
afterAll(async () => {
  wiki?.[Symbol.dispose]()
  await system?.[Symbol.asyncDispose]()
  origin?.closeAllConnections()
  origin?.close()
})

test.each([
  ['an event stream', 'text+event-stream', []],
  ['gRPC', 'application+grpc', []],
  ['a download', 'application+octet-stream', ['offered']],
])('of %s that has said much at once', async (_, type, expected) => {
  offers.length = 0
  const { stream, request } = await wiki.open(`/${type}`)
  let received = 0
  for await (const chunk of stream) {
    received += chunk.length
    if (received === bytes) break
  }
  request.destroy()
  // An offer would have gone before the answer to this.
  expect((await wiki.send('/')).status).toBe(200)
  await expect.poll(() => offers).toEqual(expected)
})

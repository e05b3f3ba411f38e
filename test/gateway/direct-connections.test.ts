/** The door through which connections past the bus come: a key opens one, once, and a connector dials nothing else. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import pino from 'pino'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { BulkConnection } from '#infra/bulk.ts'
import { asSallyportError } from '#infra/errors.ts'
import { DirectDialer } from '../../connector/direct-dialer.ts'
import { DirectOffers, type DirectTaker } from '../../gateway/direct-offers.ts'
import { createFront, type Front } from '../../gateway/front/front.ts'
import { IncomingReader } from '../../gateway/incoming.ts'
import { startConnectProxy } from '../harness/connect-proxy.ts'

/** Gateways behind one address, which gives each connection to the next one. */
const gateways = [new DirectOffers(), new DirectOffers(), new DirectOffers()]
const [first, , third] = gateways as [DirectOffers, DirectOffers, DirectOffers]
const reader = new IncomingReader('g', () => false)
let turn = 0
let asked: string[] = []
let front: Front
let url: string

beforeAll(async () => {
  front = createFront({
    listener(req, res, { upgrade }) {
      const incoming = reader.read(req)
      if ('fault' in incoming) throw new Error('unread')
      asked.push(`${incoming.method} ${incoming.path}`)
      try {
        gateways[turn++ % gateways.length]?.accept({ req, res, incoming, upgrade })
      } catch (error) {
        const { status, title } = asSallyportError(error).fault
        res.sendWhole(status, title, [], Buffer.alloc(0))
      }
    },
  })
  url = `http://127.0.0.1:${await front.listen('127.0.0.1', 0)}/`
})
afterAll(() => front.destroy())
beforeEach(() => {
  turn = 0
  asked = []
})

const lines: string[] = []
const log = pino({ level: 'warn' }, { write: line => lines.push(line) })
/** Is told when the connector is there. */
const taker = (take: (bulk: BulkConnection) => void): DirectTaker => ({
  coming: () => undefined,
  take: (socket, first) => take(new BulkConnection(socket, first)),
  failed: () => undefined,
})

const dialer = (gatewayUrl = url) => new DirectDialer({ gatewayUrl, proxy: {}, log })

/** What both sides get. */
function meet(offers: DirectOffers, { by = dialer(), isWanted = () => true } = {}) {
  const taken = Promise.withResolvers<BulkConnection>()
  const ready = Promise.withResolvers<BulkConnection>()
  const key = offers.offer(taker(taken.resolve))
  const connected = (socket: Duplex, first: Buffer) =>
    ready.resolve(new BulkConnection(socket, first))
  by.dial(key, { isWanted, ready: connected })
  return { key, ends: Promise.all([taken.promise, ready.promise]) }
}

/** The status of an answer to whoever comes with this key. */
async function come(key: string, upgrade = 'Upgrade: sallyport-direct\r\nConnection: Upgrade\r\n') {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write(`GET /x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer ${key}\r\n${upgrade}\r\n`)
  const [answer] = await once(socket, 'data')
  return { status: String(answer).slice(9, 12), socket }
}

test('carries bytes both ways, after what each side begins with', async () => {
  const [gateway, connector] = await meet(first).ends
  expect(asked).toEqual(['GET /.sallyport/connectors/direct'])
  const heard = (bulk: BulkConnection) => {
    const { promise, resolve } = Promise.withResolvers<[number, string]>()
    let busBytes = 0
    bulk.listen({
      begins(bytes) {
        busBytes = bytes
        bulk.resume()
      },
      data: chunk => resolve([busBytes, String(chunk)]),
    })
    return promise
  }
  const both = Promise.all([heard(gateway), heard(connector)])
  connector.begin(7)
  connector.write(Buffer.from('up'))
  gateway.begin(2 ** 40)
  gateway.write(Buffer.from('down'))
  expect(await both).toEqual([
    [7, 'up'],
    [2 ** 40, 'down'],
  ])
  const closed = Promise.withResolvers<void>()
  connector.onClosed(closed.resolve)
  gateway.destroy()
  connector.finish()
  await closed.promise
})

test.each(['gateway', 'connector'] as const)(
  'the %s is told when the other side ends it',
  async side => {
    const [gateway, connector] = await meet(first).ends
    const bulk = side === 'gateway' ? gateway : connector
    const other = side === 'gateway' ? connector : gateway
    const closed = Promise.withResolvers<void>()
    bulk.onClosed(closed.resolve)
    bulk.listen({ begins: () => undefined, data: () => undefined })
    // Only its own direction: nothing is reset.
    other.finish()
    await closed.promise
  },
)

test('the gateway that has made the offer is found behind an address of several', async () => {
  await meet(third).ends
  expect(asked).toHaveLength(3)
})

test('a key opens one connection, and none when it was withdrawn', async () => {
  const { key, ends } = meet(first)
  await ends
  turn = 0
  expect((await come(key)).status).toBe('421')
  const other = first.offer(taker(() => undefined))
  first.withdraw(other)
  turn = 0
  expect((await come(other)).status).toBe('421')
  turn = 0
  expect((await come('')).status).toBe('421')
})

test('a request that is no upgrade takes nothing, and the key stays good', async () => {
  const { promise, resolve } = Promise.withResolvers<BulkConnection>()
  const key = first.offer(taker(resolve))
  expect((await come(key, '')).status).toBe('400')
  turn = 0
  const { status, socket } = await come(key)
  expect(status).toBe('101')
  socket.write(Buffer.of(1))
  await promise
})

test('a connector that does not say that it is there gets nothing', async () => {
  const heard: string[] = []
  const key = first.offer({
    coming: () => heard.push('coming'),
    take: () => heard.push('taken'),
    failed: () => heard.push('failed'),
  })
  const { socket } = await come(key)
  expect(heard).toEqual(['coming'])
  socket.write('x')
  await once(socket, 'close')
  await expect.poll(() => heard).toEqual(['coming', 'failed'])
})

test('an exchange that has ended meanwhile leaves nothing open', async () => {
  const key = first.offer(taker(() => undefined))
  let wasAsked = false
  dialer().dial(key, {
    isWanted: () => {
      wasAsked = true
      return false
    },
    ready: () => expect.unreachable(),
  })
  await expect.poll(() => wasAsked).toBe(true)
})

test('after a failure nothing is dialled for a while, and the log says why everything goes over the bus', async () => {
  let connections = 0
  const broken = createServer((socket: Socket) => {
    connections++
    socket.destroy()
  }).listen(0, '127.0.0.1')
  await once(broken, 'listening')
  const gatewayUrl = `http://127.0.0.1:${(broken.address() as AddressInfo).port}/`
  const by = dialer(gatewayUrl)
  lines.length = 0
  const wish = { isWanted: () => true, ready: () => expect.unreachable() }
  by.dial('key', wish)
  await expect.poll(() => lines.length).toBe(1)
  expect(lines[0]).toContain(
    `answers and large bodies go over the bus, since ${gatewayUrl.slice(0, -1)}`,
  )
  by.dial('key', wish)
  await meet(first).ends
  expect(connections).toBe(1)
  broken.close()
})

test('goes through the proxy that leads to the gateway', async () => {
  await using proxy = await startConnectProxy()
  const gatewayUrl = 'https://gateway.test/'
  const by = new DirectDialer({ gatewayUrl, proxy: { HTTPS_PROXY: proxy.url }, log })
  by.dial('key', { isWanted: () => true, ready: () => expect.unreachable() })
  await expect.poll(() => proxy.asked).toEqual(['gateway.test:443'])
})

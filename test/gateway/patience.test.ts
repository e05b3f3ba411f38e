/** Clients that are slow with a head, idle between requests, or do not read: over either HTTP version. */

import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLogger } from '#infra/log.ts'
import { readCertificate } from '../../gateway/front/certificate.ts'
import type { ClientResponse, RequestListener } from '../../gateway/front/client.ts'
import { createFront, type Front } from '../../gateway/front/front.ts'
import { spare } from '../../gateway/front/patience.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { connectRaw } from '../harness/client.ts'
import { Http2Client, headOf } from '../harness/http2-client.ts'
import * as frames from '../harness/http2-frames.ts'

const patience = { head: 1, keepAlive: 1, download: 2 }

/** Answers of /endless so far. */
const endless: ClientResponse[] = []

/** SETTINGS_INITIAL_WINDOW_SIZE. */
const initialWindow = 4

/** Answers, at /endless with more than any client reads, to an upgrade at /connector too. */
const listener: RequestListener = (req, res, { upgrade }) => {
  if (upgrade && req.url === '/connector') {
    spare(upgrade.socket)
    return void upgrade.socket.write(Buffer.alloc(64 * 2 ** 20))
  }
  if (!req.url?.startsWith('/endless')) return res.sendWhole(200, 'OK', [], Buffer.from('hello'))
  endless.push(res)
  res.sendHead(200, 'OK', [])
  const more = () => {
    while (!res.isGone && res.write(Buffer.alloc(64 * 1024)));
  }
  res.on('drain', more)
  more()
}

let certificate: TestCertificate
let plain: Front
let secure: Front
let url: string
let secureUrl: string
beforeAll(async () => {
  certificate = await createCertificate()
  const read = readCertificate(certificate, createLogger('gateway', 'silent'))
  plain = createFront({ listener, patience })
  secure = createFront({ listener, patience, certificate: read })
  url = `http://127.0.0.1:${await plain.listen('127.0.0.1', 0)}`
  secureUrl = `https://127.0.0.1:${await secure.listen('127.0.0.1', 0)}`
  read[Symbol.dispose]()
})
afterAll(async () => {
  for (const front of [plain, secure]) {
    const closed = front.close()
    front.destroy()
    await closed
  }
  await certificate[Symbol.asyncDispose]()
})

async function secondsUntil(event: Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await event
  return (performance.now() - startedAt) / 1_000
}

describe.concurrent('over HTTP/1.1', () => {
  test('a head that does not come to its end is answered 408, however many octets it gets in between', async () => {
    using connection = await connectRaw(url)
    connection.write('GET / HTTP/1.1\r\nHost: x\r\n')
    const dripping = setInterval(() => connection.write('X'), 300)
    // Node looks for them every five seconds.
    const seconds = await secondsUntil(connection.closed)
    clearInterval(dripping)
    expect(seconds).toBeLessThan(8)
    expect(await connection.closed).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('a connection that says nothing is closed', async () => {
    using connection = await connectRaw(url)
    expect(await secondsUntil(connection.closed)).toBeLessThan(8)
  })

  test('a connection between two requests is closed when the time is over, not before', async () => {
    using connection = await connectRaw(url)
    for (let i = 0; i < 3; i++) {
      connection.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      await once(connection.socket, 'data')
    }
    const seconds = await secondsUntil(connection.closed)
    expect(seconds).toBeGreaterThan(0.9)
    // Node adds a second, so that no request crosses the end.
    expect(seconds).toBeLessThan(4)
  })

  test('a client that reads nothing is cut off, one that reads slowly is not', async () => {
    using stalled = await connectRaw(url)
    using slow = await connectRaw(url)
    for (const { socket } of [stalled, slow]) {
      socket.write('GET /endless HTTP/1.1\r\nHost: x\r\n\r\n')
      await once(socket, 'data')
      socket.pause()
    }
    const reading = setInterval(() => {
      slow.socket.resume()
      setImmediate(() => slow.socket.pause())
    }, 200)
    // Its own writing finds out: a paused reader is told of nothing.
    const writing = setInterval(() => stalled.socket.write('\r\n'), 100)
    const seconds = await secondsUntil(stalled.closed)
    clearInterval(writing)
    expect(seconds).toBeGreaterThan(1.5)
    expect(seconds).toBeLessThan(8)
    expect(slow.socket.destroyed).toBe(false)
    clearInterval(reading)
  })
})

test('a connector whose origin reads nothing is not cut off: that is for others to judge', async () => {
  using connector = await connectRaw(url)
  using client = await connectRaw(url)
  connector.write('GET /connector HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n')
  client.write('GET /endless HTTP/1.1\r\nHost: x\r\n\r\n')
  for (const { socket } of [connector, client]) {
    await once(socket, 'data')
    socket.pause()
  }
  const writing = setInterval(() => client.socket.write('\r\n'), 100)
  await client.closed
  clearInterval(writing)
  connector.socket.resume()
  let bytes = 0
  for (; bytes < 60 * 2 ** 20; ) bytes += (await once(connector.socket, 'data'))[0].length
})

describe.concurrent('over HTTP/2', () => {
  const connect = () => new Http2Client({ gateway: secureUrl, ca: certificate.cert, host: 'app' })

  test('a connection without a stream is closed when the time is over', async () => {
    using client = connect()
    expect((await client.send('/')).status).toBe(200)
    const seconds = await secondsUntil(once(client.session, 'close'))
    expect(seconds).toBeGreaterThan(0.9)
    expect(seconds).toBeLessThan(4)
  })

  test('a stream of which nothing is read is reset; others of its connection go on', async () => {
    using client = connect()
    const stalled = client.start('/endless')
    await headOf(stalled)
    stalled.pause()
    const reset = new Promise(resolve => stalled.once('aborted', resolve).once('close', resolve))
    const seconds = await secondsUntil(reset)
    expect(seconds).toBeGreaterThan(1.5)
    expect(seconds).toBeLessThan(8)
    expect((await client.send('/')).status).toBe(200)
  })

  test.each(['stays', 'vanishes'])(
    'a connection of which nothing is read is cut off when its client %s, with all of its streams',
    async what => {
      const path = `/endless?${what}`
      const request = [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', path],
        [':authority', 'app.sallyport.localhost'],
      ] as const
      const answers = () => endless.filter(({ req }) => req.url === path)
      const socket = connectTls({
        port: Number(new URL(secureUrl).port),
        host: '127.0.0.1',
        ca: certificate.cert,
        servername: 'app.sallyport.localhost',
        ALPNProtocols: ['h2'],
      })
      socket.on('error', () => undefined)
      await once(socket, 'secureConnect')
      socket.pause()
      socket.write(
        Buffer.concat([Buffer.from(frames.preface), frames.settings({ [initialWindow]: 2 ** 30 })]),
      )
      socket.write(frames.windowUpdate(0, 2 ** 30))
      for (const stream of [1, 3, 5, 7]) socket.write(frames.headers(stream, request))
      // Until the connection is full.
      const isFull = ({ req }: ClientResponse) => (req.stream?.writableLength ?? 0) > 0
      const waiting = () => answers().filter(isFull).length
      await expect.poll(waiting).toBe(4)
      const closed = Promise.all(answers().map(answer => once(answer, 'close')))
      if (what === 'vanishes') socket.destroy()
      expect(await secondsUntil(closed)).toBeLessThan(8)
      if (socket.destroyed) return
      const writing = setInterval(() => socket.write(frames.ping()), 100)
      await new Promise(resolve => socket.once('close', resolve))
      clearInterval(writing)
    },
  )
})

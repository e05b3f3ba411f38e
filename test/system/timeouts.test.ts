/**
 * Time-outs: of an origin that is silent, of a client that does nothing. Every limit here is a second or a few; what
 * has to outlive them really lets that time go by.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import { setTimeout as pass } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import type { Bus } from '#infra/bus.ts'
import type { AccessEvent } from '#infra/contracts/audit.ts'
import { administer } from '../harness/admin.ts'
import { accessEvents, readAudit } from '../harness/audit-trail.ts'
import { bodyStream, digestOfBody, digestOfStream } from '../harness/bodies.ts'
import { Client, connectRaw, type Whole } from '../harness/client.ts'
import { type Http2Origin, startHttp2Origin } from '../harness/http2-origin.ts'
import { mib } from '../harness/memory.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let http1: Origin
let http2: Http2Origin
let system: TestSystem
let visitor: Visitor
let client: Client
let auditor: Bus

/** Of clients, in seconds; longer than what origins get, so that one is not taken for the other. */
const clientPatience = 4
/** Longer than any limit of an origin. */
const aWhileMs = 2_500

const short = {
  connectTimeoutInSeconds: 1,
  firstByteTimeoutInSeconds: 2,
  idleTimeoutInSeconds: 1,
}

beforeAll(async () => {
  http1 = await startOrigin()
  http2 = await startHttp2Origin()
  system = await startSystem({
    connectors: 2,
    publish: [signedInApplication('app', http1.url)],
    environment: {
      SALLYPORT_POLICY_LEASE_SECONDS: '3',
      SALLYPORT_GATEWAY_KEEP_ALIVE_SECONDS: '1',
      SALLYPORT_GATEWAY_UPLOAD_IDLE_SECONDS: `${clientPatience}`,
      SALLYPORT_GATEWAY_DOWNLOAD_IDLE_SECONDS: `${clientPatience}`,
    },
  })
  visitor = await signInTo(system, 'app')
  client = new Client(system.gatewayUrls[0] as string, visitor)
  auditor = await system.connect('auditor')
  await publish('http1', http1.url, short)
  await publish('http2', http2.url, { ...short, originHttpVersion: 'http2' })
  await publish('strict', http1.url, { ...short, streamIdleTimeoutInSeconds: 1 })
  for (const kind of kinds)
    while (!(await isOf(kind, await client.send(`/${kind}/none`)))) await pass(20)
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await http1[Symbol.asyncDispose]()
  await http2[Symbol.asyncDispose]()
})

const kinds = ['http1', 'http2', 'strict'] as const
type Kind = (typeof kinds)[number]

async function publish(id: string, internalUrl: string, settings: object) {
  await administer(system, 'POST', '/applications', {
    id,
    appRoleAssignmentRequired: false,
    onPremisesPublishing: {
      externalUrl: `http://app.sallyport.localhost:${system.port}/${id}/`,
      internalUrl,
      ...settings,
    },
  })
}

/** A request at the origin, whichever version it came in. */
interface Call {
  readonly body: Readable
  /** Sends the head; what is written to the result is the body. */
  answer(contentType?: string): Writable
}

/** Says what an origin does at a path; resolves with the first call. */
function at(kind: Kind, path: string, handler: (call: Call) => unknown = () => undefined) {
  const { promise, resolve } = Promise.withResolvers<Call>()
  const take = (call: Call) => {
    resolve(call)
    // What breaks off here, the test sees at the other end.
    Promise.resolve(handler(call)).catch(() => undefined)
  }
  const plain = 'application/octet-stream'
  if (kind === 'http2') {
    http2.at(path, stream => {
      const answer = (type = plain) => {
        stream.respond({ ':status': 200, 'content-type': type })
        return stream
      }
      take({ body: stream, answer })
    })
  } else {
    http1.at(path, (req, res) => {
      const answer = (type = plain) => {
        res.writeHead(200, { 'content-type': type }).flushHeaders()
        return res
      }
      take({ body: req, answer })
    })
  }
  return promise
}

/** Tests run side by side here, for which `expect.poll` is not made. */
async function until<T>(look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const endsAt = performance.now() + 20_000
  for (; performance.now() < endsAt; await pass(50)) {
    const found = await look()
    if (found) return found
  }
  throw new Error(`never: ${look}`)
}

const eventOf = (requestId: string | undefined): Promise<AccessEvent> =>
  until(async () =>
    accessEvents(await readAudit(auditor)).find(event => event.requestId === requestId),
  )

/** What a gateway has not heard of yet below `/`, the application there answers. */
const isOf = async (application: string, answer: Whole) =>
  (await eventOf(answer.header('sallyport-request-id'))).application === application

async function took<T>(work: Promise<T>) {
  const startedAt = performance.now()
  const result = await work
  return { result, ms: performance.now() - startedAt }
}

describe.concurrent.each(['http1', 'http2'] as const)('an origin of %s', kind => {
  test('that does not begin its answer is a 504, and the event says: first byte', async () => {
    at(kind, '/hangs')
    const { result, ms } = await took(client.send(`/${kind}/hangs`, { method: 'POST' }))
    expect(result.status).toBe(504)
    expect(result.json()).toMatchObject({ code: 'origin_timeout' })
    expect(ms).toBeGreaterThan(1_900)
    expect(ms).toBeLessThan(4_000)
    expect(await eventOf(result.header('sallyport-request-id'))).toMatchObject({
      outcome: 'failed',
      status: 504,
      fault: 'origin_timeout',
      faultDetail: 'first byte time-out: nothing for 2 s',
      attempts: 1,
    })
  })

  test('that stops within its answer is broken off there too, and the event says: idle', async () => {
    const arrived = at(kind, '/stops', ({ answer }) => answer().write('half'))
    const { stream, status, header } = await client.open(`/${kind}/stops`)
    const { ms } = await took(expect(stream.toArray()).rejects.toThrow('aborted'))
    expect(status).toBe(200)
    expect(ms).toBeLessThan(3_000)
    expect(await eventOf(header('sallyport-request-id'))).toMatchObject({
      outcome: 'failed',
      fault: 'origin_timeout',
      faultDetail: 'idle time-out: nothing for 1 s',
    })
    await until(async () => (await arrived).body.destroyed)
  })

  test('that takes its time, but says something now and then, is left alone', async () => {
    at(kind, '/trickles', async ({ answer }) => {
      await pass(600)
      const body = answer()
      for (let i = 0; i < 5; i++) {
        body.write('x')
        await pass(600)
      }
      body.end()
    })
    const { result, ms } = await took(client.send(`/${kind}/trickles`))
    expect(result.text).toBe('xxxxx')
    expect(ms).toBeGreaterThan(3_000)
  })

  test('that reads nothing of an upload is a 504, and the event says: idle', async () => {
    at(kind, '/deaf')
    const { result, ms } = await took(
      client.send(`/${kind}/deaf`, { body: bodyStream(20 * mib), agent: false }),
    )
    expect(result.status).toBe(504)
    expect(ms).toBeLessThan(5_000)
    expect(await eventOf(result.header('sallyport-request-id'))).toMatchObject({
      fault: 'origin_timeout',
      faultDetail: 'idle time-out: nothing for 1 s',
    })
  })

  test('that reads an upload slowly is left alone', async () => {
    at(kind, '/slow-reader', async ({ body, answer }) => {
      let bytes = 0
      for await (const chunk of body) {
        bytes += chunk.length
        // No second without any. What is in the kernel's buffers at the end counts as read: several MiB.
        if (bytes % (3 * mib) < chunk.length) await pass(300)
      }
      answer().end(`${bytes}`)
    })
    const sent = took(client.send(`/${kind}/slow-reader`, { body: bodyStream(24 * mib) }))
    const { result, ms } = await sent
    expect(result.text).toBe(`${24 * mib}`)
    expect(ms).toBeGreaterThan(2_000)
  })

  test('does not answer for a client that uploads slowly', async () => {
    at(kind, '/upload', async ({ body, answer }) => {
      const { bytes } = await digestOfStream(body)
      answer().end(`${bytes}`)
    })
    const body = new PassThrough()
    const sent = client.send(`/${kind}/upload`, { body })
    body.write('a'.repeat(100_000))
    await pass(aWhileMs)
    body.end('b')
    expect(await sent).toMatchObject({ status: 200, text: '100001' })
  })

  test('does not answer for a client that reads slowly', async () => {
    at(kind, '/flood', ({ answer }) => bodyStream(20 * mib).pipe(answer()))
    const { stream } = await client.open(`/${kind}/flood`, { agent: false })
    stream.pause()
    await pass(aWhileMs)
    expect(await digestOfStream(stream)).toEqual(digestOfBody(20 * mib))
  })

  test('may leave server-sent events quiet', async () => {
    const arrived = at(kind, '/events')
    const opened = client.open(`/${kind}/events`)
    const source = (await arrived).answer('text/event-stream; charset=utf-8')
    const { stream } = await opened
    await pass(aWhileMs)
    source.write('data: 1\n\n')
    expect(String(await once(stream, 'data'))).toBe('data: 1\n\n')
    stream.destroy()
  })
})

test.concurrent('a limit for quiet streams can be set: an event stream then ends, and the event says so', async () => {
  at('strict', '/quiet', ({ answer }) => answer('text/event-stream').write('data: 1\n\n'))
  const { stream, header } = await client.open('/strict/quiet')
  await expect(stream.toArray()).rejects.toThrow('aborted')
  expect(await eventOf(header('sallyport-request-id'))).toMatchObject({
    fault: 'origin_timeout',
    faultDetail: 'stream idle time-out: nothing for 1 s',
  })
})

describe.concurrent('a WebSocket', () => {
  async function openSocket(path: string, options: ClientOptions = {}): Promise<WebSocket> {
    const url = `${client.gateway.href.replace('http', 'ws')}${path.slice(1)}`
    const ws = new WebSocket(url, { headers: visitor.headers, ...options })
    ws.on('error', () => undefined)
    await once(ws, 'open')
    return ws
  }

  test('that nobody says anything on outlives every limit and lease, then carries both ways', async () => {
    const ws = await openSocket('/http1/ws')
    // Leases of three seconds, connections kept for one, clients cut after four.
    await pass(7_000)
    expect(ws.readyState).toBe(WebSocket.OPEN)
    ws.send('still here')
    expect(String((await once(ws, 'message'))[0])).toBe('still here')
    ws.close()
  })

  test('ends by a limit for quiet streams, which pings put off', async () => {
    const quiet = await openSocket('/strict/ws')
    const pinging = await openSocket('/strict/ws')
    const pings = setInterval(() => pinging.ping(), 300)
    const { ms } = await took(once(quiet, 'close'))
    expect(ms).toBeGreaterThan(900)
    expect(ms).toBeLessThan(3_000)
    await pass(1_500)
    expect(pinging.readyState).toBe(WebSocket.OPEN)
    clearInterval(pings)
    await once(pinging, 'close')
  })

  test('whose origin does not answer the upgrade is refused with 504', async () => {
    const ws = new WebSocket(`${client.gateway.href.replace('http', 'ws')}http1/ws/hangs`, {
      headers: visitor.headers,
    })
    const [, response] = await once(ws, 'unexpected-response')
    expect(response.statusCode).toBe(504)
  })
})

describe.concurrent('an origin that takes connections and never says a word of TLS', () => {
  test.each([
    ['of HTTP/1.1', {}, {}],
    ['of HTTP/2', { originHttpVersion: 'http2' }, {}],
    ['asked to switch protocols', {}, { Connection: 'Upgrade', Upgrade: 'other' }],
  ])(
    '%s: both connectors try, then it is a 502, and the event says: connect',
    async (name, more, upgrade) => {
      const id = name.replace(/\W+/g, '-').toLowerCase()
      await using silent = await startSilentServer()
      await publish(id, `https://127.0.0.1:${silent.port}`, { ...short, ...more })
      const ask = () => client.send(`/${id}/`, { headers: Object.entries(upgrade) })
      let { result, ms } = await took(ask())
      for (; !(await isOf(id, result)); { result, ms } = await took(ask())) await pass(20)
      expect(result).toMatchObject({ status: 502 })
      expect(result.json()).toMatchObject({ code: 'origin_unreachable' })
      expect(ms).toBeGreaterThan(1_800)
      expect(ms).toBeLessThan(6_000)
      expect(silent.connections).toBeGreaterThanOrEqual(2)
      const event = await eventOf(result.header('sallyport-request-id'))
      expect(event).toMatchObject({ fault: 'origin_unreachable' })
      expect(event.attempts).toBeGreaterThanOrEqual(2)
      expect(event.faultDetail).toContain('connect time-out')
    },
  )
})

describe.concurrent('a client', () => {
  const head = (path: string, ...fields: string[]) =>
    [
      `POST ${path} HTTP/1.1`,
      ...Object.entries(visitor.headers).map(([name, value]) => `${name}: ${value}`),
      ...fields,
      '',
      '',
    ].join('\r\n')

  test.each([
    ['that streams', 'Transfer-Encoding: chunked', '5\r\nhello\r\n'],
    ['of known, small length', 'Content-Length: 10', 'hello'],
  ])(
    'that stops within an upload %s gets 408, and the connection ends',
    async (_name, framing, begun) => {
      using connection = await connectRaw(client.gateway.href)
      connection.write(`${head('/echo', framing)}${begun}`)
      const { result, ms } = await took(connection.closed)
      expect(result).toMatch(/^HTTP\/1\.1 408 /)
      expect(result).toContain('"request_timeout"')
      expect(ms).toBeGreaterThan(clientPatience * 1_000 - 100)
      const requestId = /sallyport-request-id: (\S+)/i.exec(result)?.[1]
      expect(await eventOf(requestId)).toMatchObject({
        outcome: 'failed',
        status: 408,
        fault: 'request_timeout',
        faultDetail: `nothing of the body for ${clientPatience} s`,
      })
    },
  )

  test('that goes on with its upload now and then is left alone', async () => {
    using connection = await connectRaw(client.gateway.href)
    connection.write(head('/app-upload', 'Content-Length: 4', 'Connection: close'))
    http1.at('/app-upload', async (req, res) => {
      const { bytes } = await digestOfStream(req)
      res.end(`got ${bytes}`)
    })
    for (let i = 0; i < 4; i++) {
      await pass(1_400)
      connection.write('x')
    }
    expect(await connection.closed).toContain('got 4')
  })

  test('that says nothing for long within a call of gRPC is left alone', async () => {
    at('http2', '/call', async ({ body, answer }) => {
      const { bytes } = await digestOfStream(body)
      answer().end(`got ${bytes}`)
    })
    const body = new PassThrough()
    const headers = [['Content-Type', 'application/grpc']] as const
    const answer = client.send('/http2/call', { method: 'POST', headers, body })
    body.write('x')
    await pass((clientPatience + 2) * 1_000)
    body.end('y')
    expect((await answer).text).toBe('got 2')
  })

  test.each([
    ['a long answer', `/bytes/${50 * mib}`, ''],
    ['messages', '/ws', 'websocket'],
  ])('that takes nothing of %s is cut off', async (_name, path, protocol) => {
    using connection = await connectRaw(client.gateway.href)
    const { socket } = connection
    const upgrade = [
      'Connection: Upgrade',
      `Upgrade: ${protocol}`,
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ]
    const fields = protocol ? upgrade : []
    connection.write(head(path, ...fields).replace('POST', 'GET'))
    await connection.until(/^HTTP\/1\.1 (200|101) /)
    socket.pause()
    using _messages = protocol ? sendMessages(socket) : undefined
    const ended = () => (protocol ? socket.destroyed : http1.latest(path)?.end === 'broken')
    const { ms } = await took(until(() => ended()))
    expect(ms).toBeGreaterThan(clientPatience * 1_000 - 500)
  })
})

async function startSilentServer() {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket.on('error', () => undefined))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return sockets.size
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Asks for more echoes than fit on the way, then goes on now and then. */
function sendMessages(socket: Socket): Disposable {
  const message = Buffer.alloc(8 + 60_000)
  message.set([0x82, 0x80 | 126])
  message.writeUInt16BE(60_000, 2)
  for (let i = 0; i < 500; i++) socket.write(message)
  const timer = setInterval(() => socket.write(message), 250)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Upgrades to protocols that are no WebSocket: once the origin agrees, bytes both ways and nothing added (RFC 9110 §7.8). */

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bodyOf, digestOf } from '../harness/bodies.ts'
import { connectRaw, exchangeRaw, type RawConnection } from '../harness/client.ts'
import { pairsOf } from '../harness/origin.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

const agreed =
  'HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\nX-Own: 1\r\n\r\n'
const hint = 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n'

let origin: Server
let system: TestSystem
/** What the origin received on upgraded connections, by path, and whether it was over, or broken off. */
const received = new Map<string, { text: string; hasEnded: boolean; code?: string }>()
const sockets = new Set<Socket>()
/** The request as the origin saw it. */
let asked: { method: string; rawHeaders: string[] } | undefined
/** What an origin waits for. */
let goOn: () => unknown

const protocols: Record<string, (socket: Socket) => void> = {
  '/echo': socket => {
    socket.write(`${agreed}welcome `)
    socket.pipe(socket)
  },
  '/answers-at-the-end': socket => {
    socket.write(agreed)
    socket.on('end', () => socket.end('goodbye'))
  },
  '/ends-first': socket => socket.end(`${agreed}goodbye`),
  '/resets': socket => {
    socket.write(agreed)
    socket.once('data', () => socket.resetAndDestroy())
  },
  '/layers': socket => socket.end(agreed.replace('echo/1', 'ECHO/1, x/2')),
  '/other': socket => socket.end(agreed.replace('echo/1', 'other/1')),
  '/nothing': socket => socket.end(agreed.replace('Upgrade: echo/1\r\n', '')),
  '/hints': socket => {
    socket.write(hint)
    goOn = () => socket.end(agreed)
  },
  '/hints-and-declines': socket => {
    socket.write(hint)
    goOn = () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  },
  '/never': socket => void socket.on('end', () => socket.end()),
  '/declines': socket =>
    socket.end('HTTP/1.1 426 Upgrade Required\r\nUpgrade: echo/2\r\nContent-Length: 4\r\n\r\nno/1'),
}

beforeAll(async () => {
  origin = createServer(async (req, res) => {
    res.end(`ordinary ${Buffer.concat(await req.toArray())}`)
  })
  origin.on('upgrade', ({ url = '', method = '', rawHeaders }, socket: Socket, first: Buffer) => {
    asked = { method, rawHeaders }
    sockets.add(socket)
    const record: { text: string; hasEnded: boolean; code?: string } = { text: '', hasEnded: false }
    received.set(url, record)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      record.code = code ?? ''
    })
    if (first.length > 0) socket.unshift(first)
    socket.on('data', chunk => {
      record.text += chunk.toString('latin1')
    })
    socket.on('end', () => {
      record.hasEnded = true
    })
    protocols[url]?.(socket)
  })
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const internalUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}/`
  const open = { name: 'open', displayName: 'Open', internalUrl, access: 'passthrough' } as const
  system = await startSystem({ publish: [open] })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  origin.close().closeAllConnections()
})

const gateway = () => system.gatewayUrls[0] as string
const request = (path: string, { method = 'GET', protocol = 'echo/1' } = {}) =>
  [
    `${method} ${path} HTTP/1.1`,
    `Host: open.sallyport.localhost:${system.port}`,
    'Connection: upgrade, X-Hop',
    `Upgrade: ${protocol}`,
    'X-Hop: 1',
    'X-Own: 2',
    '',
    '',
  ].join('\r\n')
const noneLeft = () => expect.poll(() => sockets.size, { timeout: 5_000 }).toBe(0)

async function upgraded(path: string, first = ''): Promise<RawConnection> {
  const connection = await connectRaw(gateway())
  connection.socket.allowHalfOpen = true
  connection.write(request(path) + first)
  await connection.until(/^HTTP\/1\.1 101 .*\r\n\r\n/s)
  return connection
}

test('carries bytes both ways, those with the request and with the agreement first', async () => {
  using connection = await upgraded('/echo', 'early ')
  await connection.until(/\r\n\r\nwelcome early $/)
  connection.write('\0\xff\r\n\r\nGET / HTTP/1.1\r\n\r\n')
  expect(await connection.until(/welcome early \0\xff\r\n\r\nGET \/ HTTP\/1\.1\r\n\r\n$/)).toMatch(
    /^HTTP\/1\.1 101 Switching\r\n.*Connection: Upgrade\r\nUpgrade: echo\/1\r\n/s,
  )
  expect(connection.received).toContain('X-Own: 1\r\n')
  connection.socket.destroy()
  await noneLeft()
})

test('shows the origin the protocol and no field of another connection', async () => {
  using _connection = await upgraded('/echo')
  const headers = pairsOf(asked?.rawHeaders ?? [])
  for (const field of [
    ['Upgrade', 'echo/1'],
    ['Connection', 'Upgrade'],
    ['X-Own', '2'],
  ]) {
    expect(headers).toContainEqual(field)
  }
  expect(headers.map(([name]) => name)).not.toContain('X-Hop')
})

test('RFC 9110 §5.3: may offer protocols in several fields', async () => {
  using connection = await connectRaw(gateway())
  connection.write(request('/echo', { protocol: 'other/2\r\nUpgrade: echo/1' }))
  await connection.until(/welcome $/)
  expect(pairsOf(asked?.rawHeaders ?? [])).toContainEqual(['Upgrade', 'other/2, echo/1'])
})

test('keeps its method', async () => {
  using connection = await connectRaw(gateway())
  connection.write(request('/echo', { method: 'POST' }))
  await connection.until(/welcome $/)
  expect(asked?.method).toBe('POST')
})

test('carries megabytes there and back unchanged', async () => {
  using connection = await upgraded('/echo')
  await connection.until(/welcome $/)
  const head = connection.received.length
  const body = bodyOf(5_000_000)
  connection.socket.write(body)
  await expect.poll(() => connection.received.length - head).toBe(body.length)
  const back = Buffer.from(connection.received.slice(head), 'latin1')
  expect(digestOf(back)).toEqual(digestOf(body))
})

test('whose client has said all hears the origin out', async () => {
  using connection = await upgraded('/answers-at-the-end')
  connection.socket.end('last words')
  expect(await connection.closed).toMatch(/\r\n\r\ngoodbye$/)
  expect(received.get('/answers-at-the-end')).toEqual({ text: 'last words', hasEnded: true })
  await noneLeft()
})

test('whose origin has said all goes on listening to its client', async () => {
  using connection = await upgraded('/ends-first')
  await connection.until(/goodbye$/)
  if (!connection.socket.readableEnded) await once(connection.socket, 'end')
  connection.write('still ')
  await expect.poll(() => received.get('/ends-first')?.text).toBe('still ')
  connection.socket.end('here')
  await expect
    .poll(() => received.get('/ends-first'))
    .toEqual({ text: 'still here', hasEnded: true })
  await noneLeft()
})

describe('RFC 9293 §3.6: that breaks off half said is never taken for said:', () => {
  test('what the origin resets is reset for its client', async () => {
    using connection = await upgraded('/resets')
    const broken = once(connection.socket, 'error')
    connection.write('x')
    expect(await broken).toMatchObject([{ code: 'ECONNRESET' }])
    await noneLeft()
  })

  test('what the client resets is reset for the origin', async () => {
    using connection = await upgraded('/answers-at-the-end', 'half')
    await expect.poll(() => received.get('/answers-at-the-end')?.text).toBe('half')
    connection.socket.resetAndDestroy()
    await noneLeft()
    const end = { text: 'half', hasEnded: false, code: 'ECONNRESET' }
    expect(received.get('/answers-at-the-end')).toEqual(end)
  })
})

test.each([
  ['closes its end', (socket: Socket) => void socket.end()],
  ['resets', (socket: Socket) => void socket.resetAndDestroy()],
])(
  'RFC 9110 §7.8: whose client %s before it is agreed on leaves nothing at the origin',
  async (_how, leave) => {
    using connection = await connectRaw(gateway())
    connection.write(`${request('/never')}early`)
    await expect.poll(() => sockets.size).toBe(1)
    leave(connection.socket)
    await connection.closed
    await noneLeft()
  },
)

test('that the origin declines is answered as the origin says', async () => {
  const answer = await exchangeRaw(gateway(), request('/declines'))
  expect(answer).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n.*\r\n\r\nno\/1$/s)
  // RFC 9110 §15.5.22: what it would agree to, on a connection that ends.
  expect(answer).toMatch(/\r\nUpgrade: echo\/2\r\n.*Connection: Upgrade, close\r\n/s)
})

test('RFC 9110 §7.8: may be switched to several layers, however they are spelt', async () => {
  const answer = await exchangeRaw(gateway(), request('/layers'))
  expect(answer).toMatch(/^HTTP\/1\.1 101 Switching\r\n.*Upgrade: ECHO\/1, x\/2\r\n/s)
})

test.each(['/other', '/nothing'])(
  'RFC 9110 §7.8: a switch to what nobody asked for, as at %s, is a 502',
  async path => {
    const answer = await exchangeRaw(gateway(), request(path))
    expect(answer).toMatch(/^HTTP\/1\.1 502 .*"code":"origin_protocol_error"/s)
  },
)

test.each([
  ['/hints', '101 Switching'],
  ['/hints-and-declines', '200 OK'],
])('RFC 9110 §15.2: has interim answers before its own, as at %s', async (path, answer) => {
  using connection = await connectRaw(gateway())
  connection.write(request(path))
  await connection.until(/\r\n\r\n$/)
  expect(connection.received).toBe(hint)
  goOn()
  await connection.until(new RegExp(`\r\n\r\nHTTP/1.1 ${answer}\r\n`))
})

test('RFC 9110 §7.8: that Connection does not name is the ordinary request that it is, body and all', async () => {
  const offer = request('/', { method: 'POST' }).replace('upgrade,', 'close,')
  const answer = await exchangeRaw(
    gateway(),
    offer.replace(/\r\n$/, 'Content-Length: 5\r\n\r\nhello'),
  )
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nordinary hello$/s)
})

test('to HTTP/2 is the ordinary request that it is', async () => {
  const text = request('/', { protocol: 'h2c' }).replace('upgrade,', 'close, upgrade,')
  expect(await exchangeRaw(gateway(), text)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*ordinary/s)
})

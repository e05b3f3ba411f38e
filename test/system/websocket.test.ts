/** WebSockets through gateway, bus and connector, spoken by an ordinary client: as if it were connected directly. */

import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import { bodyOf } from '../harness/bodies.ts'
import { Client, connectRaw, exchangeRaw } from '../harness/client.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: Origin
let system: TestSystem
let visitor: Visitor
let client: Client

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('app', origin.url)] })
  visitor = await signInTo(system, 'app')
  client = new Client(gateway(), visitor)
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const gateway = () => system.gatewayUrls[0] as string
const host = () => `app.sallyport.localhost:${system.port}`

interface DialOptions extends ClientOptions {
  protocols?: string[]
  /** Another gateway than the first. */
  at?: string
}

function dial(
  path: string,
  { protocols = [], headers, at, ...options }: DialOptions = {},
): WebSocket {
  const ws = new WebSocket(`${(at ?? gateway()).replace('http', 'ws')}${path}`, protocols, {
    headers: { ...visitor.headers, ...headers },
    handshakeTimeout: 10_000,
    ...options,
  })
  return ws.on('error', () => undefined)
}

async function open(path = '/ws', options?: DialOptions): Promise<WebSocket> {
  const ws = dial(path, options)
  await once(ws, 'open')
  return ws
}

/** Status, body and headers of the HTTP response in place of an upgrade. */
async function refusal(path: string, options?: DialOptions) {
  const ws = dial(path, options)
  const [, response] = await once(ws, 'unexpected-response')
  const chunks = await response.toArray()
  return {
    status: response.statusCode,
    headers: response.headers,
    text: Buffer.concat(chunks).toString(),
  }
}

/** The request as lines, without the empty one at its end. */
const asked = (path: string) => [
  `GET ${path} HTTP/1.1`,
  `Host: ${host()}`,
  `Cookie: ${visitor.headers.cookie}`,
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

const message = async (ws: WebSocket) => String((await once(ws, 'message'))[0])
const closing = async (ws: WebSocket) => {
  const [code, reason] = await once(ws, 'close')
  return [code, String(reason)]
}
const noneLeft = () => expect.poll(() => origin.upgraded, { timeout: 5_000 }).toBe(0)

describe('a WebSocket', () => {
  test('echoes text and bytes, and goes on', async () => {
    const ws = await open()
    ws.send('grüße')
    expect(await message(ws)).toBe('grüße')
    const bytes = bodyOf(100_000)
    ws.send(bytes)
    const [data, isBinary] = await once(ws, 'message')
    expect(isBinary).toBe(true)
    expect(bytes.equals(data)).toBe(true)
    ws.close()
    await noneLeft()
  })

  test('agrees on the subprotocol and on compression with the origin', async () => {
    const ws = await open('/ws', { protocols: ['chat.v1', 'chat.v2'] })
    expect(ws.protocol).toBe('chat.v2')
    expect(ws.extensions).toContain('permessage-deflate')
    ws.send('a'.repeat(50_000))
    expect(await message(ws)).toBe('a'.repeat(50_000))
    ws.terminate()
    const plain = await open('/ws', { perMessageDeflate: false })
    expect(plain.extensions).toBe('')
    plain.send('plain')
    expect(await message(plain)).toBe('plain')
    plain.terminate()
  })

  test('carries pings and pongs', async () => {
    const ws = await open()
    ws.ping('are you there')
    expect(String((await once(ws, 'pong'))[0])).toBe('are you there')
    ws.terminate()
  })

  test('carries a message of 5 MB there and back', async () => {
    const ws = await open('/ws', { perMessageDeflate: false })
    const bytes = bodyOf(5_000_000)
    ws.send(bytes)
    const [data] = await once(ws, 'message')
    expect(bytes.equals(data)).toBe(true)
    ws.terminate()
  })

  test('keeps a thousand messages in their order', async () => {
    const ws = await open()
    const received: string[] = []
    const all = new Promise(resolve =>
      ws.on('message', data => received.push(String(data)) === 1_000 && resolve(undefined)),
    )
    for (let i = 0; i < 1_000; i++) ws.send(`${i}`)
    await all
    expect(received).toEqual(Array.from({ length: 1_000 }, (_, i) => `${i}`))
    ws.terminate()
  })

  test('is sent its first message together with the agreement', async () => {
    const ws = dial('/ws/first')
    expect(await message(ws)).toBe('welcome')
    ws.terminate()
  })

  test('ends with the code and reason that the origin gives, and the reverse', async () => {
    const ws = await open()
    ws.send('close 4001 see you')
    expect(await closing(ws)).toEqual([4001, 'see you'])
    const other = await open()
    other.close(4002, 'I have to go')
    expect(await closing(other)).toEqual([4002, 'I have to go'])
    await noneLeft()
  })

  test('gets the cookies that the origin sets with the agreement', async () => {
    const ws = dial('/ws/cookies')
    const [response] = await once(ws, 'upgrade')
    expect(response.headers['set-cookie']).toEqual(['a=1; Path=/', 'b=2; Path=/'])
    ws.terminate()
  })

  test('may be agreed on with as long a head as that of any answer', async () => {
    using connection = await connectRaw(gateway())
    connection.write([...asked('/ws/long'), '', ''].join('\r\n'))
    await connection.until(/^HTTP\/1\.1 101 .*x{50000}\r\n.*\r\n\r\n/s)
  })

  test('shows the origin the forwarded headers and none of ours', async () => {
    const ws = dial('/ws/headers', { headers: { 'X-Forwarded-User': 'spoofed' } })
    const seen = await message(ws)
    expect(seen).toContain(host())
    expect(seen).not.toMatch(/spoofed|__Host-sallyport/)
    ws.terminate()
  })

  test('lives on while nobody says anything', async () => {
    const ws = await open()
    // Longer than any of the waits for a first answer: one and a half seconds of other requests.
    for (let i = 0; i < 3; i++) await client.send('/ways/trickles')
    ws.send('still here')
    expect(await message(ws)).toBe('still here')
    ws.terminate()
  })
})

describe('an upgrade', () => {
  test('that the origin declines is answered with its own response', async () => {
    const { status, headers, text } = await refusal('/ws/refused')
    expect([status, text]).toEqual([403, 'not for you'])
    expect(headers['set-cookie']).toEqual(['a=1', 'b=2'])
  })

  test('that a page of another origin asks for is refused', async () => {
    const other = `http://handbook.sallyport.localhost:${system.port}`
    for (const headers of [{ Origin: other }, { 'Sec-Fetch-Site': 'same-site' }]) {
      const { status, text } = await refusal('/ws', { headers })
      expect(status).toBe(403)
      expect(JSON.parse(text)).toMatchObject({ code: 'cross_origin_refused' })
    }
    const own = await open('/ws', { origin: `http://${host()}` })
    own.terminate()
    await noneLeft()
  })

  test('without a session is answered 401', async () => {
    const { status, text } = await refusal('/ws', { headers: { cookie: '' } })
    expect(status).toBe(401)
    expect(JSON.parse(text)).toMatchObject({ code: 'unauthenticated' })
  })

  test('that the origin breaks off is answered 502', async () => {
    const { status } = await refusal('/ws/resets')
    expect(status).toBe(502)
  })

  test('whose client leaves before the origin has answered leaves nothing at the origin', async () => {
    using connection = await connectRaw(gateway())
    connection.write([...asked('/ws/hangs'), '', ''].join('\r\n'))
    await expect.poll(() => origin.upgraded).toBe(1)
    connection.socket.end()
    await noneLeft()
  })

  test('may be followed by what the client says before it is answered', async () => {
    using connection = await connectRaw(gateway())
    connection.write([...asked('/ws/late'), '', ''].join('\r\n'))
    await expect.poll(() => origin.upgraded).toBe(1)
    // A ping, masked with zeros.
    connection.write('\x89\x82\0\0\0\0hi')
    await connection.until(/^HTTP\/1\.1 101 .*hi$/s)
  })

  test('that carries a body is refused, and nothing of it reaches the origin', async () => {
    const before = origin.seen.length
    const head = asked('/ws')
    for (const framing of ['Content-Length: 30', 'Transfer-Encoding: chunked']) {
      const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
      const text = [...head, framing, '', smuggled].join('\r\n')
      expect(await exchangeRaw(gateway(), text)).toMatch(/^HTTP\/1\.1 400 /)
    }
    expect(origin.seen.slice(before)).toEqual([])
  })
})

describe('a connection that is cut', () => {
  test('at the origin is cut at the client', async () => {
    const ws = await open()
    ws.send('reset')
    expect((await closing(ws))[0]).toBe(1006)
  })

  test('at the client is cut at the origin', async () => {
    using connection = await connectRaw(gateway())
    connection.write([...asked('/ws'), '', ''].join('\r\n'))
    await connection.until(/^HTTP\/1\.1 101 /)
    await expect.poll(() => origin.upgraded).toBe(1)
    connection.socket.resetAndDestroy()
    await noneLeft()
  })

  test('by the end of the session is cut within a second', async () => {
    using carol = new UserAgent()
    const url = new URL(`http://${host()}/`)
    await carol.signIn(url.href, 'carol@sallyport.example', 'compass')
    const portal = await carol.visit(system.portal)
    // Opened by hand, the last page of signing out says nothing of a session that goes on.
    const early = await carol.visit(`${system.portal}.sallyport/signed-out`)
    expect([early.url, early.text]).toEqual([system.portal, expect.stringContaining('Sign out')])
    const ws = await open('/ws', { headers: { cookie: carol.cookies.header(url) ?? '' } })
    const closed = closing(ws)
    const startedAt = performance.now()
    await carol.submit(portal, {}, { form: 'sign-out' })
    expect((await closed)[0]).toBe(4401)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
    const late = await carol.visit(`${system.portal}.sallyport/signed-out`)
    expect(late.text).toContain('You are signed out')
    await noneLeft()
  })
})

test('a gateway that stops tells its clients to come again (1012), after the grace', async () => {
  const second = await system.add('gateway', { SALLYPORT_GATEWAY_DRAIN_SECONDS: '1' })
  const ws = await open('/ws', { at: system.gatewayUrls[1] as string })
  const closed = closing(ws)
  const startedAt = performance.now()
  await system.stop(second)
  expect((await closed)[0]).toBe(1012)
  expect(performance.now() - startedAt).toBeGreaterThan(900)
  expect(second.exitCode).toBe(0)
})

test('hundreds of sockets on which nobody says anything keep nobody out', async () => {
  const idle = await Promise.all(Array.from({ length: 400 }, () => open()))
  expect((await client.send('/bytes/5')).status).toBe(200)
  const last = await open()
  last.send('one more')
  expect(await message(last)).toBe('one more')
  for (const ws of [...idle, last]) ws.terminate()
  await noneLeft()
})

test('two hundred sockets leave nothing behind', async () => {
  const descriptors = async () => {
    const pids = (['gateway', 'connector'] as const).map(role => system.services.of(role)[0]?.pid)
    return Promise.all(pids.map(async pid => (await readdir(`/proc/${pid}/fd`)).length))
  }
  await noneLeft()
  const [gatewayBefore = 0, connectorBefore = 0] = await descriptors()
  for (let round = 0; round < 2; round++) {
    const sockets = await Promise.all(Array.from({ length: 100 }, () => open()))
    const echoes = Promise.all(sockets.map(message))
    for (const [i, ws] of sockets.entries()) ws.send(`${i}`)
    expect(await echoes).toEqual(sockets.map((_, i) => `${i}`))
    const closed = Promise.all(sockets.map(closing))
    for (const [i, ws] of sockets.entries()) {
      if (i % 2) ws.close()
      else ws.terminate()
    }
    await closed
    await noneLeft()
  }
  const grown = async () => {
    const [gatewayNow = 0, connectorNow = 0] = await descriptors()
    return Math.max(gatewayNow - gatewayBefore, connectorNow - connectorBefore)
  }
  await expect.poll(grown, { timeout: 5_000 }).toBeLessThan(5)
  expect((await client.send('/bytes/5')).status).toBe(200)
})

/** The listening socket with TLS: which protocol is spoken, certificates that change, bounds, and the way it stops. */

import { once } from 'node:events'
import { copyFile, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { connect as connectTcp, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '#infra/config.ts'
import { createLogger } from '#infra/log.ts'
import { GatewayConfig } from '../../gateway/config.ts'
import { discardBody } from '../../gateway/discard.ts'
import { readCertificate } from '../../gateway/front/certificate.ts'
import type { RequestListener } from '../../gateway/front/client.ts'
import { createFront, type Front, type FrontOptions } from '../../gateway/front/front.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { answerOf, Http2Client, headOf } from '../harness/http2-client.ts'
import { startFronts } from './fronts.ts'

const log = createLogger('gateway', 'silent')

/** Says which version it was asked in; `/held` waits until its path is released. */
const held = new Set<() => void>()
const listener: RequestListener = (req, res) => {
  const answer = () => {
    held.delete(answer)
    const version = req.stream ? 'HTTP/2' : 'HTTP/1.1'
    res.sendWhole(200, 'OK', ['Content-Type', 'text/plain'], Buffer.from(version))
  }
  if (req.url !== '/held') return answer()
  held.add(answer)
  res.once('close', () => held.delete(answer))
}
const release = () => {
  for (const answer of [...held]) answer()
}

interface Running extends AsyncDisposable {
  readonly front: Front
  readonly port: number
  readonly url: string
}

async function start(
  certificate: TestCertificate,
  serve = listener,
  patience: FrontOptions['patience'] = {},
): Promise<Running> {
  const read = readCertificate(certificate, log)
  const front = createFront({ listener: serve, certificate: read, patience })
  const port = await front.listen('127.0.0.1', 0)
  return {
    front,
    port,
    url: `https://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      read[Symbol.dispose]()
      if (!front.server.listening) return
      const closed = front.close()
      front.destroy()
      await closed
    },
  }
}

let certificate: TestCertificate
let running: Running
beforeAll(async () => {
  certificate = await createCertificate()
  running = await start(certificate)
})
afterAll(async () => {
  await running[Symbol.asyncDispose]()
  await certificate[Symbol.asyncDispose]()
})

const client = (url = running.url) =>
  new Http2Client({ gateway: url, ca: certificate.cert, host: 'app' })

/** Of one connection and request in HTTP/1.1 after a handshake with these protocols. */
async function overHttp1(port: number, ALPNProtocols?: string[]): Promise<string> {
  const agent = new https.Agent({ ...(ALPNProtocols && { ALPNProtocols }) })
  const request = https.get({ port, host: '127.0.0.1', ca: certificate.cert, agent })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const body = await buffer(response)
  agent.destroy()
  return body.toString()
}

async function handshake(port: number): Promise<TLSSocket> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  return socket
}

async function serialNumber(port: number): Promise<string> {
  const socket = await handshake(port)
  const { serialNumber } = socket.getPeerCertificate()
  socket.destroy()
  return serialNumber
}

describe('a TLS client', () => {
  test('that negotiates h2 speaks HTTP/2', async () => {
    using http2 = client()
    expect(await http2.send('/')).toMatchObject({ status: 200, text: 'HTTP/2' })
  })

  test.each([['http/1.1', ['http/1.1']] as const, ['nothing', undefined] as const])(
    'that offers %s speaks HTTP/1.1',
    async (_name, protocols) => {
      expect(await overHttp1(running.port, protocols && [...protocols])).toBe('HTTP/1.1')
    },
  )

  test('that knows only other protocols is refused in the handshake', async () => {
    const socket = connectTls({
      port: running.port,
      host: '127.0.0.1',
      ca: certificate.cert,
      ALPNProtocols: ['spdy/3'],
    })
    const [error] = await once(socket, 'error')
    expect(error.code).toMatch(/NO_APPLICATION_PROTOCOL/)
  })

  test('that speaks no TLS is cut off and disturbs nobody', async () => {
    const socket = connectTcp(running.port, '127.0.0.1').on('error', () => undefined)
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(socket.resume(), 'close')
    expect(await overHttp1(running.port)).toBe('HTTP/1.1')
  })
})

test('RFC 8446 §6.1: a TLS client that has said all on a switched connection hears the other side out', async () => {
  await using own = await start(certificate, (_req, _res, { upgrade }) => {
    upgrade?.takeOver()
    upgrade?.socket
      .on('data', () => undefined)
      .on('end', () => {
        setImmediate(() => upgrade.socket.end('goodbye'))
      })
  })
  const { cert: ca } = certificate
  const options = { port: own.port, host: '127.0.0.1', ca, allowHalfOpen: true }
  const socket = connectTls(options)
  socket.end('GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n')
  expect(`${await buffer(socket)}`).toBe('goodbye')
})

describe('a certificate that is renewed', () => {
  test('serves new connections, and drops none that is there', async () => {
    await using renewed = await createCertificate()
    await using own = await start(renewed)
    using before = new Http2Client({ gateway: own.url, ca: renewed.cert, host: 'app' })
    const waiting = before.send('/held')
    await expect.poll(() => held.size).toBe(1)
    const oldNumber = await serialNumber(own.port)
    await renewed.renew()
    await expect.poll(() => serialNumber(own.port), { timeout: 5_000 }).not.toBe(oldNumber)
    using after = new Http2Client({ gateway: own.url, ca: renewed.cert, host: 'app' })
    expect(await after.send('/')).toMatchObject({ status: 200 })
    release()
    expect(await waiting).toMatchObject({ status: 200 })
    expect(await before.send('/')).toMatchObject({ status: 200 })
  })

  test('stays as it was while the two files do not fit together', async () => {
    await using changed = await createCertificate()
    await using other = await createCertificate()
    const warnings: object[] = []
    const listening = Object.assign(Object.create(log), {
      warn: (facts: object) => warnings.push(facts),
    })
    const read = readCertificate(changed, listening)
    const { current } = read
    const pairs: unknown[] = []
    read.onChange(pair => pairs.push(pair))
    await copyFile(other.certificatePath, changed.certificatePath)
    await expect.poll(() => warnings, { timeout: 5_000 }).toHaveLength(1)
    expect([pairs, read.current]).toEqual([[], current])
    await copyFile(other.keyPath, changed.keyPath)
    await expect.poll(() => pairs, { timeout: 5_000 }).toHaveLength(1)
    expect(read.current).toEqual({ cert: other.cert, key: other.key })
    read[Symbol.dispose]()
  })
})

describe('a configuration', () => {
  const environment = {
    SALLYPORT_BUS_URL: 'nats://gateway:secret@127.0.0.1:4222',
    SALLYPORT_GATEWAY_PORTAL_URL: 'https://portal.example.com/',
    SALLYPORT_GATEWAY_IDENTITY_PROVIDER: 'https://login.example.com/',
    SALLYPORT_GATEWAY_CLIENT_ID: 'sallyport',
  }
  const certificateVariable = 'SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH'
  const keyVariable = 'SALLYPORT_GATEWAY_TLS_KEY_PATH'

  test('with one of certificate and key alone is refused by the name of the other', () => {
    const read = (more: object) => () => readConfig(GatewayConfig, { ...environment, ...more })
    expect(read({ [certificateVariable]: 'a' })).toThrow(`${keyVariable}: is required with`)
    expect(read({ [keyVariable]: 'a' })).toThrow(`${certificateVariable}: is required with`)
  })

  test('with a portal that is not https is refused', () => {
    const plain = { SALLYPORT_GATEWAY_PORTAL_URL: 'http://portal.example.com/' }
    const both = { [certificateVariable]: 'a', [keyVariable]: 'b' }
    expect(() => readConfig(GatewayConfig, { ...environment, ...plain, ...both })).toThrow(
      'SALLYPORT_GATEWAY_PORTAL_URL: must be https',
    )
  })

  test('names the file that cannot be read, and files that do not fit together', async () => {
    await using broken = await createCertificate()
    await using other = await createCertificate()
    const mixed = { certificatePath: broken.certificatePath, keyPath: other.keyPath }
    expect(() => readCertificate(mixed, log)).toThrow(/of a certificate and of its key .*mismatch/)
    await writeFile(other.keyPath, 'no PEM')
    expect(() => readCertificate(mixed, log)).toThrow('must be PEM files')
    await rm(broken.certificatePath)
    expect(() => readCertificate(broken, log)).toThrow(
      `${certificateVariable}: ${broken.certificatePath} cannot be read (ENOENT)`,
    )
  })
})

describe('a connection of HTTP/2', () => {
  test('is told its bounds, and that WebSockets go over HTTP/1.1 (RFC 8441)', async () => {
    using http2 = client()
    const [settings] = await once(http2.session, 'remoteSettings')
    expect(settings).toMatchObject({
      maxConcurrentStreams: 128,
      maxHeaderListSize: 65_536,
      enableConnectProtocol: false,
    })
    const tunnel = { ':method': 'CONNECT', ':authority': 'example.com:443' }
    const connect = http2.session.request(tunnel, { endStream: true })
    expect(await answerOf(connect)).toMatchObject({ status: 405 })
  })

  test('that opens and resets streams without end is closed; others go on', async () => {
    using attacker = client()
    using other = client()
    for (const one of [attacker, other]) expect(await one.send('/')).toMatchObject({ status: 200 })
    const closed = new Promise(resolve => attacker.session.once('close', resolve))
    let opened = 0
    const flood = () => {
      if (attacker.session.destroyed) return
      const streams = Array.from({ length: 50 }, () => attacker.start('/held'))
      opened += streams.length
      // Once they are sent.
      setImmediate(() => {
        for (const stream of streams) stream.close(8)
        setImmediate(flood)
      })
    }
    flood()
    await closed
    expect(opened).toBeLessThan(10_000)
    expect(await other.send('/')).toMatchObject({ status: 200 })
    await expect.poll(() => held.size).toBe(0)
  })

  test('is closed when it is idle, also after a stream that was open for longer and was reset', async () => {
    await using own = await start(certificate, listener, { keepAlive: 0.2 })
    using waiting = client(own.url)
    const closed = once(waiting.session, 'close')
    const stream = waiting.start('/held')
    await expect.poll(() => held.size).toBe(1)
    using idle = client(own.url)
    await once(idle.session, 'close')
    expect(waiting.session.closed).toBe(false)
    stream.close(8)
    await closed
  })

  test('that sends a header block beyond 64 KiB loses that request alone', async () => {
    using http2 = client()
    const headers = { 'x-long': 'x'.repeat(70_000) }
    expect(await http2.send('/', { headers })).not.toMatchObject({ status: 200 })
    using next = client()
    expect(await next.send('/')).toMatchObject({ status: 200 })
  })

  test('that carries 200 fields is served', async () => {
    using http2 = client()
    const fields = Array.from({ length: 200 }, (_, i) => [`x-field-${i}`, 'x'.repeat(100)])
    const answer = await http2.send('/', { headers: Object.fromEntries(fields) })
    expect(answer).toMatchObject({ status: 200 })
  })
})

describe('a front that stops', () => {
  test('tells clients to send no more, serves what crossed that notice, and finishes what is under way', async () => {
    await using own = await start(certificate)
    using http2 = client(own.url)
    const waiting = http2.start('/held')
    const answer = answerOf(waiting)
    await expect.poll(() => held.size).toBe(1)
    const closed = own.front.close()
    expect(await http2.goneAway).toEqual({ code: 0, lastStreamId: 2 ** 31 - 1 })
    await expect(handshake(own.port)).rejects.toThrow('ECONNREFUSED')
    release()
    expect(await answer).toMatchObject({ status: 200, text: 'HTTP/2' })
    await closed
  })

  test('answers what was already on its way on an idle connection, as the last of it', async () => {
    await using own = await start(certificate)
    const socket = await handshake(own.port)
    let received = ''
    socket.on('data', chunk => {
      received += chunk
    })
    const ended = once(socket, 'close')
    socket.write('GET / HTTP/1.1\r\nHost: app\r\n\r\n')
    await expect.poll(() => received).toMatch(/keep-alive.*\r\n\r\nHTTP\/1\.1$/is)
    const first = received.length
    const closed = own.front.close()
    socket.write('GET / HTTP/1.1\r\nHost: app\r\n\r\n')
    await ended
    expect(received.slice(first)).toMatch(
      /^HTTP\/1\.1 200 .*Connection: close.*\r\n\r\nHTTP\/1\.1$/is,
    )
    await closed
  })

  test('does not wait for idle connections of either version', async () => {
    await using own = await start(certificate)
    using http2 = client(own.url)
    await http2.send('/')
    const agent = new https.Agent({ keepAlive: true })
    const request = https.get({ port: own.port, host: '127.0.0.1', ca: certificate.cert, agent })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    await buffer(response)
    const startedAt = performance.now()
    await own.front.close()
    expect(performance.now() - startedAt).toBeLessThan(2_000)
    agent.destroy()
  })

  test.each([
    ['is still being sent', false],
    ['has been sent', true],
  ])('does not wait for an upload that nobody read on and that %s', async (_name, isSent) => {
    let answer: (() => void) | undefined
    await using own = await start(certificate, (req, res) => {
      req.body.once('data', () => req.body.pause())
      answer = () => {
        res.sendWhole(413, 'Content Too Large', [], Buffer.from('too large'))
        discardBody(req)
      }
    })
    using http2 = client(own.url)
    const headers = { ':method': 'POST' }
    const stream = http2.start('/', { headers, endStream: false })
    const received = answerOf(stream)
    stream.write(Buffer.alloc(200_000))
    if (isSent) stream.end()
    await expect.poll(() => answer).toBeDefined()
    // By the answer to this all of it has arrived.
    await new Promise(resolve => http2.session.ping(resolve))
    answer?.()
    expect(await received).toMatchObject({ status: 413, text: 'too large', code: 0 })
    await own.front.close()
  })

  test('cuts what is left when it is told to', async () => {
    await using own = await start(certificate)
    using http2 = client(own.url)
    const waiting = answerOf(http2.start('/held'))
    await expect.poll(() => held.size).toBe(1)
    const closed = own.front.close()
    own.front.destroy()
    await closed
    expect(await waiting).toMatchObject({ status: 0 })
  })
})

test.each(['GET', 'HEAD'])('a client of HTTP/2 that leaves a %s is heard of', async method => {
  using leaving = new Http2Client({ gateway: running.url, ca: certificate.cert, host: 'app' })
  const stream = leaving.start('/held', { headers: { ':method': method } })
  stream.on('error', () => undefined)
  await expect.poll(() => held.size).toBe(1)
  leaving.session.destroy()
  await expect.poll(() => held.size).toBe(0)
})

test('interim answers that a client of HTTP/2 does not read are left out', async () => {
  let queued: number | undefined
  await using informing = await start(certificate, (req, res) => {
    for (let i = 0; i < 5_000; i++) res.sendInformation(103, ['Link', '</a.css>'])
    queued = req.stream?.session?.state.outboundQueueSize
    res.sendWhole(200, 'OK', [], Buffer.from('ok'))
  })
  using client = new Http2Client({ gateway: informing.url, ca: certificate.cert, host: 'app' })
  expect((await client.send('/')).text).toBe('ok')
  expect(queued).toBeLessThan(200)
})

test('without a certificate it speaks HTTP/1.1 over plain TCP', async () => {
  const front = createFront({ listener })
  const port = await front.listen('127.0.0.1', 0)
  const [response] = (await once(http.get({ port, host: '127.0.0.1' }), 'response')) as [
    http.IncomingMessage,
  ]
  expect((await buffer(response)).toString()).toBe('HTTP/1.1')
  await front.close()
})

test('the head of an answer is out before its body, however soon that breaks off', async () => {
  const front = createFront({
    listener(_req, res) {
      res.sendHead(200, 'OK', [])
      res.abort()
    },
  })
  const port = await front.listen('127.0.0.1', 0)
  const socket = connectTcp({ port, host: '127.0.0.1' })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  expect((await buffer(socket)).toString()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n$/s)
  await front.close()
})

test.each([
  ['an upgrade', 'GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n'],
  ['a raw connection', 'RDG_OUT_DATA / HTTP/1.1\r\nHost: app\r\n\r\n'],
])(
  'whoever asked for %s and was answered otherwise holds no connection',
  async (_name, request) => {
    const front = createFront({ listener })
    const port = await front.listen('127.0.0.1', 0)
    const open = () => new Promise(resolve => front.server.getConnections((_, n) => resolve(n)))
    const [closing, staying] = [1, 2].map(() => connectTcp({ port, host: '127.0.0.1' })) as Socket[]
    for (const socket of [closing, staying] as Socket[]) {
      socket.allowHalfOpen = true
      socket.write(request)
      await once(socket, 'data')
      // Read by nobody, and before the end of what the client sends.
      socket.write('more')
    }
    closing?.end()
    await expect.poll(open, { timeout: 5_000 }).toBe(0)
    staying?.destroy()
    await front.close()
  },
)

test('an answer that is over before the upload is whole when the client is asked for no more', async () => {
  await using own = await start(certificate, (req, res) => {
    res.sendHead(413, 'Content Too Large', [])
    res.write('too large')
    res.endWith(['X-Sum', '1'])
    discardBody(req)
  })
  using http2 = client(own.url)
  const stream = http2.start('/', { headers: { ':method': 'POST' }, endStream: false })
  stream.write(Buffer.alloc(1_000))
  const whole = { status: 413, text: 'too large', trailers: [['x-sum', '1']], code: 0 }
  expect(await answerOf(stream)).toMatchObject(whole)
})

const breaking: RequestListener = (_req, res) => {
  res.sendHead(200, 'OK', ['Content-Type', 'text/plain'])
  res.write('half')
  setImmediate(() => res.abort())
}

test('an answer that breaks off is no clean end in either version', async () => {
  const read = readCertificate(certificate, log)
  const front = createFront({ listener: breaking, certificate: read })
  const port = await front.listen('127.0.0.1', 0)
  using http2 = client(`https://127.0.0.1:${port}`)
  const stream = http2.start('/')
  expect((await headOf(stream)).status).toBe(200)
  expect((await answerOf(stream)).code).toBe(2)
  await expect(overHttp1(port)).rejects.toThrow('aborted')
  const closed = front.close()
  front.destroy()
  await closed
  read[Symbol.dispose]()
})

describe('what has been said of an answer that breaks off is heard, however soon it does', () => {
  const said = Buffer.alloc(20_000, 'said')
  const all: RequestListener = (_req, res) => {
    res.sendHead(200, 'OK', [])
    res.write(said)
    res.write(said)
    res.breakOff()
  }

  test.each(['TCP', 'TLS'] as const)('over HTTP/1.1 by %s', async transport => {
    await using fronts = await startFronts({ listener: all })
    const socket = await fronts.open(transport)
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    const heard = await buffer(socket)
    const chunk = Buffer.concat([Buffer.from(`${said.length.toString(16)}\r\n`), said])
    const end = heard.indexOf('\r\n\r\n') + 4
    expect(heard.toString('latin1', end) === `${chunk}\r\n${chunk}\r\n`).toBe(true)
  })

  test('over HTTP/2', async () => {
    await using own = await start(certificate, all)
    using http2 = client(own.url)
    const { body, code } = await answerOf(http2.start('/'))
    expect({ bytes: body.length, code }).toEqual({ bytes: 2 * said.length, code: 2 })
  })

  test('over HTTP/2, and a client that does not take it is not waited for', async () => {
    await using own = await start(certificate, all)
    using http2 = client(own.url)
    // As much as the client lets come before it reads.
    const stream = http2.start('/').pause()
    await once(stream, 'response')
    const startedAt = performance.now()
    await expect.poll(() => stream.rstCode, { timeout: 5_000 }).toBe(2)
    expect(performance.now() - startedAt).toBeLessThan(2_000)
  })
})

test('an answer to HTTP/1.0 that breaks off is none either, whose end is that of the connection', async () => {
  const front = createFront({ listener: breaking })
  const port = await front.listen('127.0.0.1', 0)
  const socket = connectTcp({ port, host: '127.0.0.1' })
  socket.write('GET / HTTP/1.0\r\nHost: a\r\n\r\n')
  await expect(buffer(socket)).rejects.toThrow('ECONNRESET')
  await front.close()
})

test('an answer that breaks off before its turn leaves those before it whole, and ends the connection', async () => {
  let answerFirst = () => {}
  const overtaking: RequestListener = ({ url }, res) => {
    if (url === '/first') {
      answerFirst = () => res.sendWhole(200, 'OK', [], Buffer.from('whole'))
      return
    }
    res.sendHead(200, 'OK', [])
    res.write('half')
    res.abort()
    answerFirst()
  }
  const front = createFront({ listener: overtaking })
  const port = await front.listen('127.0.0.1', 0)
  const socket = connectTcp({ port, host: '127.0.0.1' })
  for (const path of ['/first', '/second']) socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
  expect((await buffer(socket)).toString()).toMatch(/\r\n\r\nwhole$/)
  await front.close()
})

test.each([204, 304])(
  'a %i that cannot be said gives way to an answer with a body',
  async status => {
    const front = createFront({
      listener(_req, res) {
        expect(() => res.sendWhole(status, '', ['X-A', 'a\nb'], Buffer.alloc(0))).toThrow('X-A')
        res.closeConnection()
        res.sendWhole(502, 'Bad Gateway', [], Buffer.from('told'))
      },
    })
    const port = await front.listen('127.0.0.1', 0)
    const socket = connectTcp({ port, host: '127.0.0.1' })
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    expect((await buffer(socket)).toString()).toMatch(/^HTTP\/1\.1 502 .*\r\n\r\ntold$/s)
    await front.close()
  },
)

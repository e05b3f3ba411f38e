/** HTTP/2 at the front of a whole system, and HTTP/2 between connector and origin: as HTTP/1.1, and what is its own. */

import { once } from 'node:events'
import { constants } from 'node:http2'
import https from 'node:https'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { administer } from '../harness/admin.ts'
import { bodyOf, bodyStream, digestOfBody, digestOfStream } from '../harness/bodies.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { answerOf, Http2Client, headOf } from '../harness/http2-client.ts'
import * as frames from '../harness/http2-frames.ts'
import { type Http2Origin, startHttp2Origin } from '../harness/http2-origin.ts'
import { type Echo, type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'

let certificate: TestCertificate
let origin: Origin
let system: TestSystem
let cookie: string
let client: Http2Client

beforeAll(async () => {
  certificate = await createCertificate()
  origin = await startOrigin()
  system = await startSystem({
    environment: { ...certificate.environment, NODE_EXTRA_CA_CERTS: certificate.certificatePath },
    publish: [signedInApplication('app', origin.url)],
  })
  using alice = new UserAgent({ ca: certificate.cert })
  const url = `https://app.sallyport.localhost:${system.port}/`
  await alice.signIn(url, 'alice@sallyport.example', 'wonderland')
  cookie = alice.cookies.header(new URL(url)) ?? ''
  client = open('app', { cookie })
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  await certificate[Symbol.asyncDispose]()
})

const open = (host: string, headers: Record<string, string> = {}) =>
  new Http2Client({
    gateway: system.gatewayUrls[0] as string,
    ca: certificate.cert,
    host,
    headers,
  })
const post = { ':method': 'POST' }

async function echo(path = '/echo', options?: Parameters<Http2Client['send']>[1]): Promise<Echo> {
  const answer = await client.send(path, options)
  if (answer.status !== 200) throw new Error(`${answer.status}: ${answer.text}`)
  return JSON.parse(answer.text)
}
const valuesOf = ({ headers }: Echo, name: string) =>
  headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)

describe('a request over HTTP/2', () => {
  test('reaches the origin as one of HTTP/1.1, which is told how it came', async () => {
    const seen = await echo('/echo?a=1', {
      headers: { 'x-own': ['1', '2'], 'x-latin': 'caf\u00e9' },
    })
    expect(valuesOf(seen, 'x-latin')).toEqual(['caf\u00e9'])
    expect(seen.target).toBe('/echo?a=1')
    expect(valuesOf(seen, 'x-own')).toEqual(['1', '2'])
    expect(valuesOf(seen, 'x-forwarded-proto')).toEqual(['https'])
    expect(valuesOf(seen, 'x-forwarded-host')).toEqual([client.authority])
    expect(valuesOf(seen, 'via')).toEqual(['2.0 sallyport'])
    expect(seen.headers.flat().join()).not.toMatch(/:path|:authority|__Host-sallyport/)
  })

  test('has the crumbs of its cookies put together (RFC 9113 §8.2.3)', async () => {
    const seen = await echo('/echo', { headers: { cookie: ['a=1', cookie, 'b=2; c=3'] } })
    expect(valuesOf(seen, 'cookie')).toEqual(['a=1; b=2; c=3'])
  })

  test('may name its host in Host instead of :authority, but no other one in both', async () => {
    const { authority } = client
    const named = await client.send('/echo', { headers: { host: authority } })
    expect(named.status).toBe(200)
    const other = { ':authority': authority, host: `other.sallyport.localhost:${system.port}` }
    expect(await client.send('/echo', { headers: other })).toMatchObject({ status: 400 })
  })

  test.each([
    ['a method that nobody knows', { ':method': 'FETCH' }, 405],
    ['TRACE', { ':method': 'TRACE' }, 405],
    ['a path that can be read in two ways', { ':path': '/a/../b' }, 400],
    ['a path with raw octets', { ':path': '/caf\u00e9' }, 400],
  ])('with %s is refused', async (_name, headers, status) => {
    const before = origin.seen.length
    const answer = await client.send('/echo', { headers })
    expect([status, 0]).toContain(answer.status)
    expect(origin.seen.length).toBe(before)
  })

  test.each([0, 1, 65_536, 65_537, 3_000_000])(
    'of %i bytes arrives whole, its length told or not',
    async bytes => {
      for (const length of [{}, { 'content-length': `${bytes}` }]) {
        const body = bodyOf(bytes)
        expect(await echo('/echo', { headers: { ...post, ...length }, body })).toMatchObject({
          method: 'POST',
          ...digestOfBody(bytes),
        })
      }
    },
  )

  test('reaches the origin before its body is complete', async () => {
    const pieces: string[] = []
    origin.at('/pieces', (req, res) => {
      req.on('data', chunk => pieces.push(String(chunk))).on('end', () => res.end(pieces.join()))
    })
    const stream = client.start('/pieces', { headers: post, endStream: false })
    const answer = answerOf(stream)
    stream.write('first')
    await expect.poll(() => pieces).toEqual(['first'])
    stream.end('second')
    expect((await answer).text).toBe('first,second')
  })

  test('that waits for 100 Continue gets it when access is granted, and only then', async () => {
    const headers = { ...post, expect: '100-continue', 'content-length': '5' }
    const granted = client.start('/echo', { headers, endStream: false })
    granted.once('continue', () => granted.end('hello'))
    expect(JSON.parse((await answerOf(granted)).text)).toMatchObject({ bytes: 5 })
    using stranger = open('app')
    const refused = stranger.start('/echo', { headers, endStream: false })
    let isContinued = false
    refused.once('continue', () => {
      isContinued = true
    })
    expect((await headOf(refused)).status).toBe(401)
    expect(isContinued).toBe(false)
  })
})

describe('an answer over HTTP/2', () => {
  test('keeps duplicates and their order, and nothing of a connection of HTTP/1.1', async () => {
    origin.at('/fields', (_req, res) =>
      res
        .writeHead(200, 'Fine', [
          ...['Set-Cookie', 'a=1; Path=/', 'X-Own', '1', 'Set-Cookie', 'b=2', 'x-own', '2'],
          ...['Connection', 'keep-alive, X-Hop', 'X-Hop', '1', 'Keep-Alive', 'timeout=5'],
          ...['X-Latin', 'caf\u00e9', 'Content-Length', '2'],
        ])
        .end(Buffer.from('ok')),
    )
    const answer = await client.send('/fields')
    expect(answer).toMatchObject({ status: 200, text: 'ok', code: 0 })
    expect(answer.all('set-cookie')).toEqual(['a=1; Path=/', 'b=2'])
    expect(answer.all('x-own')).toEqual(['1', '2'])
    expect(answer.header('x-latin')).toBe('caf\u00e9')
    const names = answer.headers.map(([name]) => name)
    expect(names.filter(name => /^(?:connection|keep-alive|x-hop|transfer-)/.test(name))).toEqual(
      [],
    )
  })

  test('to HEAD has its length and no body; 204 and 304 have none', async () => {
    const head = await client.send('/bytes/500', { headers: { ':method': 'HEAD' } })
    expect([head.status, head.header('content-length'), head.text]).toEqual([200, '500', ''])
    origin.at('/205', (_req, res) => res.writeHead(205, { 'content-length': 2 }).end('ok'))
    // RFC 9110 §15.3.6: a length of two and no octets would be a broken stream.
    expect(await client.send('/205')).toMatchObject({ status: 205, text: '', code: 0 })
    origin.at('/204', (_req, res) => res.writeHead(204).end())
    origin.at('/304', (_req, res) => res.writeHead(304, { etag: '"a"' }).end())
    expect(await client.send('/204')).toMatchObject({ status: 204, text: '', code: 0 })
    expect(await client.send('/304')).toMatchObject({ status: 304, text: '', code: 0 })
  })

  test.each([0, 65_537, 5_000_000])(
    'of %i bytes arrives whole, its length known or not',
    async bytes => {
      for (const path of [`/bytes/${bytes}`, `/bytes/${bytes}?chunked`]) {
        const stream = client.start(path)
        expect(await digestOfStream(stream)).toEqual(digestOfBody(bytes))
        expect(stream.rstCode).toBe(0)
      }
    },
  )

  test('to a slow reader waits, and holds up no other stream of the connection', async () => {
    const slow = client.start('/bytes/5000000?chunked')
    await headOf(slow)
    const others = Array.from({ length: 20 }, () => client.send('/bytes/100000'))
    for (const answer of await Promise.all(others)) expect(answer.body.length).toBe(100_000)
    expect(await digestOfStream(slow)).toEqual(digestOfBody(5_000_000))
  })

  test('has its trailers', async () => {
    origin.at('/trailers', (_req, res) => {
      res.writeHead(200, { Trailer: 'X-Sum, X-More' })
      res.write('body')
      res.addTrailers({ 'X-Sum': '1', 'X-More': '2' })
      res.end()
    })
    const { text, trailers, header } = await client.send('/trailers')
    expect([text, header('trailer'), trailers]).toEqual([
      'body',
      'X-Sum, X-More',
      [
        ['x-sum', '1'],
        ['x-more', '2'],
      ],
    ])
  })

  test('has trailers of any name, but none that belong to a connection (RFC 9113 §8.2.2)', async () => {
    origin.at('/odd-trailers', (_req, res) => {
      res.writeHead(200, { Trailer: 'X-Sum' })
      res.write('body')
      res.addTrailers({ 'X-Sum': '1', Constructor: '2', 'HTTP2-Settings': 'AAMAAABk' })
      res.end()
    })
    const { text, trailers } = await client.send('/odd-trailers')
    expect([text, trailers]).toEqual([
      'body',
      [
        ['x-sum', '1'],
        ['constructor', '2'],
      ],
    ])
    expect(system.services.of('gateway')[0]?.restarts).toBe(0)
  })

  test('may be preceded by interim ones (RFC 9110 §15.2)', async () => {
    const interim: unknown[] = []
    const stream = client.start('/ways/sends%20interim%20answers')
    stream.on('headers', ({ ':status': status, link }) => interim.push([status, link]))
    expect((await answerOf(stream)).text).toBe('ok')
    expect(interim).toEqual([
      [102, undefined],
      [103, '</a.css>; rel=preload; as=style'],
      [103, 'no link at all'],
    ])
  })

  test('that breaks off at the origin is reset, never a clean end', async () => {
    for (const way of ['ends without the last chunk', 'resets after the head']) {
      const answer = await client.send(`/ways/${encodeURIComponent(way)}`)
      expect([answer.status, answer.code]).toEqual([200, constants.NGHTTP2_INTERNAL_ERROR])
    }
  })

  test('that has no status of HTTP/2 is a problem', async () => {
    const answer = await client.send('/ways/sends%20status%20999')
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([502, 'protocol_error'])
  })
})

describe('a refusal over HTTP/2', () => {
  test('is a problem for programs and a redirect for people', async () => {
    using stranger = open('app')
    const problem = await stranger.send('/echo')
    expect(problem.status).toBe(401)
    expect(problem.header('content-type')).toBe('application/problem+json')
    expect(JSON.parse(problem.text)).toMatchObject({ code: 'unauthenticated' })
    const page = await stranger.send('/echo', { headers: { accept: 'text/html' } })
    expect(page.status).toBe(302)
    expect(page.header('location')).toMatch(/^https:\/\/portal\.sallyport\.localhost:\d+\//)
    using nobody = open('nobody')
    const notFound = await nobody.send('/', { headers: { accept: 'text/html' } })
    expect([notFound.status, notFound.text]).toEqual([404, expect.stringContaining('<h1')])
  })

  test('of an upload is answered at once, asks for no more, and leaves the connection as it was', async () => {
    using stranger = open('app')
    const upload = stranger.start('/echo', { headers: post, endStream: false })
    const answer = answerOf(upload)
    bodyStream(20_000_000)
      .on('error', () => undefined)
      .pipe(upload)
    expect(await answer).toMatchObject({ status: 401, code: constants.NGHTTP2_NO_ERROR })
    expect((await stranger.send('/echo')).status).toBe(401)
    expect(stranger.session.closed).toBe(false)
  })

  test('by the origin while it uploads arrives too', async () => {
    const upload = client.start('/ways/answers%20before%20the%20upload%20is%20over', {
      headers: post,
      endStream: false,
    })
    const answer = answerOf(upload)
    bodyStream(20_000_000)
      .on('error', () => undefined)
      .pipe(upload)
    expect(await answer).toMatchObject({ status: 413, text: 'too large', code: 0 })
    expect((await client.send('/bytes/5')).status).toBe(200)
  })
})

describe('whoever breaks off', () => {
  test('a client that resets its stream ends the request at the origin within a second', async () => {
    const stream = client.start('/ways/hangs?reset')
    await expect.poll(() => origin.latest('/ways/hangs')?.path).toBe('/ways/hangs?reset')
    const startedAt = performance.now()
    stream.close(constants.NGHTTP2_CANCEL)
    await expect.poll(() => origin.latest('/ways/hangs')?.end).toBe('broken')
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })

  test.each([
    ['cancels', constants.NGHTTP2_CANCEL],
    ['says no error', constants.NGHTTP2_NO_ERROR],
  ])(
    'a client that leaves within its body and %s has sent no whole request',
    async (_name, code) => {
      let end: string | undefined
      let received = ''
      origin.at('/half', req => {
        req.on('data', chunk => {
          received += chunk
        })
        req.on('end', () => {
          end = 'whole'
        })
        req.on('close', () => {
          end ??= 'broken'
        })
      })
      using socket = await connectFrames()
      socket.write(frames.headers(1, fieldsOf('/half')))
      socket.write(frames.data(1, 'hello'))
      await expect.poll(() => received).toBe('hello')
      socket.write(frames.reset(1, code))
      await expect.poll(() => end).toBe('broken')
      // A small body of known length is collected first: then there is no request at all.
      const before = origin.seen.length
      socket.write(frames.headers(3, [...fieldsOf('/half'), ['content-length', '10']]))
      socket.write(frames.data(3, 'hello'))
      socket.write(frames.reset(3, code))
      socket.write(frames.headers(5, fieldsOf('/half')))
      socket.write(frames.data(5, 'hello'))
      await expect.poll(() => origin.seen.length).toBe(before + 1)
    },
  )

  test('a client that leaves while its answer waits for room, and says no error, has left', async () => {
    origin.at('/unfinished', (_req, res) => res.write(bodyOf(300_000)))
    using socket = await connectFrames()
    let received = Buffer.alloc(0)
    socket.on('data', chunk => {
      received = Buffer.concat([received, chunk])
    })
    // It takes nothing of an answer but its head (RFC 9113 §6.5.2).
    const noRoom = Buffer.from([0, 4, 0, 0, 0, 0])
    socket.write(frames.frame(frames.types.settings, 0, 0, noRoom))
    socket.write(frames.headers(1, fieldsOf('/unfinished')))
    socket.write(frames.data(1, 'hello'))
    const head = Buffer.from([frames.types.headers, 4, 0, 0, 0, 1])
    await expect.poll(() => received.includes(head)).toBe(true)
    socket.write(frames.reset(1, constants.NGHTTP2_NO_ERROR))
    await expect.poll(() => origin.latest('/unfinished')?.end).toBe('broken')
  })

  test('a hundred streams at once are a hundred requests', async () => {
    const paths = Array.from({ length: 100 }, (_, i) => `/echo?${i}`)
    const answers = await Promise.all(paths.map(path => echo(path)))
    expect(answers.map(({ target }) => target)).toEqual(paths)
  })
})

test('HTTP/1.1 works over the same port, and is told of TLS too', async () => {
  const request = https.get(`${system.gatewayUrls[0]}/echo`, {
    ca: certificate.cert,
    agent: false,
    headers: { host: client.authority, cookie },
  })
  const [response] = await once(request, 'response')
  const seen: Echo = JSON.parse(Buffer.concat(await response.toArray()).toString())
  expect(valuesOf(seen, 'x-forwarded-proto')).toEqual(['https'])
  expect(valuesOf(seen, 'via')).toEqual(['1.1 sallyport'])
})

test('a gateway that stops finishes its streams and tells clients to go elsewhere', async () => {
  const gateway = await system.add('gateway')
  const url = `https://127.0.0.1:${gateway.details.port}`
  using visitor = new Http2Client({
    gateway: url,
    ca: certificate.cert,
    host: 'app',
    headers: { cookie },
  })
  let finish: (() => void) | undefined
  origin.at('/long', (_req, res) => {
    res.write('begun ')
    finish = () => res.end('finished')
  })
  const answer = visitor.send('/long')
  await expect.poll(() => finish).toBeDefined()
  const stopped = system.stop(gateway)
  expect(await visitor.goneAway).toMatchObject({ code: 0 })
  finish?.()
  expect(await answer).toMatchObject({ status: 200, text: 'begun finished', code: 0 })
  await stopped
  expect(gateway.exitCode).toBe(0)
})

describe.each([['h2c'], ['TLS']])('an origin that speaks HTTP/2 (%s)', kind => {
  let http2: Http2Origin
  const name = `http2-${kind.toLowerCase()}`
  const at = (path: string) => `/${name}${path}`

  beforeAll(async () => {
    const limit = { settings: { maxConcurrentStreams: 4 } }
    http2 = await startHttp2Origin(kind === 'TLS' ? { certificate, ...limit } : limit)
    await publish(name, http2.url)
    http2.at('/', stream => stream.respond({ ':status': 204 }, { endStream: true }))
    while ((await client.send(at('/'))).status !== 204) await nextTurn()
  })
  afterAll(() => http2[Symbol.asyncDispose]())
  beforeEach(() => (http2.seen as string[][]).splice(0))

  test('gets the request in its own form, without fields of HTTP/1.1', async () => {
    const headers = { te: 'trailers', cookie: [cookie, 'a=1', 'b=2'], 'x-own': ['1', '2'] }
    expect(await client.send(at('/'), { headers })).toMatchObject({ status: 204, code: 0 })
    const [seen = []] = http2.seen
    const value = (field: string) => seen[seen.indexOf(field) + 1]
    expect(value(':authority')).toBe(new URL(http2.url).host)
    expect(value(':scheme')).toBe(new URL(http2.url).protocol.slice(0, -1))
    expect([value(':path'), value('te'), value('cookie')]).toEqual(['/', 'trailers', 'a=1; b=2'])
    expect(seen.filter(field => field === 'x-own')).toHaveLength(2)
    expect(seen).not.toContain('host')
  })

  test.each([0, 5, 65_537, 3_000_000])('takes and gives %i bytes', async bytes => {
    http2.at('/', stream => {
      stream.respond({ ':status': 200, 'set-cookie': ['a=1', 'b=2'] })
      stream.pipe(stream)
    })
    for (const length of [{}, { 'content-length': `${bytes}` }]) {
      const headers = { ...post, ...length }
      const answer = await client.send(at('/'), { headers, body: bodyOf(bytes) })
      expect(answer.body.equals(bodyOf(bytes))).toBe(true)
      expect(answer.all('set-cookie')).toEqual(['a=1', 'b=2'])
      expect(answer.code).toBe(0)
    }
  })

  test('talks in both directions at once', async () => {
    http2.at('/', stream => {
      stream.respond({ ':status': 200 })
      stream.on('data', chunk => stream.write(`heard ${chunk}`)).on('end', () => stream.end())
    })
    const stream = client.start(at('/'), { headers: post, endStream: false })
    stream.setEncoding('utf8')
    for (const word of ['one', 'two', 'three']) {
      stream.write(word)
      expect(await once(stream, 'data')).toEqual([`heard ${word}`])
    }
    stream.end()
    expect(await answerOf(stream)).toMatchObject({ code: 0 })
  })

  test('sends trailers, after a body and alone', async () => {
    http2.at('/', stream => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': ['1', '2'] }))
      stream.end('body')
    })
    const { text, trailers } = await client.send(at('/'))
    expect([text, trailers]).toEqual([
      'body',
      [
        ['x-sum', '1'],
        ['x-sum', '2'],
      ],
    ])
    http2.at('/', stream =>
      stream.respond({ ':status': 200, 'grpc-status': '5' }, { endStream: true }),
    )
    const stream = client.start(at('/'))
    const [, flags] = await once(stream, 'response')
    // The head alone ends the stream: a client of gRPC takes its fields for trailers only then.
    expect(flags & constants.NGHTTP2_FLAG_END_STREAM).not.toBe(0)
  })

  test('gets one connection more when it takes no more streams on the first', async () => {
    const waiting = new Set<() => void>()
    http2.at('/', stream => {
      const finish = () => stream.respond({ ':status': 204 }, { endStream: true })
      waiting.add(finish)
    })
    const answers = Array.from({ length: 10 }, () => client.send(at('/')))
    await expect.poll(() => waiting.size).toBe(10)
    expect(http2.sessions.length).toBe(3)
    for (const finish of waiting) finish()
    for (const { status } of await Promise.all(answers)) expect(status).toBe(204)
    const before = http2.connected
    for (let i = 0; i < 10; i++) {
      http2.at('/', stream => stream.respond({ ':status': 204 }, { endStream: true }))
      await client.send(at('/'))
    }
    expect(http2.connected).toBe(before)
  })

  test('is not taken for busy by answers that clients left before they had taken them', async () => {
    http2.at('/', stream => stream.respond({ ':status': 204 }, { endStream: true }))
    await client.send(at('/'))
    const before = http2.connected
    http2.at('/', stream => {
      stream.respond({ ':status': 200 })
      stream.end(bodyOf(400_000))
    })
    for (let i = 0; i < 5; i++) {
      const stream = client.start(at('/')).pause()
      await headOf(stream)
      // What the origin still sends has arrived by now, as far as anybody takes it.
      await Promise.all(http2.sessions.map(it => new Promise(resolve => it.ping(resolve))))
      stream.close(constants.NGHTTP2_CANCEL)
    }
    http2.at('/', stream => stream.respond({ ':status': 204 }, { endStream: true }))
    await client.send(at('/'))
    expect(http2.connected).toBe(before)
  })

  test('that says GOAWAY finishes what it has, and gets a new connection for the rest', async () => {
    http2.at('/', stream => {
      for (const session of http2.sessions) session.close()
      setTimeout(() => stream.respond({ ':status': 204 }, { endStream: true }), 20)
    })
    for (let i = 0; i < 10; i++) expect((await client.send(at('/'))).status).toBe(204)
  })

  test('that refuses a stream unprocessed is asked once more, whatever the method', async () => {
    let times = 0
    http2.at('/', stream => {
      if (times++ === 0) stream.close(constants.NGHTTP2_REFUSED_STREAM)
      else stream.respond({ ':status': 204 }, { endStream: true })
    })
    const headers = { ...post, 'content-length': '5' }
    expect((await client.send(at('/'), { headers, body: bodyOf(5) })).status).toBe(204)
    expect(times).toBe(2)
  })

  test.each([
    ['resets before the head', constants.NGHTTP2_INTERNAL_ERROR, 'origin_unreachable'],
    ['cancels before the head', constants.NGHTTP2_CANCEL, 'origin_unreachable'],
    ['wants HTTP/1.1', constants.NGHTTP2_HTTP_1_1_REQUIRED, 'origin_protocol_error'],
  ])('that %s is a 502', async (_name, code, fault) => {
    let times = 0
    http2.at('/', stream => {
      times++
      stream.close(code)
    })
    const answer = await client.send(at('/'), { headers: post, body: bodyOf(5) })
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([502, fault])
    expect(times).toBe(1)
  })

  test('hears within a second of a client that went away', async () => {
    let rstCode: number | undefined
    http2.at('/', stream => {
      stream.respond({ ':status': 200 })
      stream.once('close', () => {
        rstCode = stream.rstCode
      })
    })
    const stream = client.start(at('/'), { headers: post, endStream: false })
    await headOf(stream)
    const startedAt = performance.now()
    stream.close(constants.NGHTTP2_CANCEL)
    await expect.poll(() => rstCode).toBe(constants.NGHTTP2_CANCEL)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })
})

describe('an origin of HTTP/2 that', () => {
  const length: [string, string] = ['content-length', '100000']
  const head = (stream: number, ...fields: [string, string][]) =>
    Buffer.concat([
      frames.headers(stream, [[':status', '200'], ...fields]),
      frames.data(stream, 'x'),
    ])
  const garbage = Buffer.from('HTTP/1.1 200 OK\r\n\r\n')

  test.each([
    ['resets with an error', (id: number) => [head(id, length), frames.reset(id, 2)]],
    ['resets without an error', (id: number) => [head(id, length), frames.reset(id, 0)]],
    ['ends the connection', (id: number) => [head(id), frames.goAway(id, 2)]],
    ['goes on with what is no frame', (id: number) => [head(id), garbage]],
  ])('%s within its answer leaves it visibly broken', async (name, bytes) => {
    await using broken = await frames.startFrameOrigin((id, socket) => {
      const [first = garbage, then = garbage] = bytes(id)
      // Not with the head, or there would be no answer yet that could break.
      setTimeout(() => socket.destroyed || socket.write(then), 100)
      return first
    })
    const id = name.replaceAll(' ', '-')
    await publish(id, broken.url)
    await expect.poll(async () => (await client.send(`/${id}/`)).status).toBe(200)
    expect(await client.send(`/${id}/`)).toMatchObject({ status: 200, code: 2 })
  })

  test.each([
    ['answers with what is no frame', () => garbage, 'origin_protocol_error'],
    ['answers with data alone', (id: number) => frames.data(id, 'x'), 'origin_protocol_error'],
    ['says GOAWAY with an error', () => frames.goAway(0, 2), 'origin_unreachable'],
  ])('%s is a 502 %s', async (name, bytes, fault) => {
    await using broken = await frames.startFrameOrigin(bytes)
    const id = name.replaceAll(' ', '-').toLowerCase()
    await publish(id, broken.url)
    const code = async () => {
      const { status, text } = await client.send(`/${id}/`, { headers: post })
      return status === 502 ? JSON.parse(text).code : status
    }
    await expect.poll(code).toBe(fault)
  })
})

test.each([
  ['speaks HTTP/1.1 alone', () => origin.url],
  ['speaks HTTP/1.1 where TLS is expected', () => origin.url.replace('http:', 'https:')],
])('an origin that %s is a protocol error when HTTP/2 was said', async (_name, url) => {
  const name = `no-http2-${url().slice(0, 5).replace(':', '')}`
  await publish(name, url())
  const code = async () => JSON.parse((await client.send(`/${name}/`)).text || '{}').code
  await expect.poll(code, { timeout: 5_000 }).toBe('origin_protocol_error')
})

test('an origin of HTTP/2 that is away is unreachable at once, and is served when it is there', async () => {
  const gone = await startHttp2Origin()
  await gone[Symbol.asyncDispose]()
  await publish('away', gone.url)
  const outcome = async () => {
    const { status, text } = await client.send('/away/')
    return status === 502 ? JSON.parse(text).code : status
  }
  await expect.poll(outcome).toBe('origin_unreachable')
})

/** A connection that speaks in frames, after the preface. */
async function connectFrames(): Promise<TLSSocket & Disposable> {
  const socket = connectTls({
    port: Number(new URL(system.gatewayUrls[0] as string).port),
    host: '127.0.0.1',
    servername: 'app.sallyport.localhost',
    ca: certificate.cert,
    ALPNProtocols: ['h2'],
  })
  await once(socket, 'secureConnect')
  socket.on('error', () => undefined).resume()
  socket.write(frames.preface)
  socket.write(frames.settings())
  return Object.assign(socket, { [Symbol.dispose]: () => void socket.destroy() })
}

/** Of a POST, its body to follow. */
const fieldsOf = (path: string): [string, string][] => [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':path', path],
  [':authority', client.authority],
  ['cookie', cookie],
]

/** Below the host of the application, as an origin of HTTP/2. */
async function publish(name: string, internalUrl: string): Promise<void> {
  await administer(system, 'POST', '/applications', {
    id: name,
    displayName: name,
    appRoleAssignmentRequired: false,
    onPremisesPublishing: {
      externalUrl: `https://app.sallyport.localhost:${system.port}/${name}/`,
      internalUrl,
      originHttpVersion: 'http2',
    },
  })
}

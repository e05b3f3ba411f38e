/** What a request over HTTP/2 may have that HTTP/1.1 libraries do not send: trailers, and any method that is a token. */

import { constants } from 'node:http2'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { administer } from '../harness/admin.ts'
import { bodyOf, digestOf } from '../harness/bodies.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { answerOf, Http2Client, type Http2Send } from '../harness/http2-client.ts'
import { type Http2Origin, startHttp2Origin } from '../harness/http2-origin.ts'
import { type Echo, type Origin, pairsOf, startOrigin } from '../harness/origin.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

let certificate: TestCertificate
let system: TestSystem
/** Origins of either version, at hosts of their names. */
let http1: Origin
let http2: Http2Origin

beforeAll(async () => {
  certificate = await createCertificate()
  http1 = await startOrigin()
  http2 = await startHttp2Origin()
  http2.at('/echo', (stream, { ':method': method, ...fields }) => {
    const body: Uint8Array[] = []
    let trailers: [string, string][] = []
    stream.on('data', (chunk: Buffer) => body.push(chunk))
    stream.on('trailers', (_headers, _flags, raw) => {
      trailers = pairsOf(raw)
    })
    stream.on('end', () => {
      stream.respond({ ':status': 200 })
      const headers = Object.entries(fields)
      const facts = { method, headers, trailers, ...digestOf(Buffer.concat(body)) }
      stream.end(JSON.stringify(facts))
    })
  })
  const open = { displayName: 'Open', access: 'passthrough' } as const
  system = await startSystem({
    environment: { ...certificate.environment, NODE_EXTRA_CA_CERTS: certificate.certificatePath },
    publish: [
      { ...open, name: 'http1', internalUrl: http1.url },
      { ...open, name: 'http2', internalUrl: http2.url },
    ],
  })
  const spoken = { originHttpVersion: 'http2' }
  await administer(system, 'PATCH', '/applications/http2/onPremisesPublishing', spoken)
  using client = visit('http2')
  const isSpoken = async () => expect((await client.send('/echo')).status).toBe(200)
  await vi.waitFor(isSpoken, { timeout: 10_000 })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await http2[Symbol.asyncDispose]()
  await http1[Symbol.asyncDispose]()
  await certificate[Symbol.asyncDispose]()
})

const visit = (host: string) =>
  new Http2Client({ gateway: system.gatewayUrls[0] as string, ca: certificate.cert, host })
const post = { ':method': 'POST' }

describe.each(['http1', 'http2'])('to an origin of %s', host => {
  /** With these trailers behind the body. */
  async function echo(body: Buffer, trailers: Record<string, string>, more: Http2Send['headers']) {
    using client = visit(host)
    const stream = client.start('/echo', {
      headers: { ...post, trailer: Object.keys(trailers).join(', '), ...more },
      endStream: false,
      waitForTrailers: true,
    })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    stream.end(body)
    const { status, text } = await answerOf(stream)
    expect(status).toBe(200)
    return JSON.parse(text) as Echo
  }

  test.each([0, 5, 70_000, 3_000_000])(
    'RFC 9113 §8.1: trailers follow a body of %i bytes, its length told or not',
    async bytes => {
      const body = bodyOf(bytes)
      for (const length of [{}, { 'content-length': `${bytes}` }]) {
        const seen = await echo(body, { 'x-sum': '1', 'x-more': 'a, b' }, length)
        expect(seen).toMatchObject(digestOf(body))
        const announced = seen.headers.filter(([name]) => name.toLowerCase() === 'trailer')
        expect(announced.map(([, value]) => value)).toEqual(['x-sum, x-more'])
        expect(seen.trailers).toEqual([
          ['x-sum', '1'],
          ['x-more', 'a, b'],
        ])
      }
    },
  )

  test('RFC 9110 §5.1: trailers may have any name', async () => {
    const seen = await echo(bodyOf(5), { 'x-sum': '1', constructor: '2' }, {})
    expect(seen.trailers).toEqual([
      ['x-sum', '1'],
      ['constructor', '2'],
    ])
    expect(system.services.of('connector')[0]?.restarts).toBe(0)
  })

  test('RFC 9110 §6.5.1: trailers that frame, route or say who asks do not go on', async () => {
    const forbidden = { 'x-sallyport-user': 'admin', authorization: 'Basic eDp5', cookie: 'a=1' }
    const seen = await echo(bodyOf(5), { 'x-sum': '1', ...forbidden }, {})
    expect(seen.trailers).toEqual([['x-sum', '1']])
    expect(JSON.stringify(seen)).not.toMatch(/admin|eDp5/)
  })

  test('RFC 9110 §9.1: a method that nobody knows is refused until the application allows it', async () => {
    using client = visit(host)
    const status = async (method: string) =>
      (await client.send('/echo', { headers: { ':method': method } })).status
    const answer = await client.send('/echo', { headers: { ':method': 'FETCH-ALL' } })
    expect([answer.status, answer.header('allow')]).toEqual([
      405,
      expect.stringMatching(/\bGET\b.*\bPROPFIND\b/),
    ])
    const path = `/applications/${host}/onPremisesPublishing`
    await administer(system, 'PATCH', path, { allowedHttpMethods: ['*'] })
    // Our origin of HTTP/1.1 does not know the method either, and says so.
    const reached = host === 'http1' ? 400 : 200
    await expect.poll(() => status('FETCH-ALL')).toBe(reached)
    expect(await status('PROPFIND')).toBe(200)
    expect(await status('TRACE')).toBe(405)
    await administer(system, 'PATCH', path, { allowedHttpMethods: ['POST', 'RDG_IN_DATA'] })
    await expect.poll(() => status('FETCH-ALL')).toBe(405)
    expect([await status('RDG_IN_DATA'), await status('GET')]).toEqual([reached, 405])
    await administer(system, 'PATCH', path, { allowedHttpMethods: null })
    await expect.poll(() => status('PROPFIND')).toBe(200)
  })
})

test('RFC 9110 §10.1.1: another expectation is told that it cannot be met', async () => {
  using client = visit('http1')
  const headers = { ...post, expect: 'the-unexpected', 'content-length': '5' }
  const stream = client.start('/echo', { headers, endStream: false })
  const answer = await answerOf(stream)
  expect([answer.status, JSON.parse(answer.text).code]).toEqual([417, 'expectation_failed'])
})

test('RFC 9110 §8.6: 204 has no length, whatever the origin says', async () => {
  using client = visit('http1')
  const answer = await client.send('/ways/sends%20204%20with%20a%20length')
  expect([answer.status, answer.header('content-length')]).toEqual([204, undefined])
  expect(answer.code).toBe(constants.NGHTTP2_NO_ERROR)
})

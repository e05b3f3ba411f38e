/**
 * Origins that refuse, hang, break off or send what is no HTTP: the client gets a clear problem or a transfer that is
 * visibly broken, never a clean end of half an answer; nothing hangs, nothing crashes, and the next request works.
 */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { administer } from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import type { Misbehaviour } from '../harness/misbehaviour.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: Origin
let system: TestSystem
let client: Client

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('app', origin.url)] })
  client = new Client(system.gatewayUrls[0] as string, await signInTo(system, 'app'))
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})
afterEach(async () => {
  expect((await client.send('/bytes/5')).status).toBe(200)
  const services = ['gateway', 'connector'] as const
  expect(services.map(role => system.services.of(role)[0]?.restarts)).toEqual([0, 0])
})

const pathOf = (way: Misbehaviour) => `/ways/${encodeURIComponent(way)}`

describe('an origin that', () => {
  test.each<[Misbehaviour, string]>([
    ['resets before the head', 'origin_unreachable'],
    ['closes before the head', 'origin_unreachable'],
    ['sends garbage', 'origin_protocol_error'],
    ['sends half a head', 'origin_unreachable'],
    ['sends a NUL in a header', 'origin_protocol_error'],
    ['sends a head of 100 KB', 'origin_protocol_error'],
    ['sends two lengths', 'origin_protocol_error'],
    ['sends a length that is none', 'origin_protocol_error'],
    ['sends length and chunks', 'origin_protocol_error'],
    ['sends status 99', 'origin_protocol_error'],
    ['switches protocols unasked', 'origin_protocol_error'],
    ['sends interim answers without end', 'origin_protocol_error'],
  ])('%s is a 502 %s that names nothing internal', async (way, code) => {
    const answer = await client.send(pathOf(way))
    expect(answer.status).toBe(502)
    expect(answer.header('content-type')).toBe('application/problem+json')
    const problem = answer.json<{ code: string; requestId: string }>()
    expect(problem).toMatchObject({ code, requestId: answer.header('sallyport-request-id') })
    expect(answer.text).not.toMatch(/127\.0\.0\.1|ECONN|UND_ERR|HPE_/)
    expect(answer.text).not.toContain(`${origin.port}`)
  })

  test.each<[Misbehaviour]>([
    ['sends much less than its length'],
    ['sends a broken chunk'],
    ['ends without the last chunk'],
    ['resets after the head'],
    ['resets in a body of unknown length'],
    ['resets in a small body'],
  ])('%s leaves the client with a transfer that is visibly broken', async way => {
    const { status, stream } = await client.open(pathOf(way))
    expect(status).toBe(200)
    await expect(stream.toArray()).rejects.toThrow('aborted')
    expect(stream.complete).toBe(false)
  })

  test('sends less than its length is never taken for whole, however little it is', async () => {
    const answer = await client.send(pathOf('sends less than its length')).catch(() => 'broken')
    // Whether anything had been passed on when the end came is a matter of milliseconds.
    if (answer !== 'broken') expect(answer).toMatchObject({ status: 502 })
  })

  test.each<[Misbehaviour, number, string]>([
    ['sends status 999', 999, 'ok'],
    ['sends more than its length', 200, 'ok'],
    ['ends its body with the connection', 200, 'hello'],
    ['sends 204 with a length', 204, ''],
    ['sends 204 with a body', 204, ''],
    ['sends 304 with a length', 304, ''],
    ['sends interim answers', 200, 'ok'],
    ['trickles', 200, 'x'.repeat(20)],
  ])('%s is understood: %i', async (way, status, text) => {
    expect(await client.send(pathOf(way))).toMatchObject({ status, text })
  })

  test('sends a second answer cannot slip it under the next request', async () => {
    for (let i = 0; i < 5; i++) {
      expect(await client.send(pathOf('sends a second answer'))).toMatchObject({ text: 'ok' })
      expect((await client.send('/bytes/5')).text).not.toContain('poison')
    }
  })

  test('sends interim answers has them forwarded as they are (RFC 9110 §15.2)', async () => {
    const interim: unknown[] = []
    await client.send(pathOf('sends interim answers'), {
      prepare: request =>
        request.on('information', info => interim.push([info.statusCode, ...info.rawHeaders])),
    })
    expect(interim).toEqual([
      [102],
      [103, 'Link', '</a.css>; rel=preload; as=style'],
      [103, 'Link', 'no link at all'],
    ])
  })

  test('trickles is passed on as it comes', async () => {
    const { stream } = await client.open(pathOf('trickles'))
    const [first] = (await once(stream, 'data')) as [Buffer]
    expect(first.length).toBeLessThan(20)
    stream.destroy()
  })

  test('breaks off is not asked twice for what may change something', async () => {
    const path = pathOf('resets before the head')
    const before = origin.seen.length
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) await client.send(path, { method })
    expect(origin.seen.slice(before).map(({ method }) => method)).toEqual([
      'POST',
      'PUT',
      'DELETE',
      'PATCH',
    ])
  })

  test('fails shows a page to people', async () => {
    const answer = await client.send(pathOf('sends garbage'), {
      headers: [['Accept', 'text/html']],
    })
    expect(answer.status).toBe(502)
    expect(answer.header('content-type')).toBe('text/html; charset=utf-8')
    expect(answer.text).toContain('The application gave an answer that is not valid HTTP')
    expect(answer.text).toContain(answer.header('sallyport-request-id'))
  })

  test('hangs delays nobody else, and is left when its client leaves', async () => {
    const leaving = new AbortController()
    const hanging = Array.from({ length: 20 }, () =>
      client.open(pathOf('hangs'), { signal: leaving.signal }),
    )
    const waiting = Promise.allSettled(hanging)
    const arrived = () => origin.seen.filter(({ path }) => path === pathOf('hangs'))
    await expect.poll(() => arrived().length).toBe(20)
    // One and a half seconds: longer than a connector may be silent, but it has said that it is at work.
    for (let i = 0; i < 3; i++) expect((await client.send(pathOf('trickles'))).status).toBe(200)
    expect(arrived().every(({ end }) => end === undefined)).toBe(true)
    leaving.abort()
    await waiting
    await expect.poll(() => arrived().every(({ end }) => end === 'broken')).toBe(true)
    expect(arrived()).toHaveLength(20)
  })
})

describe('an origin that is away', () => {
  test('is a 502 origin_unreachable at once, for every method, and works again when it is back', async () => {
    await origin.close()
    for (const method of ['GET', 'POST', 'DELETE']) {
      const startedAt = performance.now()
      const answer = await client.send('/echo', { method, body: Buffer.from('x') })
      expect(answer.status).toBe(502)
      expect(answer.json()).toMatchObject({ code: 'origin_unreachable' })
      expect(answer.header('retry-after')).toBeDefined()
      expect(performance.now() - startedAt).toBeLessThan(1_000)
    }
    await origin.reopen()
    const status = async () => (await client.send('/bytes/5')).status
    await expect.poll(status, { timeout: 3_000, interval: 50 }).toBe(200)
  })

  test('one origin that is away does not take the others with it', async () => {
    const other = await startOrigin()
    await administer(system, 'POST', '/applications', {
      id: 'gone',
      displayName: 'Gone',
      appRoleAssignmentRequired: false,
      onPremisesPublishing: {
        externalUrl: `http://app.sallyport.localhost:${system.port}/gone/`,
        internalUrl: other.url,
      },
    })
    await other[Symbol.asyncDispose]()
    const status = async () => (await client.send('/gone/x')).status
    await expect.poll(status).toBe(502)
    for (let i = 0; i < 10; i++) {
      expect(await Promise.all([status(), client.send('/bytes/1').then(it => it.status)])).toEqual([
        502, 200,
      ])
    }
  })

  test('a host name that does not exist is a 502 too', async () => {
    await administer(system, 'POST', '/applications', {
      id: 'nowhere',
      displayName: 'Nowhere',
      appRoleAssignmentRequired: false,
      onPremisesPublishing: {
        externalUrl: `http://app.sallyport.localhost:${system.port}/nowhere/`,
        internalUrl: 'http://no-such-host.invalid/',
      },
    })
    const code = async () => (await client.send('/nowhere/x')).json().code
    await expect.poll(code, { timeout: 5_000 }).toBe('origin_unreachable')
  })
})

describe('over TLS', () => {
  let secure: Server
  let folder: string
  const publish = (id: string, internalUrl: string, more: object = {}) =>
    administer(system, 'POST', '/applications', {
      id,
      displayName: id,
      appRoleAssignmentRequired: false,
      onPremisesPublishing: {
        externalUrl: `http://app.sallyport.localhost:${system.port}/${id}/`,
        internalUrl,
        ...more,
      },
    })
  const outcome = async (id: string) => {
    const answer = await client.send(`/${id}/`)
    return answer.status === 200 ? answer.text : answer.json().code
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-tls-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
    const subject = ['-nodes', '-days', '2', '-subj', '/CN=localhost']
    await promisify(execFile)('openssl', [...request, ...subject, '-keyout', key, '-out', cert])
    secure = createServer({ key: await readFile(key), cert: await readFile(cert) }, (_req, res) =>
      res.end('over TLS'),
    ).listen(0, '127.0.0.1')
    await once(secure, 'listening')
  })
  afterAll(async () => {
    secure.close().closeAllConnections()
    await rm(folder, { recursive: true })
  })
  const secureUrl = () => `https://localhost:${(secure.address() as AddressInfo).port}/`

  test('a certificate that nobody vouches for is refused, unless the application says otherwise', async () => {
    await publish('strict', secureUrl())
    await expect.poll(() => outcome('strict')).toBe('origin_certificate_invalid')
    await publish('lax', secureUrl(), { isBackendCertificateValidationEnabled: false })
    await expect.poll(() => outcome('lax')).toBe('over TLS')
  })

  test('an origin that speaks no TLS is a protocol error', async () => {
    await publish('plain', origin.url.replace('http:', 'https:'))
    await expect.poll(() => outcome('plain')).toBe('origin_protocol_error')
  })

  test('an origin that wants TLS where none is spoken is a protocol error', async () => {
    await publish('bare', secureUrl().replace('https:', 'http:'))
    await expect.poll(() => outcome('bare')).toMatch(/^origin_(protocol_error|unreachable)$/)
  })
})

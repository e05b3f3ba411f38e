/** Whoever goes away: the other side hears of it within a second, whatever is under way and in whichever direction. */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants } from 'node:http2'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { administer } from '../harness/admin.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { Client, type SendOptions } from '../harness/client.ts'
import { Http2Client, headOf } from '../harness/http2-client.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: Origin
let system: TestSystem
let visitor: Visitor
let client: Client
/** A gateway of its own for HTTP/2, which needs TLS. */
let secure: { system: TestSystem; certificate: TestCertificate; client: Http2Client }

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('app', origin.url)] })
  visitor = await signInTo(system, 'app')
  client = new Client(system.gatewayUrls[0] as string, visitor)
  secure = await startSecure()
})
afterAll(async () => {
  client[Symbol.dispose]()
  secure.client[Symbol.dispose]()
  await secure.system[Symbol.asyncDispose]()
  await secure.certificate[Symbol.asyncDispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

async function startSecure() {
  const certificate = await createCertificate()
  const own = await startSystem({
    environment: { ...certificate.environment, NODE_EXTRA_CA_CERTS: certificate.certificatePath },
    publish: [signedInApplication('app', origin.url)],
  })
  using alice = new UserAgent({ ca: certificate.cert })
  const url = `https://app.sallyport.localhost:${own.port}/`
  await alice.signIn(url, 'alice@sallyport.example', 'wonderland')
  const http2 = new Http2Client({
    gateway: own.gatewayUrls[0] as string,
    ca: certificate.cert,
    host: 'app',
    headers: { cookie: alice.cookies.header(new URL(url)) ?? '' },
  })
  return { system: own, certificate, client: http2 }
}

interface AtOrigin {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Resolves when the request is over at the origin, with what it was: whole, or broken off. */
  readonly ended: Promise<'whole' | 'broken'>
}

/** The next request to a path, once the origin has done with it what is said here. */
function arrival(path: string, answer: (res: ServerResponse) => unknown = () => undefined) {
  const { promise, resolve } = Promise.withResolvers<AtOrigin>()
  origin.at(path, (req, res) => {
    req.on('error', () => undefined).resume()
    const ended = new Promise<'whole' | 'broken'>(over =>
      res.once('close', () => over(res.writableFinished ? 'whole' : 'broken')),
    )
    answer(res)
    resolve({ req, res, ended })
  })
  return promise
}

const begin = (res: ServerResponse, type = 'application/octet-stream') => {
  res.writeHead(200, { 'content-type': type })
  res.write('begun')
}
const asEvents = (res: ServerResponse) => begin(res, 'text/event-stream')

/** What the gateway answers by itself: it has seen what was sent before. */
const health = '/.sallyport/health'

const leaveWithBody = (path: string) => leave(path, { body: Buffer.from('a small body') })

async function leave(path: string, options: SendOptions = {}): Promise<void> {
  const request = client.start(path, { agent: false, ...options })
  await once(request, 'finish')
  await client.send(health)
  request.destroy()
  await client.send(health)
}

async function leaveHttp2(path: string): Promise<void> {
  const stream = secure.client.start(path)
  await secure.client.send(health)
  stream.close(constants.NGHTTP2_CANCEL)
  await secure.client.send(health)
}

async function withinASecond<T>(work: Promise<T>): Promise<T> {
  const late = AbortSignal.timeout(1_000)
  const never = new Promise<never>((_, reject) => {
    late.onabort = () => reject(new Error('it took longer than a second'))
  })
  return Promise.race([work, never])
}

describe('a client that goes away', () => {
  test.each([
    ['before there is an answer', undefined],
    ['within a download', begin],
    ['from server-sent events', asEvents],
  ])('%s breaks the request off at the origin', async (name, answer) => {
    const path = `/leaves-${name.length}`
    const arrived = arrival(path, answer)
    const request = client.start(path, { agent: false })
    const { ended } = await arrived
    if (answer) await once((await once(request, 'response'))[0] as IncomingMessage, 'data')
    request.destroy()
    expect(await withinASecond(ended)).toBe('broken')
  })

  test.each([
    ['HTTP/1.1', () => ({ of: system, start: leave })],
    ['HTTP/1.1 with a body', () => ({ of: system, start: leaveWithBody })],
    ['HTTP/2', () => ({ of: secure.system, start: leaveHttp2 })],
  ])('before policy has decided is no burden to the origin, in %s', async (version, how) => {
    const path = `/gone-before-${version.length}`
    const { of, start } = how()
    const events = await followAudit(of)
    // What was decided before is forgotten.
    const displayName = `App ${version}`
    await administer(of, 'PATCH', '/applications/app', { displayName })
    const [policy] = of.services.of('policy')
    process.kill(policy?.pid as number, 'SIGSTOP')
    const ended = Promise.withResolvers<void>()
    origin.at(path, (_req, res) => {
      res.once('close', ended.resolve)
      begin(res)
    })
    await start(path).finally(() => process.kill(policy?.pid as number, 'SIGCONT'))
    const seen = () => liveAccess(events).filter(event => event.path === path)
    await expect.poll(seen).toMatchObject([{ outcome: 'aborted', status: null }])
    if (origin.latest(path)) await withinASecond(ended.promise)
  })

  test('within a small body is recorded, though nobody else hears of it', async () => {
    const path = '/gone-within'
    const events = await followAudit(system)
    const request = client.start(path, { method: 'POST', headers: [['Content-Length', '9']] })
    await once(request, 'finish')
    await client.send(health)
    request.destroy()
    const seen = () => liveAccess(events).filter(event => event.path === path)
    await expect.poll(seen).toMatchObject([{ outcome: 'aborted', status: null, attempts: 0 }])
    expect(origin.latest(path)).toBeUndefined()
  })

  test('within an upload breaks it off at the origin, which never takes it for whole', async () => {
    const arrived = arrival('/leaves-upload')
    const body = new PassThrough()
    const request = client.start('/leaves-upload', { body, agent: false })
    body.write('a'.repeat(100_000))
    const { req, ended } = await arrived
    await once(req, 'data')
    request.destroy()
    expect(await withinASecond(ended)).toBe('broken')
    expect(req.complete).toBe(false)
  })

  test.each([
    ['before there is an answer', undefined],
    ['within a download', begin],
    ['from server-sent events', asEvents],
  ])('by resetting its stream of HTTP/2 %s does so too', async (name, answer) => {
    const path = `/resets-${name.length}`
    const arrived = arrival(path, answer)
    const stream = secure.client.start(path)
    const { ended } = await arrived
    if (answer) {
      await headOf(stream)
      await once(stream, 'data')
    }
    stream.close(constants.NGHTTP2_CANCEL)
    expect(await withinASecond(ended)).toBe('broken')
  })

  test('from a WebSocket ends the one at the origin', async () => {
    const ws = await openSocket()
    await expect.poll(() => origin.upgraded).toBe(1)
    const startedAt = performance.now()
    ws.terminate()
    await expect.poll(() => origin.upgraded, { interval: 5 }).toBe(0)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })
})

describe('an origin that goes away', () => {
  const reset = ({ req }: AtOrigin) => req.socket.resetAndDestroy()

  test.each([
    ['within a download', begin],
    ['from server-sent events', asEvents],
  ])('%s breaks the answer off at the client, of either HTTP version', async (name, answer) => {
    const path = `/dies-${name.length}`
    const arrived = arrival(path, answer)
    const { stream } = await client.open(path, { agent: false })
    await once(stream, 'data')
    const broken = once(stream, 'error')
    reset(await arrived)
    expect(await withinASecond(broken)).toMatchObject([{ message: 'aborted' }])

    const again = arrival(path, answer)
    const http2 = secure.client.start(path)
    await headOf(http2)
    await once(http2, 'data')
    const closed = new Promise(resolve => http2.once('close', resolve))
    reset(await again)
    await withinASecond(closed)
    expect(http2.rstCode).toBe(constants.NGHTTP2_INTERNAL_ERROR)
  })

  test('within an upload is told to the client, who is still sending', async () => {
    const arrived = arrival('/dies-upload')
    const body = new PassThrough()
    const answer = client.send('/dies-upload', { body, agent: false })
    body.write('a'.repeat(100_000))
    const at = await arrived
    await once(at.req, 'data')
    reset(at)
    const { status } = await withinASecond(answer.finally(() => body.end()))
    expect(status).toBe(502)
  })

  test('from a WebSocket cuts the connection of the client', async () => {
    const ws = await openSocket()
    const closed = once(ws, 'close')
    ws.send('reset')
    expect((await withinASecond(closed))[0]).toBe(1006)
  })
})

async function openSocket(): Promise<WebSocket> {
  const url = `${client.gateway.href.replace('http', 'ws')}ws`
  const ws = new WebSocket(url, { headers: visitor.headers }).on('error', () => undefined)
  await once(ws, 'open')
  return ws
}

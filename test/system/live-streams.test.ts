/**
 * Streams that live long: events arrive at once, a stream ends when access does, and whoever stops says so to those
 * who are connected.
 */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { Http2Client, headOf } from '../harness/http2-client.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'

let certificate: TestCertificate
let origin: Origin
let system: TestSystem
let cookie: string

beforeAll(async () => {
  certificate = await createCertificate()
  origin = await startOrigin()
  system = await startSystem({
    environment: { ...certificate.environment, NODE_EXTRA_CA_CERTS: certificate.certificatePath },
    publish: [signedInApplication('app', origin.url)],
  })
  using alice = await signIn('alice@sallyport.example', 'wonderland')
  cookie = cookieOf(alice)
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  await certificate[Symbol.asyncDispose]()
})

const url = () => `https://app.sallyport.localhost:${system.port}/`
const cookieOf = (agent: UserAgent) => agent.cookies.header(new URL(url())) ?? ''

async function signIn(user: string, password: string): Promise<UserAgent> {
  const agent = new UserAgent({ ca: certificate.cert })
  await agent.signIn(url(), user, password)
  return agent
}

/** The answer to a GET over either HTTP version, as a stream. */
async function open(version: 'HTTP/1.1' | 'HTTP/2', path: string, session = cookie) {
  const gateway = system.gatewayUrls[0] as string
  const ca = certificate.cert
  if (version === 'HTTP/1.1') {
    const headers = { host: new URL(url()).host, cookie: session }
    const request = https.get(`${gateway}${path}`, { ca, headers, agent: false })
    request.on('error', () => undefined)
    const [stream] = (await once(request, 'response')) as [IncomingMessage]
    return { stream: stream as Readable, leave: () => request.destroy() }
  }
  const client = new Http2Client({ gateway, ca, host: 'app', headers: { cookie: session } })
  const stream = client.start(path)
  await headOf(stream)
  return { stream: stream as Readable, leave: () => client[Symbol.dispose]() }
}

async function openSocket(gateway = system.gatewayUrls[0] as string): Promise<WebSocket> {
  const headers = { host: new URL(url()).host, cookie }
  const ws = new WebSocket(`${gateway.replace('http', 'ws')}/ws`, { headers, ca: certificate.cert })
  ws.on('error', () => undefined)
  await once(ws, 'open')
  return ws
}

function source(path: string, type: string): Promise<ServerResponse> {
  const { promise, resolve } = Promise.withResolvers<ServerResponse>()
  origin.at(path, (_req, res) => {
    res.writeHead(200, { 'content-type': type }).flushHeaders()
    resolve(res)
  })
  return promise
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number

describe.each(['HTTP/1.1', 'HTTP/2'] as const)('over %s', version => {
  test.each([
    ['server-sent events', 'text/event-stream'],
    ['a download of unknown length', 'application/octet-stream'],
  ])('single octets of %s arrive within 50 ms each', async (_name, type) => {
    const coming = source('/octets', type)
    const { stream, leave } = await open(version, '/octets')
    const origin = await coming
    const took: number[] = []
    for (let i = 0; i < 40; i++) {
      const startedAt = performance.now()
      const arrived = once(stream, 'data')
      origin.write('x')
      expect(String((await arrived)[0])).toBe('x')
      took.push(performance.now() - startedAt)
    }
    // The middle one: a machine that does something else delays single ones.
    expect(median(took)).toBeLessThan(50)
    leave()
  })

  test.each([
    ['server-sent events', 'text/event-stream'],
    ['a download', 'application/octet-stream'],
  ])(
    '%s end within a second when the session does, here and at the origin',
    async (_name, type) => {
      using carol = await signIn('carol@sallyport.example', 'compass')
      const portal = await carol.visit(system.portal)
      const coming = source('/live', type)
      const { stream, leave } = await open(version, '/live', cookieOf(carol))
      const atOrigin = await coming
      atOrigin.write('begun')
      await once(stream, 'data')
      const broken = new Promise(resolve => stream.once('error', resolve))
      const left = once(atOrigin, 'close')
      const startedAt = performance.now()
      await carol.submit(portal, {}, { form: 'sign-out' })
      await broken
      await left
      expect(performance.now() - startedAt).toBeLessThan(1_000)
      leave()
    },
  )
})

test('a connector that stops gives WebSockets its grace, then tells their clients to come again (1012)', async () => {
  const leaving = await system.add('connector', { SALLYPORT_CONNECTOR_DRAIN_SECONDS: '1' })
  // Some at each of the two connectors, whichever the queue picks.
  const sockets = await Promise.all(Array.from({ length: 16 }, () => openSocket()))
  const closed: (readonly [code: number, at: number])[] = []
  for (const ws of sockets) ws.on('close', code => closed.push([code, performance.now()]))
  const stoppedAt = performance.now()
  await system.stop(leaving)
  await expect.poll(() => closed.length).toBeGreaterThan(0)
  for (const [code, at] of closed) {
    expect(code).toBe(1012)
    expect(at - stoppedAt).toBeGreaterThan(900)
  }
  const others = sockets.filter(ws => ws.readyState === WebSocket.OPEN)
  expect(others.length).toBeGreaterThan(0)
  for (const ws of others) {
    ws.send('still here')
    expect(String((await once(ws, 'message'))[0])).toBe('still here')
    ws.terminate()
  }
})

/** Pages of other origins that an application lets in: by scripts (CORS), forms and WebSockets. And what they may not. */

import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { administer } from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

const spa = 'https://spa.example.com'
const login = 'https://login.example.net'
const stranger = 'https://stranger.example.org'

let origin: Origin
let system: TestSystem
let visitor: Visitor
let client: Client
/** Without a session. */
let anybody: Client

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({
    publish: ['app', 'closed'].map(name => signedInApplication(name, origin.url)),
  })
  await configure('app', {
    corsConfigurations: [
      {
        resource: '/echo',
        allowedOrigins: [spa],
        allowedMethods: ['GET', 'PUT', 'REPORT'],
        allowedHeaders: ['Content-Type', 'X-Spa-*'],
        maxAgeInSeconds: 30,
      },
      { resource: '/acs', allowedOrigins: [login, 'null'], allowedMethods: ['POST'] },
      { resource: '/ws', allowedOrigins: [spa] },
    ],
  })
  // As careless as an application can be.
  origin.at('/echo/careless', (req, res) => {
    req.resume()
    res.setHeader('Access-Control-Allow-Origin', '*')
    res.setHeader('access-control-allow-credentials', 'false')
    res.setHeader('Access-Control-Expose-Headers', 'X-Total')
    res.setHeader('Vary', 'Accept')
    res.end('careless')
  })
  origin.at('/acs', (req, res) => void req.resume().once('end', () => res.end('signed on')))
  visitor = await signInTo(system, 'app')
  client = new Client(system.gatewayUrls[0] as string, visitor)
  const { host = '' } = visitor.headers
  anybody = new Client(system.gatewayUrls[0] as string, { headers: { host } })
})
afterAll(async () => {
  client[Symbol.dispose]()
  anybody[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const configure = (id: string, publishing: object) =>
  administer(system, 'PATCH', `/applications/${id}/onPremisesPublishing`, publishing)

type Headers = [string, string][]

/** What a browser says of a script of a page elsewhere. */
const script = (from: string, ...more: Headers): Headers => [
  ['Origin', from],
  ['Sec-Fetch-Site', 'cross-site'],
  ['Sec-Fetch-Mode', 'cors'],
  ['Sec-Fetch-Dest', 'empty'],
  ...more,
]

/** What it says of a form that is sent from there. */
const form = (from: string): Headers => [
  ['Origin', from],
  ['Sec-Fetch-Site', 'cross-site'],
  ['Sec-Fetch-Mode', 'navigate'],
  ['Sec-Fetch-Dest', 'document'],
]

const preflight = (path: string, from: string, method: string, names?: string) =>
  anybody.send(path, {
    method: 'OPTIONS',
    headers: script(
      from,
      ['Access-Control-Request-Method', method],
      ...(names === undefined
        ? []
        : [['Access-Control-Request-Headers', names] as [string, string]]),
    ),
  })

describe('a preflight', () => {
  test('of who is let in is answered by the gateway, without a session, and audited', async () => {
    const before = origin.seen.length
    const received = await followAudit(system)
    const answer = await preflight('/echo/a', spa, 'PUT', 'content-type,x-spa-page')
    expect([answer.status, answer.text]).toEqual([204, ''])
    expect(answer.all('access-control-allow-origin')).toEqual([spa])
    expect(answer.all('access-control-allow-credentials')).toEqual(['true'])
    expect(answer.all('access-control-allow-methods')).toEqual(['PUT'])
    expect(answer.all('access-control-allow-headers')).toEqual(['content-type, x-spa-page'])
    expect(answer.all('access-control-max-age')).toEqual(['30'])
    expect(answer.header('vary')).toContain('Origin')
    expect(origin.seen.length).toBe(before)
    await expect.poll(() => liveAccess(received)).toHaveLength(1)
    expect(liveAccess(received)[0]).toMatchObject({
      application: 'app',
      method: 'OPTIONS',
      outcome: 'granted',
      status: 204,
      user: null,
      attempts: 0,
    })
  })

  test.each([
    ['another origin', '/echo', stranger, 'PUT', undefined],
    ['another port of the same host', '/echo', `${spa}:8443`, 'PUT', undefined],
    ['a page without an origin', '/acs', 'null', 'POST', undefined],
    ['another method', '/echo', spa, 'DELETE', undefined],
    ['a header that is not named', '/echo', spa, 'PUT', 'content-type, authorization'],
    ['another path', '/bytes/3', spa, 'GET', undefined],
    ['a path that only begins alike', '/echoes', spa, 'PUT', undefined],
    ['the page of another entry', '/acs', spa, 'POST', undefined],
  ])('of %s is not', async (_, path, from, method, names) => {
    const before = origin.seen.length
    const answer = await preflight(path, from, method, names)
    expect(answer.status).toBe(401)
    // Only who is let in for the request as it stands may read even that.
    expect(answer.all('access-control-allow-methods')).toEqual([])
    expect(answer.all('access-control-allow-headers')).toEqual([])
    expect(origin.seen.length).toBe(before)
  })
})

describe('a script that is let in', () => {
  test('asks with the session of its user, and may read the answer', async () => {
    const headers = script(spa, ['X-Spa-Page', '1'])
    const answer = await client.send('/echo', { method: 'PUT', headers, body: Buffer.from('a=1') })
    expect(answer.status).toBe(200)
    expect(answer.all('access-control-allow-origin')).toEqual([spa])
    expect(answer.all('access-control-allow-credentials')).toEqual(['true'])
    expect(answer.all('vary')).toContain('Origin')
    expect(answer.json()).toMatchObject({ method: 'PUT', bytes: 3 })
  })

  test('reads what the gateway says for it, not what the application says of everybody', async () => {
    const answer = await client.send('/echo/careless', { headers: script(spa) })
    expect(answer.all('access-control-allow-origin')).toEqual([spa])
    expect(answer.all('access-control-allow-credentials')).toEqual(['true'])
    expect(answer.all('access-control-expose-headers')).toEqual(['X-Total'])
    expect(answer.all('vary')).toEqual(['Accept', 'Origin'])
  })

  test('reads an answer that streams as well', async () => {
    await configure('closed', {
      corsConfigurations: [{ allowedOrigins: [spa] }],
    })
    const closed = await signInTo(system, 'closed')
    using other = new Client(system.gatewayUrls[0] as string, closed)
    const answer = await other.send('/bytes/3000000?chunked', { headers: script(spa) })
    expect([answer.status, answer.body.length]).toEqual([200, 3_000_000])
    expect(answer.all('access-control-allow-origin')).toEqual([spa])
    await configure('closed', { corsConfigurations: [] })
    await expect
      .poll(async () => (await other.send('/bytes/3', { headers: script(spa) })).status)
      .toBe(403)
  })

  test('without a session is told where to sign in', async () => {
    const answer = await anybody.send('/echo', { headers: script(spa) })
    expect(answer.status).toBe(401)
    expect(answer.all('access-control-allow-origin')).toEqual([spa])
    expect(answer.header('access-control-expose-headers')).toContain('Sallyport-Sign-In')
    expect(answer.json()).toMatchObject({ code: 'unauthenticated' })
  })

  test('may open a WebSocket', async () => {
    const { cookie = '', host = '' } = visitor.headers
    const url = `${system.gatewayUrls[0]?.replace('http', 'ws')}/ws`
    const open = (from: string) => new WebSocket(url, { origin: from, headers: { cookie, host } })
    const socket = open(spa)
    await once(socket, 'open')
    socket.send('hello')
    expect(String((await once(socket, 'message'))[0])).toBe('hello')
    socket.terminate()
    const refused = open(login)
    const [, answer] = await once(refused, 'unexpected-response')
    expect(answer.statusCode).toBe(403)
    refused.once('error', () => undefined).terminate()
  })
})

describe('is refused, and nothing reaches the application:', () => {
  test.each([
    ['another origin', '/echo', stranger, 'GET'],
    ['a method that is not named', '/echo', spa, 'DELETE'],
    ['another path', '/bytes/3', spa, 'GET'],
    ['a path that only begins alike', '/echoes', spa, 'GET'],
    ['the encoded path', '/%65cho', spa, 'GET'],
    ['a page without an origin', '/echo', 'null', 'GET'],
  ])('%s', async (_, path, from, method) => {
    const before = origin.seen.length
    const answer = await client.send(path, { method, headers: script(from) })
    expect([answer.status, answer.json()]).toMatchObject([403, { code: 'cross_origin_refused' }])
    expect(answer.all('access-control-allow-origin')).toEqual([])
    expect(origin.seen.length).toBe(before)
  })
})

describe('a form', () => {
  test('of a sign-in elsewhere comes back with the session of its user', async () => {
    for (const from of [login, 'null']) {
      const body = Buffer.from('SAMLResponse=PHNhbWw+')
      const answer = await client.send('/acs', { headers: form(from), body })
      expect([answer.status, answer.text]).toEqual([200, 'signed on'])
    }
  })

  test('of a page without an origin is answered, and no script may read the answer', async () => {
    const answer = await client.send('/acs', { method: 'POST', headers: script('null') })
    expect(answer.status).toBe(200)
    expect(answer.all('access-control-allow-origin')).toEqual([])
  })

  test('of anybody else is refused', async () => {
    const answer = await client.send('/acs', { method: 'POST', headers: form(stranger) })
    expect([answer.status, answer.json()]).toMatchObject([403, { code: 'cross_origin_refused' }])
  })
})

test('its own pages ask as before', async () => {
  const own = `http://${visitor.headers.host}`
  const headers: Headers = [
    ['Origin', own],
    ['Sec-Fetch-Site', 'same-origin'],
  ]
  const answer = await client.send('/echo', { method: 'DELETE', headers })
  expect(answer.status).toBe(200)
  expect(answer.all('access-control-allow-origin')).toEqual([])
  expect(answer.all('vary')).toEqual(['Origin'])
})

describe('the access cookie', () => {
  const cookieOf = async (application: string) => {
    using agent = new UserAgent()
    const url = `http://${application}.sallyport.localhost:${system.port}/`
    const { users } = system.parts.identityProvider
    const password = users.find(({ name }) => name === visitor.user)?.password ?? ''
    await agent.signIn(url, visitor.user, password)
    return agent.cookies.all().find(({ name, host }) => {
      return name === '__Host-sallyport' && host === new URL(url).hostname
    })
  }

  test('goes along from other sites where the application lets some in, and nowhere else', async () => {
    expect((await cookieOf('app'))?.sameSite).toBe('None')
    expect((await cookieOf('closed'))?.sameSite).toBe('Lax')
  })

  test('is of no use in a frame of another site', async () => {
    const frame: Headers = [
      ['Sec-Fetch-Site', 'cross-site'],
      ['Sec-Fetch-Mode', 'navigate'],
      ['Sec-Fetch-Dest', 'iframe'],
      ['Accept', 'text/html'],
    ]
    const before = origin.seen.length
    const answer = await client.send('/bytes/3', { headers: frame })
    expect(answer.status).toBe(403)
    expect(answer.text).toContain('A page of another site')
    expect(origin.seen.length).toBe(before)
  })
})

describe('an application for everybody', () => {
  test('has the same said for it, and what it says itself goes on to others', async () => {
    await configure('closed', {
      externalAuthenticationType: 'passthru',
      corsConfigurations: [{ resource: '/echo', allowedOrigins: [spa] }],
    })
    const host = `closed.sallyport.localhost:${system.port}`
    using open = new Client(system.gatewayUrls[0] as string, { headers: { host } })
    await expect.poll(async () => (await open.send('/echo')).status).toBe(200)
    const letIn = await open.send('/echo/careless', { headers: script(spa) })
    expect(letIn.all('access-control-allow-origin')).toEqual([spa])
    const other = await open.send('/echo/careless', { headers: script(stranger) })
    expect(other.all('access-control-allow-origin')).toEqual(['*'])
    const asked: Headers = [['Access-Control-Request-Method', 'DELETE']]
    const passed = await open.send('/echo', { method: 'OPTIONS', headers: script(spa, ...asked) })
    expect(passed.json()).toMatchObject({ method: 'OPTIONS', target: '/echo' })
  })
})

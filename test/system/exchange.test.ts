/** One request and its answer, as client and origin see them: nothing lost, nothing added that is not ours to add. */

import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { administer } from '../harness/admin.ts'
import { bodyOf, bodyStream, digestOf, digestOfBody } from '../harness/bodies.ts'
import { Client, connectRaw, exchangeRaw } from '../harness/client.ts'
import { type Echo, type Origin, startOrigin } from '../harness/origin.ts'
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
const echo = async (...[path, options]: Parameters<Client['send']>) =>
  (await client.send(path, options)).json<unknown>() as Echo
const valuesOf = ({ headers }: Pick<Echo, 'headers'>, name: string) =>
  headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value)

describe('methods', () => {
  test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'MKCOL', 'REPORT'])(
    '%s reaches the origin as it is',
    async method => {
      expect(await echo('/echo?a=%20b&c', { method })).toMatchObject({
        method,
        target: '/echo?a=%20b&c',
        bytes: 0,
      })
    },
  )

  test('HEAD is answered with the length that GET would have, and without a body', async () => {
    const answer = await client.send('/bytes/70000', { method: 'HEAD' })
    expect(answer).toMatchObject({ status: 200, text: '' })
    expect(answer.all('content-length')).toEqual(['70000'])
    expect((await client.send('/echo', { method: 'HEAD' })).status).toBe(200)
  })

  test('a body travels with GET and DELETE too', async () => {
    for (const method of ['GET', 'DELETE']) {
      const body = Buffer.from('why not')
      expect(await echo('/echo', { method, body })).toMatchObject({ method, ...digestOf(body) })
    }
  })
})

describe('a body of', () => {
  const kib = 1024
  const sizes = [0, 1, 64 * kib, 64 * kib + 1, 1024 * kib, 20 * 1024 * kib]

  test.each(sizes)('%i bytes arrives whole at the origin, its length known or not', async size => {
    const whole = digestOfBody(size)
    const known = await echo('/echo', { method: 'PUT', body: bodyStream(size), bytes: size })
    expect(known).toMatchObject({ method: 'PUT', ...whole })
    expect(valuesOf(known, 'content-length')).toEqual([`${size}`])
    expect(valuesOf(known, 'transfer-encoding')).toEqual([])
    const unknown = await echo('/echo', { method: 'PUT', body: bodyStream(size) })
    expect(unknown).toMatchObject(whole)
  })

  test.each(sizes)('%i bytes arrives whole at the client, its length known or not', async size => {
    const whole = digestOfBody(size)
    const known = await client.send(`/bytes/${size}`)
    expect(digestOf(known.body)).toEqual(whole)
    expect(known.all('content-length')).toEqual([`${size}`])
    const unknown = await client.send(`/bytes/${size}?chunked`)
    expect(digestOf(unknown.body)).toEqual(whole)
  })

  test('64 KiB and one of more go up at the same time over one connection each', async () => {
    const bodies = Array.from({ length: 12 }, (_, i) => bodyOf(60_000 + i * 1_500))
    const echoes = await Promise.all(bodies.map(body => echo('/echo', { body })))
    expect(echoes.map(({ sha256 }) => sha256)).toEqual(bodies.map(body => digestOf(body).sha256))
  })
})

describe('request headers', () => {
  test('reach the origin in their order, case and number, whatever octets they carry', async () => {
    const headers: [string, string][] = [
      ['X-First', '1'],
      ['x-SECOND', 'a, b'],
      ['X-First', '2'],
      ['Accept-Language', 'de'],
      ['X-Empty', ''],
      ['X-Latin', 'caf\xe9'],
      ['X-First', '3'],
    ]
    const seen = (await echo('/echo', { headers })).headers
    const names = new Set(headers.map(([name]) => name))
    expect(seen.filter(([name]) => names.has(name))).toEqual(headers)
  })

  test('that only Sallyport sets are dropped in every spelling', async () => {
    const headers = [
      'X-Forwarded-User',
      'x_forwarded_user',
      'X-Forwarded-Prefix',
      'X-FORWARDED_EMAIL',
      'Sallyport-User',
      'sallyport_user',
      'X-Sallyport-User',
      'X_Sallyport-Group',
      'X-Real-IP',
      'True-Client-IP',
      'X-Original-URL',
      'X_Rewrite_Url',
      'Forwarded',
      'X-Request-Id',
    ].map(name => [name, 'spoofed'] as const)
    const seen = await echo('/echo', { headers })
    expect(JSON.stringify(seen)).not.toContain('spoofed')
  })

  test('of one connection stay on it', async () => {
    const headers = [
      ['Connection', 'X-Mine, keep-alive'],
      ['X-Mine', 'only for you'],
      ['Keep-Alive', 'timeout=9'],
      ['Proxy-Authorization', 'Basic eDp5'],
      ['TE', 'trailers'],
      ['Upgrade', 'h2c'],
    ] as const
    const { headers: seen } = await echo('/echo', { headers })
    const names = seen.map(([name]) => name.toLowerCase())
    for (const name of ['x-mine', 'proxy-authorization', 'te', 'upgrade']) {
      expect(names).not.toContain(name)
    }
  })

  test('that offer HTTP/2 leave a request, with or without a body, the ordinary one that it is', async () => {
    const headers = [
      ['Connection', 'Upgrade, HTTP2-Settings'],
      ['Upgrade', 'h2c'],
      ['HTTP2-Settings', 'AAMAAABkAAQAoAAAAAIAAAAA'],
    ] as const
    const body = bodyOf(1_000)
    for (const bytes of [body.length, undefined]) {
      const options = { headers, body: bodyStream(body.length), ...(bytes && { bytes }) }
      const seen = await echo('/echo', options)
      expect(seen).toMatchObject(digestOf(body))
      expect(valuesOf(seen, 'http2-settings')).toEqual([])
    }
  })

  test('carry the cookies of the application and never ours', async () => {
    const [own = ''] = visitor.headers.cookie?.split('; ').slice(-1) ?? []
    const cookies = [`a=1; ${own}; b="2=2"`, '__Host-sallyport-nonce=x; c=3']
    using visiting = new Client(gateway(), { headers: { host: host() } })
    const headers = cookies.map(value => ['Cookie', value] as const)
    const seen = (await visiting.send('/echo', { headers })).json() as unknown as Echo
    expect(valuesOf(seen, 'cookie').join('; ')).toBe('a=1; b="2=2"; c=3')
    expect(JSON.stringify(await echo('/echo'))).not.toContain('__Host-sallyport')
  })
})

describe('forwarded headers', () => {
  test('say who asked, by which name and how, and nothing that the client made up', async () => {
    const headers = [
      ['X-Forwarded-For', '6.6.6.6'],
      ['X-Forwarded-Proto', 'https'],
      ['X-Forwarded-Host', 'evil.example'],
      ['X-Forwarded-Port', '1'],
    ] as const
    const answer = await client.send('/echo', { headers })
    const seen = answer.json() as unknown as Echo
    const forwarded = {
      host: [`127.0.0.1:${origin.port}`],
      'x-forwarded-for': ['127.0.0.1'],
      'x-forwarded-proto': ['http'],
      'x-forwarded-host': [host()],
      'x-forwarded-port': [`${system.port}`],
      forwarded: [`for=127.0.0.1;host="${host()}";proto=http`],
      via: ['1.1 sallyport'],
      'x-request-id': [answer.header('Sallyport-Request-Id')],
    }
    for (const [name, values] of Object.entries(forwarded)) {
      expect(valuesOf(seen, name), name).toEqual(values)
    }
  })

  test('of a trusted proxy are continued', async () => {
    const behind = await system.add('gateway', { SALLYPORT_GATEWAY_TRUSTED_PROXIES: '127.0.0.0/8' })
    using proxied = new Client(`http://127.0.0.1:${behind.details.port}`, visitor)
    const headers = [
      ['X-Forwarded-For', '192.0.2.7, 203.0.113.9'],
      ['X-Forwarded-Proto', 'https'],
    ] as const
    const seen = (await proxied.send('/echo', { headers })).json() as unknown as Echo
    await system.stop(behind)
    expect(valuesOf(seen, 'x-forwarded-for')).toEqual(['192.0.2.7, 203.0.113.9, 127.0.0.1'])
    expect(valuesOf(seen, 'x-forwarded-proto')).toEqual(['https'])
    expect(valuesOf(seen, 'forwarded')).toEqual([`for=203.0.113.9;host="${host()}";proto=https`])
  })

  test('continue a trace, and begin one where there is none or none that is valid', async () => {
    const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const continued = await echo('/echo', {
      headers: [
        ['traceparent', trace],
        ['tracestate', 'vendor=x'],
      ],
    })
    expect(valuesOf(continued, 'traceparent')).toEqual([trace])
    expect(valuesOf(continued, 'tracestate')).toEqual(['vendor=x'])
    for (const headers of [[], [['traceparent', '00-0-0-0']]] as [string, string][][]) {
      const begun = valuesOf(await echo('/echo', { headers }), 'traceparent')
      expect(begun).toEqual([expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)])
    }
  })
})

describe('response headers', () => {
  test('reach the client in their order, case and number', async () => {
    const sent: [string, string][] = [
      ['X-One', '1'],
      ['Set-Cookie', 'a=1; Path=/'],
      ['x-TWO', 'caf\xe9'],
      ['Set-Cookie', 'b=2; HttpOnly'],
      ['X-One', '2'],
      ['Vary', 'Cookie'],
    ]
    origin.at('/headers', (_req, res) => res.writeHead(200, 'Fine', sent.flat()).end('ok'))
    const answer = await client.send('/headers')
    const names = new Set(sent.map(([name]) => name))
    expect(answer.headers.filter(([name]) => names.has(name))).toEqual(sent)
  })

  test('a hundred cookies arrive, none of ours among them', async () => {
    const cookies = Array.from({ length: 100 }, (_, i) => `c${i}=${'v'.repeat(60)}; Path=/`)
    const stolen = ['__Host-sallyport=mine', ' __Host-sallyport-nonce=mine; Secure; Path=/']
    origin.at('/cookies', (_req, res) =>
      res.writeHead(200, { 'set-cookie': [...cookies, ...stolen] }).end(),
    )
    expect((await client.send('/cookies')).all('set-cookie')).toEqual(cookies)
  })

  test('of one connection, and those that only the gateway may send, stay behind', async () => {
    origin.at('/connection', (_req, res) => {
      res.setHeader('Connection', 'X-Mine')
      res.setHeader('X-Mine', 'only for you')
      res.setHeader('Sallyport-Sign-In', 'https://evil.example/')
      res.setHeader('Alt-Svc', 'h3=":443"')
      res.end('ok')
    })
    const answer = await client.send('/connection')
    for (const name of ['x-mine', 'sallyport-sign-in', 'alt-svc']) {
      expect(answer.all(name), name).toEqual([])
    }
    expect(answer.all('sallyport-request-id')).toHaveLength(1)
  })

  test('trailers follow the body', async () => {
    origin.at('/trailers', (_req, res) => {
      res.writeHead(200, { Trailer: 'X-Sum' })
      res.write('a body')
      res.addTrailers({ 'X-Sum': '42' })
      res.end()
    })
    const answer = await client.send('/trailers')
    expect(answer.text).toBe('a body')
    expect(answer.trailers.map(([name, value]) => [name.toLowerCase(), value])).toEqual([
      ['x-sum', '42'],
    ])
  })
})

describe('conditional and partial requests', () => {
  const whole = bodyOf(200_000)

  test('a range is answered with that part alone', async () => {
    origin.at('/ranged', ({ headers: { range = '' } }, res) => {
      const [, from = 0, to = 0] = /bytes=(\d+)-(\d+)/.exec(range)?.map(Number) ?? []
      const part = whole.subarray(from, to + 1)
      res.writeHead(206, {
        'content-range': `bytes ${from}-${to}/${whole.length}`,
        'content-length': part.length,
      })
      res.end(part)
    })
    const answer = await client.send('/ranged', { headers: [['Range', 'bytes=100000-180000']] })
    expect(answer.status).toBe(206)
    expect(answer.header('content-range')).toBe('bytes 100000-180000/200000')
    expect(answer.body.equals(whole.subarray(100_000, 180_001))).toBe(true)
  })

  test('304 passes with its validators, and the connection goes on', async () => {
    origin.at('/fresh', ({ headers }, res) => {
      const isFresh = headers['if-none-match'] === '"v1"'
      res.writeHead(isFresh ? 304 : 200, { etag: '"v1"', 'cache-control': 'max-age=9' })
      res.end(isFresh ? undefined : 'fresh')
    })
    const answer = await client.send('/fresh', { headers: [['If-None-Match', '"v1"']] })
    expect(answer).toMatchObject({ status: 304, text: '' })
    expect(answer.header('etag')).toBe('"v1"')
    expect((await client.send('/fresh')).text).toBe('fresh')
  })
})

test('who opens an address that is too long to be carried through the sign-in comes back to its path', async () => {
  using agent = new UserAgent()
  const { password = '' } =
    system.parts.identityProvider.users.find(({ name }) => name === visitor.user) ?? {}
  const at = `http://${host()}/bytes/3`
  const page = await agent.signIn(`${at}?${'x'.repeat(5_000)}`, visitor.user, password)
  expect([page.status, page.url]).toEqual([200, at])
})

test('who reloads on the way back from the provider is signed in all the same', async () => {
  using agent = new UserAgent()
  const { password = '' } =
    system.parts.identityProvider.users.find(({ name }) => name === visitor.user) ?? {}
  const at = `http://${host()}/bytes/3`
  const asked = vi.spyOn(agent, 'request')
  await agent.signIn(at, visitor.user, password)
  const back =
    asked.mock.calls.map(([url]) => url).find(url => /^[^?]*portal[^?]*callback/.test(url)) ?? ''
  const page = await agent.visit(back)
  expect([page.status, page.url]).toEqual([200, at])
})

test.each([
  ['same-origin', 200],
  ['same-site', 403],
  ['cross-site', 403],
  ['none', 403],
])(
  'a form of a page that tells no referrer, as the browser says %s, is answered %i',
  async (site, status) => {
    const headers: [string, string][] = [
      ['Origin', 'null'],
      ['Sec-Fetch-Site', site],
      ['Sec-Fetch-Mode', 'navigate'],
    ]
    expect((await client.send('/echo', { method: 'POST', headers })).status).toBe(status)
  },
)

describe('an application below a path', () => {
  beforeAll(async () => {
    await administer(system, 'POST', '/applications', {
      id: 'below',
      displayName: 'Below',
      appRoleAssignmentRequired: false,
      onPremisesPublishing: {
        externalUrl: `http://${host()}/out/side/`,
        internalUrl: `${origin.url}/in/`,
      },
    })
    origin.at('/in/page', (req, res) => {
      const at = req.headers['x-where'] ?? '/'
      res.setHeader('Location', String(at).replace('ORIGIN', origin.url))
      res.setHeader('Set-Cookie', [
        'a=1; Path=/in/deep; Domain=127.0.0.1; HttpOnly; SameSite=Lax',
        'b=2; path=/in',
        'c=3; Path=/',
        'd=4',
      ])
      res.setHeader('Link', `<${origin.url}/in/next>; rel=next`)
      res.setHeader('Refresh', `5; url=${origin.url}/in/later`)
      res.writeHead(302).end()
    })
    await vi.waitFor(async () =>
      expect(await client.send('/out/side/page')).toMatchObject({ status: 302 }),
    )
  })

  test('is asked for its own path, and the query stays as it is', async () => {
    await client.send('/out/side/page?x=%2Fout%2Fside&y=/out/side/')
    expect(origin.latest('/in/page')?.path).toBe('/in/page?x=%2Fout%2Fside&y=/out/side/')
  })

  test.each([
    ['ORIGIN/in/there?a=1#top', 'http://HOST/out/side/there?a=1#top'],
    ['/in/there', '/out/side/there'],
    ['/in', '/out/side/'],
    ['there', 'there'],
    ['../in/there', '../in/there'],
    ['/elsewhere', '/elsewhere'],
    ['https://other.example/in/there', 'https://other.example/in/there'],
    ['//other.example/in/', '//other.example/in/'],
  ])('sends a redirect to %s on to %s', async (sent, expected) => {
    const answer = await client.send('/out/side/page', { headers: [['X-Where', sent]] })
    expect(answer.header('location')).toBe(expected.replace('HOST', host()))
  })

  test('is found where its relative links lead, also by who leaves its last slash out', async () => {
    const answer = await client.send('/out/side?x=%2F')
    expect([answer.status, answer.header('location')]).toEqual([302, '/out/side/?x=%2F'])
    origin.at('/in/', (_req, res) => res.end('the folder'))
    expect((await client.send('/out/side/?x=%2F')).text).toBe('the folder')
    expect((await client.send('/out/side', { method: 'POST' })).text).toBe('the folder')
  })

  test('sets its cookies for where the browser sees it', async () => {
    const answer = await client.send('/out/side/page')
    expect(answer.all('set-cookie')).toEqual([
      'a=1; Path=/out/side/deep; HttpOnly; SameSite=Lax',
      'b=2; path=/out/side/',
      'c=3; Path=/',
      'd=4',
    ])
    expect(answer.header('link')).toBe(`<http://${host()}/out/side/next>; rel=next`)
    expect(answer.header('refresh')).toBe(`5; url=http://${host()}/out/side/later`)
  })

  test.each([
    ['ORIGIN/secret/x', 404],
    ['http://HOST/secret/x', 404],
    ['/secret/x', 404],
    ['/out/side/%2e%2e/secret/x', 404],
    ['http:\\\\ORIGIN\\secret', 404],
    ['/out/side/x', 200],
    ['http://HOST/out/side/x', 200],
  ])('has nothing moved out of its path: %s is %i', async (to, status) => {
    origin.at('/in/file', (_req, res) => res.end())
    const destination = to.replace('HOST', host()).replace('ORIGIN', origin.url)
    const moved = await client.send('/out/side/file', {
      method: 'MOVE',
      headers: [['Destination', destination]],
    })
    expect(moved.status).toBe(status)
  })

  test('gets the Origin and Referer of its own, so that its checks against forgery pass', async () => {
    origin.at('/in/form', (req, res) =>
      res.end(JSON.stringify([req.headers.origin, req.headers.referer, req.headers.host])),
    )
    const answer = await client.send('/out/side/form', {
      method: 'POST',
      headers: [
        ['Origin', `http://${host()}`],
        ['Referer', `http://${host()}/out/side/page?q=1`],
      ],
    })
    const own = `127.0.0.1:${origin.port}`
    expect(answer.json()).toEqual([`http://${own}`, `http://${own}/in/page?q=1`, own])
  })
})

describe('Expect: 100-continue', () => {
  const upload = (headers: Readonly<Record<string, string>>, path = '/echo', bytes = 5) =>
    [
      `POST ${path} HTTP/1.1`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      'Expect: 100-continue',
      `Content-Length: ${bytes}`,
      'Connection: close',
      '',
      '',
    ].join('\r\n')

  test('is answered 100 before the body, once access is granted', async () => {
    using connection = await connectRaw(gateway())
    connection.write(upload(visitor.headers))
    await connection.until(/^HTTP\/1\.1 100 /)
    expect(connection.received).not.toContain(' 200 ')
    connection.write('hello')
    const answer = await connection.closed
    expect(answer).toContain('HTTP/1.1 200 OK')
    expect(answer).toContain(digestOf(Buffer.from('hello')).sha256)
  })

  test('and then a failure reaches the client, who is still sending', async () => {
    using connection = await connectRaw(gateway())
    const path = `/ways/${encodeURIComponent('resets before the head')}`
    connection.write(upload(visitor.headers, path, 20_000_000))
    await connection.until(/^HTTP\/1\.1 100 /)
    // It reads again only when it has sent all.
    connection.socket.pause()
    connection.socket.write(bodyOf(20_000_000))
    await Promise.race([once(connection.socket, 'drain'), connection.closed])
    connection.socket.resume()
    expect(await connection.closed).toContain('HTTP/1.1 502 ')
  })

  test('without a session is answered 401 and never 100', async () => {
    const answer = await exchangeRaw(gateway(), upload({ Host: host() }))
    expect(answer).toMatch(/^HTTP\/1\.1 401 /)
  })

  test('of somebody without access is answered 403 and never 100', async () => {
    const bob = await signInTo(system, 'inventory', 'bob@sallyport.example')
    const answer = await exchangeRaw(gateway(), upload(bob.headers))
    expect(answer).toMatch(/^HTTP\/1\.1 403 /)
    expect(answer).toContain('access_denied')
  })
})

describe('whoever breaks off', () => {
  const broken = (path: string) =>
    expect.poll(() => origin.latest(path)?.end, { timeout: 1_000, interval: 20 }).toBe('broken')

  test.each([
    ['before the answer', '/ways/hangs'],
    ['in the middle of a download', '/endless'],
  ])(
    'a client that leaves %s ends the request at the origin within a second',
    async (_when, path) => {
      const chunk = bodyOf(64 * 1024)
      origin.at('/endless', (_req, res) => {
        const more = () => {
          while (!res.destroyed && res.write(chunk));
        }
        res.on('drain', more)
        more()
      })
      const leaving = new AbortController()
      const request = client.start(path, { signal: leaving.signal })
      if (path === '/endless') await once(request, 'response')
      else await expect.poll(() => origin.latest(path)).toBeDefined()
      leaving.abort()
      await broken(path)
    },
  )

  test('a client that leaves in the middle of an upload ends the request at the origin', async () => {
    origin.at('/upload', req => req.resume())
    const leaving = new AbortController()
    const endless = bodyStream(Number.MAX_SAFE_INTEGER)
    client.start('/upload', { body: endless, signal: leaving.signal })
    await expect.poll(() => origin.latest('/upload')).toBeDefined()
    leaving.abort()
    await broken('/upload')
    endless.destroy()
  })

  test('a large upload without a session is answered 401, not with a reset', async () => {
    using stranger = new Client(gateway(), { headers: { host: host() } })
    const answer = await stranger.send('/echo', { body: bodyStream(20_000_000), bytes: 20_000_000 })
    expect(answer).toMatchObject({ status: 401 })
    expect(answer.json()).toMatchObject({ code: 'unauthenticated' })
  })

  test('an origin that answers 413 before the upload is over is heard at once', async () => {
    const endless = bodyStream(Number.MAX_SAFE_INTEGER)
    const path = `/ways/${encodeURIComponent('answers before the upload is over')}`
    const answer = await client.send(path, { body: endless })
    endless.destroy()
    expect(answer).toMatchObject({ status: 413, text: 'too large' })
    expect((await client.send('/echo')).status).toBe(200)
  })
})

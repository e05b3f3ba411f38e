/**
 * Requests as bytes, one rule of the RFCs at a time: what has to be refused is refused and reaches nobody, what has to
 * pass reaches the origin as the rule says. The section in each name is the rule's.
 */

import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { administer } from '../harness/admin.ts'
import { bodyOf, digestOf } from '../harness/bodies.ts'
import { connectRaw, exchangeRaw } from '../harness/client.ts'
import { type Echo, type Origin, startOrigin } from '../harness/origin.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

let origin: Origin
let system: TestSystem

beforeAll(async () => {
  origin = await startOrigin()
  const { url: internalUrl } = origin
  const access = 'passthrough' as const
  system = await startSystem({
    publish: [{ name: 'open', displayName: 'Open', internalUrl, access }],
  })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const gateway = () => system.gatewayUrls[0] as string
const host = () => `open.sallyport.localhost:${system.port}`

/** The bytes of a head, `HOST` standing for the application's. */
const head = (...lines: string[]) => `${lines.join('\r\n')}\r\n\r\n`.replaceAll('HOST', host())
const hosted = (line: string, ...more: string[]) => head(line, 'Host: HOST', ...more)
const get = (...more: string[]) => hosted('GET /echo HTTP/1.1', ...more, 'Connection: close')
const post = (...more: string[]) => hosted('POST /echo HTTP/1.1', ...more)
const send = (text: string) => exchangeRaw(gateway(), text)
const codeOf = (answer: string) => /"code":"(\w+)"/.exec(answer)?.[1]

/** What the origin says it received. */
async function echo(text: string): Promise<Echo> {
  const answer = await send(text)
  const body = /\{"method".*\}/.exec(answer)?.[0]
  if (body === undefined) throw new Error(`no echo: ${answer}`)
  // What was read as Latin-1 is UTF-8.
  return JSON.parse(Buffer.from(body, 'latin1').toString())
}
const valuesOf = ({ headers }: Echo, name: string) =>
  headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)

type Refused = [rule: string, text: () => string, status: string, code?: string]

describe('is refused, reaches nobody and ends its connection:', () => {
  const long = (bytes: number) => 'x'.repeat(bytes)
  const chunked = (body: string) => post('Transfer-Encoding: chunked') + body
  const refused: Refused[] = [
    ['RFC 9112 §3.2: no Host', () => head('GET / HTTP/1.1'), '400'],
    ['RFC 9112 §3.2: two Hosts', () => get('Host: HOST'), '400', 'bad_request'],
    ['RFC 9112 §3.2: an empty Host', () => head('GET / HTTP/1.1', 'Host:'), '400', 'bad_request'],
    [
      'RFC 9110 §7.2: a Host with user information',
      () => head('GET / HTTP/1.1', 'Host: me@HOST'),
      '400',
      'bad_request',
    ],
    [
      'RFC 9112 §3.2.2: an absolute target of another host',
      () => hosted('GET http://b.example/ HTTP/1.1'),
      '400',
      'bad_request',
    ],
    [
      'RFC 9112 §3.2.2: an absolute target of another scheme',
      () => hosted('GET ftp://HOST/ HTTP/1.1'),
      '400',
      'bad_request',
    ],
    [
      'RFC 9112 §3.2.2: an absolute target with user information',
      () => hosted('GET http://me@HOST/ HTTP/1.1'),
      '400',
      'bad_request',
    ],
    ['RFC 9112 §3.2.3: CONNECT', () => head('CONNECT HOST HTTP/1.1', 'Host: HOST'), '405'],
    ['RFC 9112 §3.2.4: an asterisk for GET', () => hosted('GET * HTTP/1.1'), '400', 'bad_request'],
    ['RFC 9112 §3.2: a fragment', () => hosted('GET /a#b HTTP/1.1'), '400', 'ambiguous_path'],
    ['RFC 9112 §3.2: a space in the target', () => hosted('GET /a b HTTP/1.1'), '400'],
    ['RFC 9112 §3.2: a NUL in the target', () => hosted('GET /a\0b HTTP/1.1'), '400'],
    ['RFC 9112 §3.2: raw octets in the target', () => hosted('GET /caf\xe9 HTTP/1.1'), '400'],
    [
      'RFC 3986 §6.2.2: dot segments',
      () => hosted('GET /a/../b HTTP/1.1'),
      '400',
      'ambiguous_path',
    ],
    ['RFC 9110 §9.1: a method in lower case', () => hosted('get / HTTP/1.1'), '501'],
    [
      'RFC 9110 §9.1: a method that nobody knows',
      () => hosted('FROBNICATE / HTTP/1.1'),
      '501',
      'method_not_implemented',
    ],
    ['RFC 9110 §9.3.8: TRACE', () => hosted('TRACE / HTTP/1.1'), '405', 'method_not_allowed'],
    ['RFC 9112 §2.3: HTTP/0.9', () => 'GET /\r\n\r\n', '400'],
    ['RFC 9112 §2.3: HTTP/1.2', () => hosted('GET / HTTP/1.2'), '(400|505)'],
    [
      'RFC 9112 §2.3: HTTP/2.0 in words',
      () => hosted('GET / HTTP/2.0'),
      '505',
      'version_not_supported',
    ],
    ['RFC 9112 §2.2: a bare LF', () => `GET / HTTP/1.1\nHost: ${host()}\n\n`, '400'],
    ['RFC 9112 §2.2: a bare CR in a value', () => get('X: a\rb'), '400'],
    [
      'RFC 9112 §2.2: space before the first field',
      () => hosted('GET / HTTP/1.1').replace('Host', ' Host'),
      '400',
    ],
    ['RFC 9112 §5.1: space before the colon', () => get('X : a'), '400'],
    ['RFC 9112 §5.1: a field without a name', () => get(': a'), '400'],
    ['RFC 9112 §5: a line without a colon', () => get('nonsense'), '400'],
    ['RFC 9112 §5.2: a folded line', () => get('X: a\r\n b'), '400'],
    ['RFC 9110 §5.5: a NUL in a value', () => get('X: a\0b'), '400'],
    ['RFC 9110 §5.5: a control character in a value', () => get('X: a\x01b'), '400'],
    ['RFC 9110 §5.1: a name that is no token', () => get('X(Y): a'), '400'],
    [
      'RFC 9110 §8.6: two lengths that differ',
      () => post('Content-Length: 1', 'Content-Length: 2'),
      '400',
    ],
    [
      'RFC 9110 §8.6: two lengths that agree',
      () => post('Content-Length: 1', 'Content-Length: 1'),
      '400',
    ],
    ['RFC 9110 §8.6: a list of lengths', () => post('Content-Length: 1, 1'), '400'],
    ['RFC 9110 §8.6: a signed length', () => post('Content-Length: +1'), '400'],
    ['RFC 9110 §8.6: a negative length', () => post('Content-Length: -1'), '400'],
    ['RFC 9110 §8.6: a hexadecimal length', () => post('Content-Length: 0x1'), '400'],
    [
      'RFC 9110 §8.6: a length beyond all numbers',
      () => post('Content-Length: 99999999999999999999'),
      '400',
    ],
    ['RFC 9110 §8.6: an empty length', () => post('Content-Length:'), '400'],
    [
      'RFC 9112 §6.1: length and chunks',
      () => post('Content-Length: 1', 'Transfer-Encoding: chunked'),
      '400',
    ],
    [
      'RFC 9112 §6.1: chunks and length',
      () => post('Transfer-Encoding: chunked', 'Content-Length: 1'),
      '400',
    ],
    [
      'RFC 9112 §6.1: chunked twice',
      () => post('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
      '(400|501)',
    ],
    [
      'RFC 9112 §6.1: chunked, chunked',
      () => post('Transfer-Encoding: chunked, chunked'),
      '(400|501)',
    ],
    ['RFC 9112 §6.3: chunked not last', () => post('Transfer-Encoding: chunked, gzip'), '400'],
    [
      'RFC 9112 §6.1: a coding before chunked',
      () => post('Transfer-Encoding: gzip, chunked'),
      '501',
      'not_implemented',
    ],
    ['RFC 9112 §6.1: an unknown coding', () => post('Transfer-Encoding: xchunked'), '(400|501)'],
    ['RFC 9112 §6.1: identity', () => post('Transfer-Encoding: identity'), '(400|501)'],
    [
      'RFC 9112 §6.1: chunked in quotes',
      () => `${post('Transfer-Encoding: "chunked"')}0\r\n\r\n`,
      '(400|501)',
    ],
    [
      'RFC 9112 §6.1: a vertical tab before chunked',
      () => post('Transfer-Encoding: \x0bchunked'),
      '400',
    ],
    ['RFC 9112 §6.1: an empty coding', () => post('Transfer-Encoding:'), '(400|501)'],
    [
      'RFC 9112 §6.1: chunks in HTTP/1.0',
      () => `${hosted('POST /echo HTTP/1.0', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
      '400',
    ],
    [
      'RFC 9110 §11.6.2: two Authorizations',
      () => get('Authorization: a', 'Authorization: b'),
      '400',
      'bad_request',
    ],
    [
      'RFC 9110 §10.1.1: another expectation',
      () => post('Expect: the-unexpected', 'Content-Length: 1'),
      '417',
      'expectation_failed',
    ],
    [
      'RFC 6585 §5: fields of more than 64 KiB',
      () => get(`X-Long: ${long(66_000)}`),
      '431',
      'headers_too_large',
    ],
    [
      'RFC 6585 §5: fields far beyond it',
      () => get(`X-Long: ${long(300_000)}`),
      '431',
      'headers_too_large',
    ],
    [
      'RFC 6585 §5: more than a thousand fields',
      () => get(...Array.from({ length: 2_500 }, (_, i) => `X-${i}: 1`)),
      '431',
      'headers_too_large',
    ],
    [
      'RFC 9112 §3: a target of more than 64 KiB',
      () => hosted(`GET /${long(66_000)} HTTP/1.1`),
      '414',
      'uri_too_long',
    ],
    [
      'RFC 9110 §7.8: an upgrade with a body',
      () => `${post('Connection: Upgrade', 'Upgrade: other', 'Content-Length: 4')}body`,
      '400',
      'bad_request',
    ],
    [
      'RFC 9110 §7.6.3: its own loop',
      () =>
        get(
          'Via: 1.1 sallyport, 1.1 other',
          'Via: 1.1 sallyport, 1.0 sallyport (x), 2.0 sallyport',
        ),
      '508',
      'loop_detected',
    ],
    ['RFC 9112 §7.1: a chunk size that is none', () => chunked('0x5\r\nhello\r\n0\r\n\r\n'), '400'],
    ['RFC 9112 §7.1: a chunk size with a space', () => chunked('5 \r\nhello\r\n0\r\n\r\n'), '400'],
    [
      'RFC 9112 §7.1: a chunk size beyond all numbers',
      () => chunked('ffffffffffffffffff\r\nhello\r\n0\r\n\r\n'),
      '400',
    ],
    ['RFC 9112 §7.1: a chunk that ends with LF', () => chunked('5\nhello\r\n0\r\n\r\n'), '400'],
    [
      'RFC 9112 §7.1: a chunk longer than its size',
      () => chunked('5\r\nhello world\r\n0\r\n\r\n'),
      '400',
    ],
    [
      'RFC 9112 §7.1.1: chunk extensions without end',
      () => chunked(`5;${long(65_000)}\r\nhello\r\n0\r\n\r\n`),
      '413',
    ],
  ]

  test.each(refused)('%s', async (_rule, text, status, code) => {
    const answered = () => origin.seen.filter(({ end }) => end === 'answered').length
    const before = answered()
    const answer = await send(text())
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(answer.match(/HTTP\/1\.1 \d{3} /g)).toHaveLength(1)
    if (code !== undefined) expect(codeOf(answer)).toBe(code)
    expect(answered()).toBe(before)
  })
})

test.each([
  ['headers_too_large', () => get('Accept: text/html', `Cookie: a=${'x'.repeat(66_000)}`)],
  ['uri_too_long', () => hosted(`GET /${'x'.repeat(66_000)} HTTP/1.1`, 'Accept: text/html')],
  ['ambiguous_path', () => hosted('GET /a/..%2fb HTTP/1.1', 'Accept: text/html')],
])('a person is told on a page what no application is asked: %s', async (code, text) => {
  const answer = await send(text())
  expect(answer).toMatch(/^content-type: text\/html/im)
  expect(answer).toContain(code)
  expect(answer).toContain('Open the portal')
})

test('a balancer that knows the address of a gateway alone may ask for its health, and for nothing else', async () => {
  const ask = (path: string) =>
    send(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`)
  const [health, other] = await Promise.all([ask('/.sallyport/health'), ask('/.sallyport/session')])
  expect(health).toMatch(/^HTTP\/1\.1 200 /)
  expect(codeOf(other)).toBe('unknown_host')
})

describe('passes as the rule says:', () => {
  type Passed = [rule: string, text: () => string, expected: object]
  const chunked = (body: string, ...more: string[]) =>
    post('Transfer-Encoding: chunked', ...more, 'Connection: close') + body
  const passed: Passed[] = [
    ['RFC 9112 §2.2: empty lines before a request', () => `\r\n\r\n${get()}`, { target: '/echo' }],
    [
      'RFC 9112 §2.5: a request of HTTP/1.0',
      () => hosted('GET /echo HTTP/1.0'),
      { target: '/echo' },
    ],
    [
      'RFC 9112 §3.2.1: a path that begins with two slashes',
      () =>
        hosted('GET //echo/../x HTTP/1.1'.replace('/../x', '?x'), 'Connection: close').replace(
          '//echo',
          '/echo',
        ),
      { target: '/echo?x' },
    ],
    [
      'RFC 9112 §3.2.2: an absolute target of the same host',
      () => hosted('GET http://HOST/echo?a HTTP/1.1', 'Connection: close'),
      { target: '/echo?a' },
    ],
    [
      'RFC 9112 §3.2.2: an absolute target in other case',
      () => hosted('GET HTTP://HOST/echo HTTP/1.1', 'Connection: close').replace('open.', 'OPEN.'),
      { target: '/echo' },
    ],
    [
      'RFC 9110 §7.7: escapes that are none',
      () => hosted('GET /echo?%zz&%C3%28&%41 HTTP/1.1', 'Connection: close'),
      { target: '/echo?%zz&%C3%28&%41' },
    ],
    [
      'RFC 9110 §8.6: a length with zeros before it',
      () => `${post('Content-Length: 003', 'Connection: close')}abc`,
      digestOf(Buffer.from('abc')),
    ],
    [
      'RFC 9110 §9.3.1: a body with GET',
      () => `${get('Content-Length: 3')}abc`,
      { method: 'GET', ...digestOf(Buffer.from('abc')) },
    ],
    [
      'RFC 9110 §9.3.5: a body with DELETE',
      () => `${hosted('DELETE /echo HTTP/1.1', 'Content-Length: 3', 'Connection: close')}abc`,
      { method: 'DELETE', ...digestOf(Buffer.from('abc')) },
    ],
    [
      'RFC 9112 §7.1: chunks',
      () => chunked('3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'),
      digestOf(Buffer.from('abcde')),
    ],
    [
      'RFC 9112 §7.1: chunk sizes in either case, with zeros',
      () => chunked('000A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n'),
      digestOf(Buffer.from('01234567890123456789')),
    ],
    [
      'RFC 9112 §7.1.1: chunk extensions, which are not passed on',
      () => chunked('3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n'),
      digestOf(Buffer.from('abc')),
    ],
    [
      'RFC 9112 §6.3: no body without length or chunks',
      () => hosted('POST /echo HTTP/1.1', 'Connection: close'),
      { bytes: 0 },
    ],
    [
      'RFC 9110 §5.4: two hundred fields',
      () => get(...Array.from({ length: 200 }, (_, i) => `X-${i}: ${'x'.repeat(300)}`)),
      { target: '/echo' },
    ],
    [
      'RFC 9110 §5.4: fields of a little less than 64 KiB',
      () => get(`X-Long: ${'x'.repeat(65_000)}`),
      { target: '/echo' },
    ],
    [
      'RFC 9112 §3: a target of a little less than 64 KiB',
      () => hosted(`GET /echo?${'x'.repeat(65_000)} HTTP/1.1`, 'Connection: close'),
      { method: 'GET' },
    ],
    [
      'RFC 9110 §7.6.2: OPTIONS that may go two steps further',
      () => hosted('OPTIONS /echo HTTP/1.1', 'Max-Forwards: 2', 'Connection: close'),
      { headers: expect.arrayContaining([['Max-Forwards', '1']]) },
    ],
    [
      'RFC 9110 §7.6.2: Max-Forwards of other methods',
      () => get('Max-Forwards: 0'),
      { headers: expect.arrayContaining([['Max-Forwards', '0']]) },
    ],
    [
      'RFC 9110 §7.6.3: the Via of others, ours behind it',
      () => get('Via: 1.0 fred, 1.1 sallyport'),
      {
        headers: expect.arrayContaining([
          ['Via', '1.0 fred, 1.1 sallyport'],
          ['Via', '1.1 sallyport'],
        ]),
      },
    ],
    [
      'RFC 9110 §10.1.1: an expectation of HTTP/1.0',
      () => hosted('GET /echo HTTP/1.0', 'Expect: the-unexpected'),
      { target: '/echo' },
    ],
    [
      'RFC 9110 §7.8: an offer of HTTP/2',
      () => get('Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'),
      { target: '/echo' },
    ],
    [
      'RFC 9110 §9.1: methods of WebDAV',
      () => hosted('PROPFIND /echo HTTP/1.1', 'Depth: 1', 'Connection: close'),
      { method: 'PROPFIND' },
    ],
    [
      'RFC 9110 §9.1: QUERY',
      () => `${hosted('QUERY /echo HTTP/1.1', 'Content-Length: 1', 'Connection: close')}?`,
      { method: 'QUERY', bytes: 1 },
    ],
  ]

  test.each(passed)('%s', async (_rule, text, expected) => {
    expect(await echo(text())).toMatchObject(expected)
  })

  test('RFC 9110 §7.6.1, §10.1.4: fields of the connection stay on it, which they may name', async () => {
    const own = ['Connection: X-Mine, X-Sallyport-User, close', 'X-Mine: 1', 'Keep-Alive: 1']
    const proxy = ['Proxy-Connection: 1', 'Proxy-Authorization: 1', 'TE: trailers', 'Upgrade: h2c']
    const seen = await echo(hosted('GET /echo HTTP/1.1', ...own, ...proxy, 'X-Kept: 2'))
    const names = seen.headers.map(([name]) => name.toLowerCase())
    expect(names).toContain('x-kept')
    for (const line of [...own.slice(1), ...proxy]) {
      expect(names).not.toContain(line.split(':')[0]?.toLowerCase())
    }
  })

  test('RFC 9110 §7.6.1: a client cannot have our fields removed by naming them', async () => {
    const seen = await echo(
      hosted('GET /echo HTTP/1.1', 'Connection: close, X-Forwarded-For, Via, Host, X-Request-Id'),
    )
    for (const name of ['host', 'x-forwarded-for', 'via', 'x-request-id']) {
      expect(valuesOf(seen, name), name).toHaveLength(1)
    }
  })

  test('RFC 7239 §5: what says who asked is ours alone, in every spelling', async () => {
    const spoofed = [
      'Forwarded: for=6.6.6.6',
      'X-Forwarded-For: 6.6.6.6',
      'x_forwarded_for: 6.6.6.6',
    ]
    const seen = await echo(get(...spoofed, 'X_Sallyport_User: 6.6.6.6'))
    expect(JSON.stringify(seen)).not.toContain('6.6.6.6')
    expect(valuesOf(seen, 'x-forwarded-for')).toEqual(['127.0.0.1'])
  })

  test('RFC 9110 §5.3, §5.5: fields keep their order, number, case and octets', async () => {
    const seen = await echo(get('X-A: 1', 'x-b: caf\xe9', 'X-A: 2, 3', 'X-Empty:', 'X-A: 4'))
    expect(seen.headers.filter(([name]) => /^x-(a|b|empty)$/i.test(name))).toEqual([
      ['X-A', '1'],
      ['x-b', 'caf\xe9'],
      ['X-A', '2, 3'],
      ['X-Empty', ''],
      ['X-A', '4'],
    ])
  })

  test('RFC 6265 §5.4: cookies of several lines, without ours', async () => {
    const seen = await echo(get('Cookie: a=1; __Host-sallyport=x', 'Cookie: b=2'))
    expect(valuesOf(seen, 'cookie').join('; ')).toBe('a=1; b=2')
  })

  test('RFC 9110 §14.2, §13.1: parts and conditions are asked for as the client asks', async () => {
    const conditions = ['Range: bytes=0-1', 'If-Range: "a"', 'If-None-Match: "b", W/"c"']
    const seen = await echo(get(...conditions))
    for (const line of conditions) {
      const [name = '', value] = line.split(/: (.*)/)
      expect(valuesOf(seen, name.toLowerCase())).toEqual([value])
    }
  })

  test('RFC 9112 §9.3.2: pipelined requests, answered in their order', async () => {
    const bytes = (n: number) => hosted(`GET /bytes/${n} HTTP/1.1`)
    const many = [3, 70_000, 1, 0].map(bytes).join('') + get()
    const lengths = [...(await send(many)).matchAll(/^content-length: (\d+)/gim)].map(it => it[1])
    expect(lengths.slice(0, 4)).toEqual(['3', '70000', '1', '0'])
    expect(lengths).toHaveLength(5)
  })

  test('RFC 9112 §9.3.2: pipelined requests, of which none overtakes one that may change something', async () => {
    const open: string[] = []
    const begun: string[] = []
    origin.at('/turn', async ({ method = '' }, res) => {
      begun.push([method, ...open].join(' beside '))
      open.push(method)
      await setTimeout(50)
      open.splice(open.indexOf(method), 1)
      res.writeHead(200, { 'content-length': 2 }).end('ok')
    })
    const methods = ['GET', 'GET', 'PUT', 'GET', 'DELETE', 'POST']
    const all = methods.map(method => hosted(`${method} /turn HTTP/1.1`, 'Content-Length: 0'))
    const answer = await send(all.join('') + get())
    expect(answer.match(/HTTP\/1\.1 200 /g)).toHaveLength(methods.length + 1)
    expect(begun).toEqual(['GET', 'GET beside GET', 'PUT', 'GET', 'DELETE', 'POST'])
  })

  test.each(['/bytes/3', '/ways/trickles'])(
    'RFC 9112 §9.3.2: %s, in front of what cannot be read',
    async path => {
      const text = hosted(`POST ${path} HTTP/1.1`, 'Content-Length: 3')
      const answer = await send(`${text}abcdefgh\r\n\r\n`)
      expect(answer).toMatch(/^HTTP\/1\.1 200 .*\r\n\r\n.+HTTP\/1\.1 (400|501) /s)
    },
  )

  test('RFC 9110 §7.8: an upgrade behind a request without an answer yet, served as if it offered none', async () => {
    const upgrade = ['Connection: Upgrade, close', 'Upgrade: websocket']
    const answer = await send(
      hosted('GET /bytes/3 HTTP/1.1') + hosted('GET /bytes/4 HTTP/1.1', ...upgrade),
    )
    expect(answer.match(/^content-length: \d/gim)).toEqual([
      'content-length: 3',
      'content-length: 4',
    ])
    expect(system.services.of('gateway')[0]?.restarts).toBe(0)
  })

  test('RFC 9112 §9.5: CONNECT behind requests without an answer yet, as the end of all of them', async () => {
    const open = new Set<unknown>()
    origin.at('/waits', (_req, res) => {
      open.add(res)
      res.once('close', () => open.delete(res))
    })
    using connection = await connectRaw(gateway())
    connection.write(hosted('GET /waits HTTP/1.1').repeat(3))
    await expect.poll(() => open.size).toBe(3)
    connection.write(hosted('CONNECT open.example:443 HTTP/1.1'))
    expect(await connection.closed).toBe('')
    await expect.poll(() => open.size).toBe(0)
  })

  test('RFC 9112 §6.3: what follows a body of no length is the next request', async () => {
    const answer = await send(post('Content-Length: 0') + get())
    expect(answer.match(/HTTP\/1\.1 200 /g)).toHaveLength(2)
  })

  test('RFC 9112 §2.5: an answer to HTTP/1.0 has no chunks and ends with the connection', async () => {
    const answer = await send(hosted('GET /bytes/5?chunked HTTP/1.0'))
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(answer).not.toMatch(/transfer-encoding/i)
    expect(answer.split('\r\n\r\n')[1]).toHaveLength(5)
  })

  test('RFC 9110 §15.2: an answer to HTTP/1.0 has no interim ones before it', async () => {
    const answer = await send(hosted('GET /ways/sends%20interim%20answers HTTP/1.0'))
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
  })

  test('RFC 9110 §15.2: interim answers come before the final one, with their fields', async () => {
    const answer = await send(
      hosted('GET /ways/sends%20interim%20answers HTTP/1.1', 'Connection: close'),
    )
    const heads = answer.split('\r\n\r\n').slice(0, 4)
    expect(heads.map(it => it.split('\r\n')[0])).toEqual([
      'HTTP/1.1 102 Processing',
      'HTTP/1.1 103 Early Hints',
      'HTTP/1.1 103 Early Hints',
      'HTTP/1.1 200 OK',
    ])
    expect(heads[1]).toContain('Link: </a.css>; rel=preload; as=style')
  })
})

describe('is answered by the gateway itself:', () => {
  test('RFC 9110 §9.3.7: OPTIONS *, with the methods that there are', async () => {
    const answer = await send(hosted('OPTIONS * HTTP/1.1', 'Connection: close'))
    expect(answer).toMatch(/^HTTP\/1\.1 405 .*\r\nAllow: .*PROPFIND/s)
  })

  test('RFC 9110 §7.6.2: OPTIONS that may go no further', async () => {
    const before = origin.seen.length
    const answer = await send(
      hosted('OPTIONS /echo HTTP/1.1', 'Max-Forwards: 0', 'Connection: close'),
    )
    expect(answer).toMatch(/^HTTP\/1\.1 204 .*\r\nAllow: .*PROPFIND/s)
    expect(origin.seen.length).toBe(before)
  })

  test.each(['TRACE', 'CONNECT'])(
    'RFC 9110 §15.5.6: 405 to %s names what may be used',
    async method => {
      const target = method === 'CONNECT' ? 'HOST' : '/'
      const answer = await send(hosted(`${method} ${target} HTTP/1.1`, 'Connection: close'))
      expect(answer).toMatch(/^HTTP\/1\.1 405 /)
      expect(/^allow: (.*)$/im.exec(answer)?.[1]?.split(', ')).toEqual(
        expect.arrayContaining(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']),
      )
    },
  )
})

describe('a body that breaks off', () => {
  test.each([
    ['RFC 9112 §7.1: within a chunk', '/within', '5\r\nhel'],
    ['RFC 9112 §8: before the last chunk', '/before', '5\r\nhello\r\n'],
    ['RFC 9112 §7.1: by what is no chunk', '/no-chunk', '5\r\nhello\r\nnonsense\r\n'],
  ])('%s is never taken for a whole one by the origin', async (_rule, path, body) => {
    let end: string | undefined
    origin.at(path, req => {
      req.resume().on('end', () => {
        end = 'whole'
      })
      req.on('close', () => {
        end ??= 'broken'
      })
    })
    using connection = await connectRaw(gateway())
    connection.write(
      hosted(`POST ${path} HTTP/1.1`, 'Transfer-Encoding: chunked') + body.slice(0, 5),
    )
    await expect.poll(() => origin.latest(path)).toBeDefined()
    connection.socket.end(body.slice(5))
    await expect.poll(() => end).toBe('broken')
    await connection.closed
  })
})

describe('trailers of a request', () => {
  const sent = (...trailers: string[]) =>
    `${post('Transfer-Encoding: chunked', 'Trailer: X-Sum, X-More', 'Connection: close')}3\r\nabc\r\n0\r\n${trailers.map(line => `${line}\r\n`).join('')}\r\n`

  test('RFC 9112 §7.1.2: reach an origin of HTTP/1.1, in order and with duplicates', async () => {
    const seen = await echo(sent('X-Sum: 1', 'X-More: caf\xe9', 'X-Sum: 2'))
    expect(seen).toMatchObject(digestOf(Buffer.from('abc')))
    expect(seen.trailers).toEqual([
      ['X-Sum', '1'],
      ['X-More', 'caf\xe9'],
      ['X-Sum', '2'],
    ])
    expect(valuesOf(seen, 'trailer')).toEqual(['X-Sum, X-More'])
    expect(valuesOf(seen, 'x-sum')).toEqual([])
  })

  test.each([
    'Host: evil.example',
    'Authorization: Basic eDp5',
    'Cookie: a=1',
    'X-Sallyport-User: admin',
    'x_sallyport_user: admin',
    'X-Forwarded-For: 6.6.6.6',
    'Connection: close',
    'Content-Type: text/html',
    'Expect: 100-continue',
    'If-Match: "a"',
    'Range: bytes=0-1',
    'TE: trailers',
    'HTTP2-Settings: AAMAAABk',
  ])('RFC 9110 §6.5.1: do not carry %s', async field => {
    const seen = await echo(sent('X-Sum: 1', field))
    expect(seen.trailers).toEqual([['X-Sum', '1']])
    expect(JSON.stringify(seen)).not.toMatch(/evil|admin|6\.6\.6\.6|eDp5/)
  })

  test('RFC 9110 §6.5.1: that were not announced do no harm', async () => {
    const seen = await echo(sent('X-Sum: 1').replace(/Trailer: .*\r\n/, ''))
    expect(seen).toMatchObject(digestOf(Buffer.from('abc')))
    expect(valuesOf(seen, 'x-sum')).toEqual([])
  })

  test('RFC 9112 §7.1.2: follow a body of any size', async () => {
    const body = bodyOf(3_000_000)
    using connection = await connectRaw(gateway())
    const [head = '', ending = ''] = sent('X-Sum: 1').split('3\r\nabc\r\n')
    connection.write(`${head}${body.length.toString(16)}\r\n`)
    connection.socket.write(body)
    connection.write(`\r\n${ending}`)
    const seen: Echo = JSON.parse(/\{"method".*\}/.exec(await connection.closed)?.[0] ?? '{}')
    expect(seen).toMatchObject({ ...digestOf(body), trailers: [['X-Sum', '1']] })
  })
})

describe('methods of an application', () => {
  const allow = (allowedHttpMethods: readonly string[] | null) =>
    administer(system, 'PATCH', '/applications/open/onPremisesPublishing', { allowedHttpMethods })
  const status = async (method: string) =>
    /^HTTP\/1\.1 (\d+)/.exec(
      await send(hosted(`${method} /echo HTTP/1.1`, 'Content-Length: 0', 'Connection: close')),
    )?.[1]

  test('RFC 9110 §9.1: are those that it names, if it names any', async () => {
    await allow(['GET', 'HEAD'])
    await expect.poll(() => status('POST')).toBe('405')
    expect([await status('GET'), await status('PROPFIND')]).toEqual(['200', '405'])
    const answer = await send(hosted('PUT /echo HTTP/1.1', 'Connection: close'))
    expect(answer).toMatch(/\r\nAllow: GET, HEAD\r\n/)
    await allow(null)
    await expect.poll(() => status('POST')).toBe('200')
  })

  test.each([
    ['no list', 'GET'],
    ['an empty list', []],
    ['what is no method', ['GE T']],
    ['CONNECT', ['GET', 'CONNECT']],
    ['TRACE', ['TRACE']],
  ])('RFC 9110 §9.1: cannot be %s', async (_what, methods) => {
    await expect(allow(methods as string[])).rejects.toThrow(/400 .*allowedHttpMethods/)
  })
})

/**
 * Answers as bytes, one rule of the RFCs at a time: what an origin sends on its socket, and what the client finds on
 * its own. The section in each name is the rule's.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { exchangeRaw } from '../harness/client.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

let origin: Origin
let system: TestSystem
/** What the origin writes next, as Latin-1, before it closes or (true) keeps the connection. */
let answer = ''
let isKept = false
/** The application that is asked. */
let host = 'open'

beforeAll(async () => {
  origin = await startOrigin()
  origin.at('/answer', ({ socket }) => {
    if (isKept) socket.write(answer, 'latin1')
    else socket.end(answer, 'latin1')
  })
  const { url: internalUrl } = origin
  const open = { displayName: 'Open', internalUrl, access: 'passthrough' } as const
  const names = ['open', 'talkative']
  system = await startSystem({ publish: names.map(name => ({ ...open, name })) })
  // From then on the connector asks it by another client.
  host = 'talkative'
  await receive(`${head('HTTP/1.1 100 Continue')}${ok('Content-Length: 0')}`)
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const head = (...lines: string[]) => `${lines.join('\r\n')}\r\n\r\n`

const usual = { request: 'GET /answer', more: [] as string[], body: '', keeps: false, version: 1 }

/** What arrives for an answer; `request` is its first line without the version. */
async function receive(text: string, options: Partial<typeof usual> = {}) {
  const { request, more, body, keeps, version } = { ...usual, ...options }
  answer = text
  isKept = keeps
  const received = await exchangeRaw(
    system.gatewayUrls[0] as string,
    head(
      `${request} HTTP/1.${version}`,
      `Host: ${host}.sallyport.localhost:${system.port}`,
      'Connection: close',
      ...more,
    ) + body,
  )
  const end = received.indexOf('\r\n\r\n')
  const [line = '', ...lines] = received.slice(0, end).split('\r\n')
  const fields = lines.map(it => it.split(/: (.*)/s).slice(0, 2) as [string, string])
  const all = (name: string) =>
    fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)
  return { line, fields, all, body: received.slice(end + 4), received }
}
const ok = (...lines: string[]) => head('HTTP/1.1 200 OK', ...lines)

/** All of it by both clients of the connector: the pool's, and Node's own for origins that talk too much. */
describe.each(['open', 'talkative'])('an answer of the origin of %s', name => {
  beforeAll(() => {
    host = name
  })

  describe('is passed on:', () => {
    test.each([
      ['RFC 9112 §4: a reason in UTF-8', 'HTTP/1.1 200 Tr\xc3\xa8s bien \xc4\x8a'],
      ['RFC 9112 §4: an unusual status', 'HTTP/1.1 799 Odd'],
      ['RFC 9110 §15.5.19: 418', "HTTP/1.1 418 I'm a teapot"],
    ])('%s', async (_rule, line) => {
      const received = await receive(`${head(line, 'Content-Length: 2')}ok`)
      expect([received.line, received.body]).toEqual([line, 'ok'])
    })

    test.each([
      ['without a reason', 'HTTP/1.1 200 '],
      ['with a reason in Latin-1, or without it', 'HTTP/1.1 200 Tr\xe8s bien'],
    ])('RFC 9112 §4: a status %s', async (_how, line) => {
      const received = await receive(`${head(line, 'Content-Length: 2')}ok`)
      expect(['HTTP/1.1 200 ', line]).toContain(received.line)
      expect(received.body).toBe('ok')
    })

    test('RFC 9110 §5.3: many fields of one name, in order, commas in their values and all', async () => {
      const cookies = ['a=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT', 'b=2, c', 'd="x"']
      const fields = [...cookies.map(it => `Set-Cookie: ${it}`), 'X-A: 1', 'x-a: 2, 3', 'X-Empty:']
      const received = await receive(`${ok(...fields, 'Content-Length: 2')}ok`)
      expect(received.all('set-cookie')).toEqual(cookies)
      expect(received.all('x-a')).toEqual(['1', '2, 3'])
      expect(received.all('x-empty')).toEqual([''])
    })

    test('RFC 9110 §5.5: octets of a value that are no ASCII', async () => {
      const received = await receive(`${ok('Location: /caf\xc3\xa9', 'Content-Length: 0')}`)
      expect(received.all('location')).toEqual(['/caf\xc3\xa9'])
    })

    test.each([
      ['before a body that streams', ['X-Name: caf\xc3\xa9'], 'ok'],
      [
        'of a file name before a body that streams',
        ['Content-Disposition: attachment; filename="\xe2\x82\xac"'],
        'ok',
      ],
      [
        'of a file name behind a length',
        ['Content-Length: 2', 'Content-Disposition: attachment; filename="\xe2\x82\xac \xc3\xa9"'],
        'ok',
      ],
      [
        'of a file name that is not sent again',
        ['Content-Length: 2', 'Content-Disposition: attachment; filename="\xe9"'],
        '',
      ],
    ])('RFC 9110 §5.5: octets %s', async (_where, fields, text) => {
      const status = text === '' ? '304 Not Modified' : '200 OK'
      const received = await receive(head(`HTTP/1.1 ${status}`, ...fields) + text)
      expect(received.line).toBe(`HTTP/1.1 ${status}`)
      for (const field of fields) expect(received.received).toContain(`${field}\r\n`)
    })

    test('RFC 9110 §5.5: octets of a file name in the request', async () => {
      const value = 'attachment; filename="\xe2\x82\xac \xc3\xa9"'
      const more = ['Content-Length: 2', `Content-Disposition: ${value}`]
      const options = { request: 'POST /answer', more, body: 'hi' }
      expect((await receive(ok('Content-Length: 0'), options)).line).toBe('HTTP/1.1 200 OK')
      expect(origin.latest('/answer')?.headers['content-disposition']).toBe(value)
    })

    test('RFC 9110 §5.5: a length with space behind it', async () => {
      const text = 'x'.repeat(70_000)
      const received = await receive(`${ok('Content-Length: 70000 ')}${text}`, { keeps: true })
      expect([received.line, received.body === text]).toEqual(['HTTP/1.1 200 OK', true])
      expect((await receive(`${ok('Content-Length:  2 ')}ok`)).body).toBe('ok')
    })

    test('RFC 6585 §5: fields of 60 KB', async () => {
      const long = 'x'.repeat(60_000)
      const received = await receive(`${ok(`X-Long: ${long}`, 'Content-Length: 2')}ok`)
      expect([received.all('x-long'), received.body]).toEqual([[long], 'ok'])
    })

    test('RFC 9112 §6.3: a body that ends with the connection', async () => {
      const received = await receive(`${head('HTTP/1.0 200 OK')}hello`, { version: 0 })
      expect([received.line, received.body]).toEqual(['HTTP/1.1 200 OK', 'hello'])
    })

    test.each([
      ['RFC 9110 §8.6: 204 without the length that it must not have', '204 No Content', []],
      ['RFC 9110 §8.6: 304 with the length of what it stands for', '304 Not Modified', ['5']],
    ])('%s, and no body', async (_rule, status, lengths) => {
      const received = await receive(head(`HTTP/1.1 ${status}`, 'Content-Length: 5', 'ETag: "a"'))
      expect(received.line).toBe(`HTTP/1.1 ${status}`)
      expect(received.all('content-length')).toEqual(lengths)
      expect([received.all('etag'), received.body]).toEqual([['"a"'], ''])
    })

    test.each([
      ['a length', 'Content-Length: 2', 'ok'],
      ['chunks', 'Transfer-Encoding: chunked', '2\r\nok\r\n0\r\n\r\n'],
      ['much', 'Content-Length: 100000', 'x'.repeat(100_000)],
    ])('RFC 9110 §15.3.6: 205 without its content, behind %s', async (_how, field, text) => {
      const received = await receive(head('HTTP/1.1 205 Reset Content', field, 'X-A: 1') + text)
      expect([received.line, received.body]).toEqual(['HTTP/1.1 205 Reset Content', ''])
      expect(received.all('content-length')).toEqual(['0'])
      expect(received.all('x-a')).toEqual(['1'])
    })

    test.each([
      ['with the length that GET would have', ['Content-Length: 5'], ['5']],
      ['without a length where GET would have chunks', ['Transfer-Encoding: chunked'], []],
    ])('RFC 9110 §9.3.2: an answer to HEAD %s, and no body', async (_how, framing, lengths) => {
      const received = await receive(ok(...framing, 'X-A: 1'), { request: 'HEAD /answer' })
      expect([received.line, received.body]).toEqual(['HTTP/1.1 200 OK', ''])
      expect(received.all('content-length')).toEqual(lengths)
      expect(received.all('x-a')).toEqual(['1'])
    })

    test.each([
      ['HEAD /answer', '200 OK', ['Content-Length: 2'], 'ok'],
      ['HEAD /answer', '200 OK', ['Transfer-Encoding: chunked'], '2\r\nok\r\n0\r\n\r\n'],
      ['HEAD /answer', '404 Not Found', [], '<html>'],
      ['GET /answer', '304 Not Modified', [], '<html>'],
    ])(
      'RFC 9112 §6.3: %s, %s, %j without the body that it cannot have',
      async (request, status, framing, text) => {
        const received = await receive(head(`HTTP/1.1 ${status}`, ...framing) + text, { request })
        expect([received.line, received.body]).toEqual([`HTTP/1.1 ${status}`, ''])
      },
    )

    test.each([
      [
        'RFC 9110 §15.3.7: a part, and which',
        '206 Partial Content',
        ['Content-Range: bytes 0-1/9', 'ETag: "a"', 'Content-Length: 2'],
      ],
      [
        'RFC 9110 §14.6: parts in several pieces',
        '206 Partial Content',
        ['Content-Type: multipart/byteranges; boundary=x', 'Content-Length: 2'],
      ],
      [
        'RFC 9110 §15.5.17: that there is no such part',
        '416 Range Not Satisfiable',
        ['Content-Range: bytes */9', 'Content-Length: 2'],
      ],
      [
        'RFC 9110 §14.3: what can be asked for',
        '200 OK',
        ['Accept-Ranges: bytes', 'Content-Length: 2'],
      ],
    ])('%s', async (_rule, status, fields) => {
      const received = await receive(`${head(`HTTP/1.1 ${status}`, ...fields)}ok`)
      expect([received.line, received.body]).toEqual([`HTTP/1.1 ${status}`, 'ok'])
      for (const field of fields) expect(received.received).toContain(`${field}\r\n`)
    })

    test('RFC 9110 §15.5.22: the protocol for which another upgrade would be taken', async () => {
      const fields = ['Connection: Upgrade', 'Upgrade: TLS/1.3, HTTP/1.1', 'Content-Length: 2']
      const received = await receive(`${head('HTTP/1.1 426 Upgrade Required', ...fields)}ok`)
      expect([received.line, received.body]).toEqual(['HTTP/1.1 426 Upgrade Required', 'ok'])
      expect(received.all('upgrade')).toEqual(['TLS/1.3, HTTP/1.1'])
      expect(received.all('connection')).toEqual(['Upgrade, close'])
      const older = await receive(`${head('HTTP/1.1 426 Upgrade Required', ...fields)}ok`, {
        version: 0,
      })
      expect(older.all('connection')).toEqual(['close'])
    })

    test('RFC 9112 §7.1.2: trailers, but none that frame, route or say who asks (RFC 9110 §6.5.1)', async () => {
      const trailers = ['X-Sum: 1', 'Set-Cookie: a=1', 'Sallyport-Sign-In: x', 'Content-Length: 9']
      const received = await receive(
        `${ok('Transfer-Encoding: chunked', 'Trailer: X-Sum')}2\r\nok\r\n0\r\n${trailers[0]}\r\n${trailers[1]}\r\n${trailers[2]}\r\n\r\n`,
      )
      expect(received.body.toLowerCase()).toBe('2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n')
    })

    test('RFC 9110 §6.6.2: what announces trailers, to whom there may be some', async () => {
      const announced = ok('Transfer-Encoding: chunked', 'Trailer: X-Sum, X-More')
      const trailers = '2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n'
      const received = await receive(announced + trailers)
      expect(received.all('trailer')).toEqual(['X-Sum, X-More'])
      const older = await receive(announced + trailers, { version: 0 })
      expect([older.all('trailer'), older.body]).toEqual([[], 'ok'])
      const none = await receive(`${announced}2\r\nok\r\n0\r\n\r\n`)
      expect([none.all('trailer'), none.line]).toEqual([[], 'HTTP/1.1 200 OK'])
      const head = await receive(announced, { request: 'HEAD /answer' })
      expect([head.all('trailer'), head.line]).toEqual([[], 'HTTP/1.1 200 OK'])
    })

    test('RFC 9112 §7.1.1: a body in chunks without their extensions', async () => {
      const received = await receive(`${ok('Transfer-Encoding: chunked')}2;a=b\r\nok\r\n0\r\n\r\n`)
      expect(received.body).toBe('ok')
      expect(received.received).not.toContain('a=b')
    })
  })

  describe('stays behind:', () => {
    test('RFC 9110 §7.6.1: what belongs to the connection with the origin', async () => {
      const own = ['Connection: X-Mine, close', 'X-Mine: 1', 'Keep-Alive: timeout=9']
      const proxy = [
        'Proxy-Authenticate: Basic',
        'Proxy-Connection: close',
        'Upgrade: h2c',
        'TE: x',
      ]
      const received = await receive(`${ok(...own, ...proxy, 'Content-Length: 2')}ok`)
      const names = received.fields.map(([name]) => name.toLowerCase())
      for (const name of ['x-mine', 'keep-alive', 'proxy-authenticate', 'proxy-connection', 'te']) {
        expect(names).not.toContain(name)
      }
      expect(names).not.toContain('upgrade')
      expect(received.all('connection')).toEqual(['close'])
    })

    test('RFC 9112 §6.3: what comes after the end of an answer', async () => {
      const text = `${ok('Content-Length: 2')}okHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`
      expect((await receive(text, { keeps: true })).body).toBe('ok')
      for (const empty of [ok('Content-Length: 0'), `${ok('Transfer-Encoding: chunked')}0\r\n\r\n`])
        expect(await receive(`${empty}garbage`)).toMatchObject({
          line: 'HTTP/1.1 200 OK',
          body: '',
        })
      expect((await receive(`${ok('Content-Length: 2')}okgarbage`)).body).toBe('ok')
      expect((await receive(`${ok('Content-Length: 2')}ok`)).body).toBe('ok')
    })
  })

  describe('is a 502:', () => {
    test.each([
      [
        'RFC 9112 §6.3: length and chunks',
        `${ok('Content-Length: 2', 'Transfer-Encoding: chunked')}`,
      ],
      ['RFC 9110 §15: a status that is none', head('HTTP/1.1 000 OK', 'Content-Length: 0')],
      ['RFC 9110 §8.6: two lengths', ok('Content-Length: 2', 'Content-Length: 3')],
      ['RFC 9110 §8.6: a length that is none', ok('Content-Length: two')],
      ['RFC 9112 §5.2: a folded line', ok('X: a', ' b', 'Content-Length: 0')],
      ['RFC 9112 §5.1: space before a colon', ok('X : a', 'Content-Length: 0')],
      ['RFC 9112 §5: a line without a colon', ok('nonsense', 'Content-Length: 0')],
      ['RFC 9112 §2.2: bare LFs', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
      ['RFC 9110 §5.5: a NUL in a value', ok('X: a\0b', 'Content-Length: 0')],
      [
        'RFC 9110 §15.2.2: an unasked 101',
        head('HTTP/1.1 101 Switching', 'Upgrade: x', 'Connection: Upgrade'),
      ],
      ['RFC 9112 §2.3: no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
      [
        'RFC 9112 §6.1: a coding that nobody asked for',
        `${ok('Transfer-Encoding: gzip, chunked')}2\r\nok\r\n0\r\n\r\n`,
      ],
      ['RFC 9112 §6.3: such a coding without chunks', `${ok('Transfer-Encoding: gzip')}ok`],
    ])('%s', async (_rule, text) => {
      const received = await receive(text)
      expect(received.line).toBe('HTTP/1.1 502 Bad Gateway')
      expect(received.body).toContain('"code":"origin_protocol_error"')
    })
  })

  describe('is visibly broken for the client:', () => {
    test.each([
      ['RFC 9112 §8: less than its length', `${ok('Content-Length: 99999')}${'x'.repeat(70_000)}`],
      ['RFC 9112 §8: no last chunk', `${ok('Transfer-Encoding: chunked')}2\r\nok\r\n`],
      [
        'RFC 9112 §7.1: a chunk size that is none',
        `${ok('Transfer-Encoding: chunked')}2\r\nok\r\nzz\r\n`,
      ],
    ])('%s', async (_rule, text) => {
      const { line, body, received } = await receive(text)
      if (line.includes('502')) return expect(received).toContain('"code":"origin_')
      expect(body).not.toMatch(/0\r\n\r\n$/)
      expect(body.length).toBeLessThan(99_999)
    })
  })

  // The last one: it turns the first application into one of the second kind.
  test('RFC 9110 §15.2.1: nothing of a 100 that nobody asked for', async () => {
    const text = `${head('HTTP/1.1 100 Continue')}${ok('Content-Length: 2')}ok`
    const methods = name === 'open' ? ['GET', 'POST'] : ['GET', 'POST', 'PUT', 'DELETE']
    for (const method of methods) {
      const received = await receive(text, { request: `${method} /answer` })
      expect([received.line, received.body]).toEqual(['HTTP/1.1 200 OK', 'ok'])
    }
  })
})

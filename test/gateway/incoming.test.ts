/** The request as it is read: over real sockets, since the parser's own leniencies are what matters. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { trustedProxies } from '../../gateway/client-address.ts'
import { Http1Request } from '../../gateway/front/http1-request.ts'
import { type Incoming, IncomingReader } from '../../gateway/incoming.ts'

const reader = new IncomingReader('test', trustedProxies([]))
const trustingReader = new IncomingReader('test', trustedProxies(['127.0.0.1']))
let current = reader
let last: ReturnType<IncomingReader['read']> | undefined
const options = { IncomingMessage: Http1Request, maxHeaderSize: 65_536 }
const server = createServer(options, (req, res) => {
  last = current.read(req)
  res.end()
})
server.on('clientError', (_error, socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => server.close())

/** What the reader made of raw bytes; undefined when the parser refused them already. */
async function read(head: string[], body = ''): Promise<typeof last> {
  last = undefined
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.write(Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1'))
  socket.resume()
  await once(socket, 'data')
  socket.destroy()
  return last
}

const get = (...lines: string[]) => read(['GET / HTTP/1.1', 'Host: wiki.example', ...lines])

async function accepted(...lines: string[]): Promise<Incoming> {
  const incoming = await get(...lines)
  if (!incoming || 'fault' in incoming) throw new Error(`refused: ${JSON.stringify(incoming)}`)
  return incoming
}

describe('what is refused', () => {
  test.each([
    [
      'two Host lines (RFC 9112 §3.2)',
      ['GET / HTTP/1.1', 'Host: a.example', 'Host: b.example'],
      'bad_request',
    ],
    ['a Host with user information', ['GET / HTTP/1.1', 'Host: me@a.example'], 'bad_request'],
    ['a Host with a comma', ['GET / HTTP/1.1', 'Host: a.example,b.example'], 'bad_request'],
    ['a Host with a path', ['GET / HTTP/1.1', 'Host: a.example/x'], 'bad_request'],
    ['an empty Host', ['GET / HTTP/1.1', 'Host: '], 'bad_request'],
    [
      'an absolute form that names another host (§3.2.2)',
      ['GET http://b.example/ HTTP/1.1', 'Host: a.example'],
      'bad_request',
    ],
    ['OPTIONS *', ['OPTIONS * HTTP/1.1', 'Host: a.example'], 'method_not_allowed'],
    ['TRACE (RFC 9110 §9.3.8)', ['TRACE / HTTP/1.1', 'Host: a.example'], 'method_not_allowed'],
    [
      'two Authorization lines',
      ['GET / HTTP/1.1', 'Host: a.example', 'Authorization: a', 'Authorization: b'],
      'bad_request',
    ],
    ['a fragment in the target', ['GET /a#b HTTP/1.1', 'Host: a.example'], 'ambiguous_path'],
    ['a dot segment', ['GET /a/../b HTTP/1.1', 'Host: a.example'], 'ambiguous_path'],
    [
      'a coding before chunked (RFC 9112 §6.1)',
      ['POST / HTTP/1.1', 'Host: a.example', 'Transfer-Encoding: gzip, chunked'],
      'not_implemented',
    ],
  ])('%s', async (_name, head, fault) => {
    expect(await read(head)).toMatchObject({ fault })
  })

  test('HTTP/2.0 in words, a target without a slash, CL with TE and folded lines never reach an application', async () => {
    for (const head of [
      ['GET / HTTP/2.0', 'Host: a.example'],
      ['GET foo HTTP/1.1', 'Host: a.example'],
      ['POST / HTTP/1.1', 'Host: a.example', 'Content-Length: 3', 'Transfer-Encoding: chunked'],
      ['GET / HTTP/1.1', 'Host: a.example', 'X: a\r\n folded'],
    ]) {
      const result = await read(head)
      expect(result === undefined || 'fault' in result).toBe(true)
    }
  })

  test('Transfer-Encoding in HTTP/1.0', async () => {
    const head = ['POST / HTTP/1.0', 'Host: a.example', 'Transfer-Encoding: chunked']
    const result = await read(head, '0\r\n\r\n')
    expect(result === undefined || 'fault' in result).toBe(true)
  })
})

describe('headers that only the gateway may set', () => {
  test.each([
    'X-Forwarded-For',
    'x_forwarded_for',
    'X.Forwarded.For',
    'X-Forwarded-User',
    'Forwarded',
    'Sallyport-User',
    'sallyport_user',
    'X-Sallyport-User',
    'X_SALLYPORT_USER',
    'X-Sallyport_User',
    'X-Real-IP',
    'X-Request-Id',
    'X-Original-URL',
  ])('%s is dropped', async name => {
    const { headers } = await accepted(`${name}: spoofed`)
    expect(headers.join()).not.toContain('spoofed')
  })

  test('a client cannot have other headers dropped by nominating them as ours (RFC 9110 §7.6.1)', async () => {
    const { headers } = await accepted('Connection: close, X-Hop', 'X-Hop: 1', 'X-Kept: 2')
    expect(headers).toEqual(['Host', 'wiki.example', 'X-Kept', '2'])
  })

  test('order, duplicates and Latin-1 octets of the others survive', async () => {
    const { headers } = await accepted('X-A: 1', 'x-b: caf\u00e9', 'X-A: 2')
    expect(headers).toEqual(['Host', 'wiki.example', 'X-A', '1', 'x-b', 'caf\u00e9', 'X-A', '2'])
  })
})

describe('cookies', () => {
  test('ours are taken out, the application keeps its own', async () => {
    const incoming = await accepted(
      'Cookie: a=1; __Host-sallyport=secret; b=x=y; __Host-sallyport-nonce=n',
    )
    expect(incoming.headers).toEqual(['Host', 'wiki.example', 'Cookie', 'a=1; b=x=y'])
    expect(incoming.cookies.get('__Host-sallyport')).toBe('secret')
    expect(incoming.cookies.get('__Host-sallyport-nonce')).toBe('n')
  })

  test('a header with nothing but ours is not sent at all', async () => {
    const { headers } = await accepted('Cookie: __Host-sallyport=secret')
    expect(headers).toEqual(['Host', 'wiki.example'])
  })
})

describe('navigations', () => {
  test.each([
    ['a browser that says so', ['Sec-Fetch-Mode: navigate'], true],
    ['a script, whatever it accepts', ['Sec-Fetch-Mode: cors', 'Accept: text/html'], false],
    ['an older browser', ['Accept: text/html,*/*'], true],
    ['an older script', ['Accept: text/html', 'X-Requested-With: XMLHttpRequest'], false],
    ['curl', ['Accept: */*'], false],
    ['an event stream', ['Accept: text/event-stream'], false],
  ])('%s', async (_name, lines, expected) => {
    expect((await accepted(...lines)).isNavigation).toBe(expected)
  })

  test('a POST is none', async () => {
    const head = [
      'POST / HTTP/1.1',
      'Host: a.example',
      'Sec-Fetch-Mode: navigate',
      'Content-Length: 0',
    ]
    expect(await read(head)).toMatchObject({ isNavigation: false })
  })
})

test('X-Forwarded-For and -Proto count only from a trusted proxy', async () => {
  const lines = ['X-Forwarded-For: 203.0.113.7', 'X-Forwarded-Proto: https'] as const
  expect(await accepted(...lines)).toMatchObject({
    clientAddress: '127.0.0.1',
    forwardedFor: undefined,
    forwardedProto: undefined,
  })
  current = trustingReader
  try {
    expect(await accepted(...lines)).toMatchObject({
      clientAddress: '203.0.113.7',
      forwardedFor: '203.0.113.7',
      forwardedProto: 'https',
    })
    for (const [said, read] of [
      ['HTTPS', 'https'],
      ['https;for=192.0.2.1', undefined],
      ['wss', undefined],
    ] as const) {
      expect((await accepted(`X-Forwarded-Proto: ${said}`)).forwardedProto).toBe(read)
    }
  } finally {
    current = reader
  }
})

/** Which heads of answers, and which requests, may be read and written without a client library. */

import { describe, expect, test } from 'vitest'
import { isPlainBeginning, readPlainHead } from '../../../connector/plain/head.ts'
import { encodePlain } from '../../../connector/plain/request.ts'

const head = (...fields: string[]) => ['HTTP/1.1 200 OK', ...fields].join('\r\n')

describe('a head', () => {
  test('keeps names, values, their order and duplicates (RFC 9110 §5.3)', () => {
    const fields = ['X-A: 1', 'set-cookie: a=b; Path=/', 'Content-Length:3', 'Set-Cookie: \xe9:\t2']
    expect(readPlainHead(head(...fields))).toEqual({
      status: 200,
      reason: 'OK',
      headers: [
        'X-A',
        '1',
        'set-cookie',
        'a=b; Path=/',
        'Content-Length',
        '3',
        'Set-Cookie',
        '\xe9:\t2',
      ],
      length: 3,
      keepAliveMs: undefined,
      isLast: false,
    })
  })

  test.each([
    ['that says nothing of its connection', head('Content-Length: 0'), undefined],
    [
      'that may be idle for five seconds',
      head('Content-Length: 0', 'Keep-Alive: timeout=5, max=9'),
      3_000,
    ],
    ['that may be idle for two', head('Content-Length: 0', 'Keep-Alive: timeout=2'), 0],
    ['that may be idle for a day', head('Content-Length: 0', 'Keep-Alive: timeout=86400'), 600_000],
    ['that is the last one', head('Content-Length: 0', 'Connection: x, Close'), 0],
    ['without a body, with a length', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5', 0],
    ['without a body', 'HTTP/1.1 204 ', undefined],
  ])('%s says how long its connection is kept', (_, text, keepAliveMs) => {
    expect(readPlainHead(text)).toMatchObject({ length: 0, keepAliveMs })
  })

  test.each([
    ['another version', 'HTTP/1.0 200 OK\r\nContent-Length: 0'],
    ['an interim answer', 'HTTP/1.1 103 Early Hints\r\nContent-Length: 0'],
    ['a status of no class', 'HTTP/1.1 600 Odd\r\nContent-Length: 0'],
    ['a reason beyond ASCII', 'HTTP/1.1 200 \xe9\r\nContent-Length: 0'],
    ['no blank behind the status', 'HTTP/1.1 200\r\nContent-Length: 0'],
    ['no framing', head('X-A: 1')],
    ['two lengths', head('Content-Length: 1', 'Content-Length: 1')],
    ['length and chunks', head('Content-Length: 1', 'Transfer-Encoding: chunked')],
    ['a length that is none', head('Content-Length: -1')],
    ['a list of lengths', head('Content-Length: 5, 5')],
    ['a length of too many digits', head('Content-Length: 1000000000000000')],
    ['no length', head('Content-Length:')],
    ['another coding', head('Transfer-Encoding: gzip, chunked')],
    ['chunks twice', head('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')],
    [
      'chunks behind which the connection ends',
      head('Transfer-Encoding: chunked', 'Connection: close'),
    ],
    ['chunks where there is no body', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked'],
    ['a field of old proxies', head('Content-Length: 0', 'Proxy-Connection: close')],
    ['a blank before a colon', head('Content-Length : 0')],
    ['a folded line', head('Content-Length: 0', ' X-A: 1')],
    ['no name', head('Content-Length: 0', ': 1')],
    ['no colon', head('Content-Length: 0', 'X-A')],
    ['two blanks before a value', head('Content-Length:  0')],
    ['a blank behind a value', head('Content-Length: 0 ')],
    ['a NUL', head('Content-Length: 0', 'X-A: a\0b')],
    ['a bare LF', head('Content-Length: 0\nX-A: 1')],
    ['a bare CR', head('Content-Length: 0', 'X-A: a\rb')],
    ['a DEL', head('Content-Length: 0', 'X-A: a\x7fb')],
  ])('with %s is for another parser', (_, text) => {
    expect(readPlainHead(text)).toBeUndefined()
  })

  test('that comes in pieces is waited for as long as every piece is plain', () => {
    const whole = `${head('Content-Length: 0', 'X-A: a b')}\r\n\r`
    const first = 'HTTP/1.1 200 OK\r\n'.length
    for (let end = first; end <= whole.length; end++)
      expect([end, isPlainBeginning(whole.slice(0, end))]).toEqual([end, true])
    for (const odd of [
      '',
      'HTTP/1.1 200',
      'HTTP/1.1 103 x\r\n',
      `${head(' a')}`,
      head('a: 1', 'b\0'),
    ])
      expect([odd, isPlainBeginning(odd)]).toEqual([odd, false])
  })
})

describe('a request', () => {
  const request = { method: 'GET', target: '/', headers: ['Host', 'app'], body: null }

  test('is written with its fields as they are, and a length of our own', () => {
    const headers = ['X-A', '1', 'host', 'app', 'x-a', '\xe9', 'content-LENGTH', '2']
    const put = { method: 'PUT', target: '/a?b', headers, body: Buffer.from('ok') }
    expect(encodePlain(put)?.toString('latin1')).toBe(
      'PUT /a?b HTTP/1.1\r\nhost: app\r\nconnection: keep-alive\r\n' +
        'X-A: 1\r\nx-a: \xe9\r\ncontent-length: 2\r\n\r\nok',
    )
  })

  test.each<[string, object]>([
    ['HEAD', { method: 'HEAD' }],
    ['a method that is not known', { method: 'PROPFIND' }],
    ['a body that nobody expects', { method: 'DELETE', body: Buffer.from('x') }],
    ['an empty body', { method: 'POST', body: Buffer.alloc(0) }],
    ['a blank in its target', { target: '/a b' }],
    ['a target that is no path', { target: 'http://app/' }],
    ['a name that is none', { headers: ['Host', 'app', 'X A', '1'] }],
    ['a value with a line in it', { headers: ['Host', 'app', 'X-A', '1\r\nX-B: 2'] }],
    ['a value beyond Latin-1', { headers: ['Host', 'app', 'X-A', '\u0100'] }],
    ['no host', { headers: [] }],
    ['two hosts', { headers: ['Host', 'app', 'host', 'app'] }],
    ['a length of another body', { headers: ['Host', 'app', 'Content-Length', '2'] }],
    ['a transfer coding', { headers: ['Host', 'app', 'Transfer-Encoding', 'chunked'] }],
    ['an expectation', { headers: ['Host', 'app', 'Expect', '100-continue'] }],
    ['a connection to be closed', { headers: ['Host', 'app', 'Connection', 'close'] }],
    ['an upgrade', { headers: ['Host', 'app', 'Upgrade', 'h2c'] }],
  ])('with %s is for the client library', (_, more) => {
    expect(encodePlain(request)).toBeDefined()
    expect(encodePlain({ ...request, ...more })).toBeUndefined()
  })
})

/** What of a connector's answer reaches a client, whoever wrote the connector. */

import { expect, test } from 'vitest'
import { clientHeaders, switchingHead } from '../../gateway/answer.ts'

const switching = (headers: readonly string[], reason = '') =>
  switchingHead(
    {
      type: 'response',
      status: 101,
      reason,
      headers,
      body: Buffer.alloc(0),
      bodyFollows: true,
      isUpgrade: true,
    },
    'support-1',
  )

const whole = (headers: string[]) => ({ status: 200, headers, bodyFollows: false })

test('an answer keeps its own headers in order, and tells the support id', () => {
  expect(
    clientHeaders(whole(['X-A', '1', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']), 'support-1'),
  ).toEqual([
    ...['X-A', '1', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'],
    ...['Sallyport-Request-Id', 'support-1'],
  ])
})

test.each([
  ['a cookie of ours', ['Set-Cookie', '__Host-sallyport=stolen']],
  ['a cookie of ours behind a space', ['set-cookie', ' __Host-sallyport-nonce=x']],
  ['a cookie of ours as the value of one without a name', ['Set-Cookie', '=__Host-sallyport=x']],
  ['a header that only the gateway may send', ['Sallyport-Request-Id', 'forged']],
  ['a connection header', ['Connection', 'close']],
  ['a framing of its own', ['Transfer-Encoding', 'chunked']],
])('%s goes no further', (_name, headers) => {
  expect(clientHeaders(whole(headers), 'support-1')).toEqual(['Sallyport-Request-Id', 'support-1'])
})

test('RFC 9110 §6.6.2: what announces trailers goes on where there may be some', () => {
  const [announced, length] = [
    ['Trailer', 'X-Sum'],
    ['Content-Length', '2'],
  ]
  const names = (headers: string[], bodyFollows: boolean) =>
    clientHeaders({ ...whole(headers), bodyFollows }, 'support-1').filter((_, i) => i % 2 === 0)
  expect(names(announced, true)).toContain('Trailer')
  expect(names(announced, false)).not.toContain('Trailer')
  expect(names([...announced, ...length], true)).not.toContain('Trailer')
})

test('the head of a 101 is complete and has nothing of ours from the other side', () => {
  const headers = ['Upgrade', 'websocket', 'Set-Cookie', '__Host-sallyport=x', 'Sallyport-A', 'b']
  expect(switching(headers)).toBe(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSallyport-Request-Id: support-1\r\n\r\n',
  )
})

test.each([
  ['a value', () => switching(['X-A', 'a\r\nSet-Cookie: b=1'])],
  ['a name', () => switching(['X-A: a\nB', 'c'])],
  ['a reason', () => switching([], 'OK\r\n\r\nHTTP/1.1 200 OK')],
])('a line break in %s of a 101 is refused', (_name, attempt) => {
  expect(attempt).toThrow(/line break/)
})

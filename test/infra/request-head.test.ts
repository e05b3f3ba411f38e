/** Heads that we read ourselves: what two programs could read in two ways is none. */

import { describe, expect, test } from 'vitest'
import {
  encodeRequestHead,
  framingOf,
  parseRequestHead,
  RequestHeadError,
} from '#infra/request-head.ts'

const parse = (...lines: string[]) => parseRequestHead(lines.join('\r\n'))

test('a head comes back with order, duplicates, octets and without the blanks around values', () => {
  const head = parse('RDG_IN_DATA /a?b HTTP/1.1', 'Host: x', 'X-A:1', 'x-a: \tcaf\xe9 \t', 'X-B:')
  expect(head).toEqual({
    method: 'RDG_IN_DATA',
    target: '/a?b',
    headers: ['Host', 'x', 'X-A', '1', 'x-a', 'caf\xe9', 'X-B', ''],
  })
  const text = encodeRequestHead(head).toString('latin1')
  expect(parseRequestHead(text.slice(0, -4))).toEqual(head)
})

test('a line of blanks alone takes no longer than any other', () => {
  const begun = performance.now()
  const line = `X-A:${' '.repeat(3_000)}`
  expect(parse('A / HTTP/1.1', line).headers).toEqual(['X-A', ''])
  expect(() => parse('A / HTTP/1.1', `${line}\0`)).toThrow(RequestHeadError)
  expect(performance.now() - begun).toBeLessThan(1_000)
})

describe('is refused:', () => {
  test.each([
    ['RFC 9112 §3: two blanks', ['A  / HTTP/1.1']],
    ['RFC 9112 §3: a blank at the end', ['A / HTTP/1.1 ']],
    ['RFC 9112 §3: no target', ['A HTTP/1.1']],
    ['RFC 9112 §2.3: another version', ['A / HTTP/1.0']],
    ['RFC 9110 §9.1: a method that is no token', ['A(B) / HTTP/1.1']],
    ['RFC 9112 §3.2: an absolute target', ['A http://x/ HTTP/1.1']],
    ['RFC 9112 §3.2: an octet that is no ASCII in the target', ['A /\xe9 HTTP/1.1']],
    ['RFC 9112 §5.2: a folded line', ['A / HTTP/1.1', 'X: a', ' b']],
    ['RFC 9112 §5.1: a blank before the colon', ['A / HTTP/1.1', 'X : a']],
    ['RFC 9110 §5.1: an empty name', ['A / HTTP/1.1', ': a']],
    ['RFC 9110 §5.5: a bare CR', ['A / HTTP/1.1', 'X: a\rb']],
    ['RFC 9110 §5.5: a bare LF', ['A / HTTP/1.1', 'X: a\nX-Sallyport-User: b']],
    ['RFC 9110 §5.5: a NUL', ['A / HTTP/1.1', 'X: a\0b']],
    ['RFC 9110 §5.5: a control character', ['A / HTTP/1.1', 'X: a\x7fb']],
    ['RFC 9112 §2.2: an empty line first', ['', 'A / HTTP/1.1']],
  ])('%s', (_rule, lines) => {
    expect(() => parse(...lines)).toThrow(RequestHeadError)
  })

  test.each([
    ['RFC 9112 §6.1: length and chunks', ['Content-Length', '1', 'Transfer-Encoding', 'chunked']],
    ['RFC 9110 §8.6: two lengths', ['Content-Length', '1', 'content-length', '1']],
    ['RFC 9110 §8.6: a list of lengths', ['Content-Length', '1, 1']],
    ['RFC 9110 §8.6: a signed length', ['Content-Length', '+1']],
    ['RFC 9110 §8.6: an empty length', ['Content-Length', '']],
    ['RFC 9110 §8.6: a length beyond all numbers', ['Content-Length', '9'.repeat(16)]],
    [
      'RFC 9112 §6.1: chunks twice',
      ['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked'],
    ],
    ['RFC 9112 §6.1: another coding', ['Transfer-Encoding', 'gzip, chunked']],
  ])('%s', (_rule, headers) => {
    expect(() => framingOf(headers)).toThrow(RequestHeadError)
  })
})

test('a body is delimited by its length, by chunks, or is none (RFC 9112 §6.3)', () => {
  expect(framingOf(['Content-Length', '012'])).toBe(12)
  expect(framingOf(['Transfer-Encoding', 'Chunked'])).toBe('chunked')
  expect(framingOf(['X', 'y'])).toBe(0)
})

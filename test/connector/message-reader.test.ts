/** The messages of a connection, found wherever the bytes are cut. */

import { describe, expect, test } from 'vitest'
import type { BodyFraming } from '#infra/request-head.ts'
import { MessageReader, MessageReaderError } from '../../connector/message-reader.ts'

interface Reading {
  readonly reader: MessageReader
  readonly events: string[]
  allow(): void
}

/** Heads name their framing: `A 3`, `A chunked`, `A unbounded`. */
function reading({ takesTrailers = false, isHeld = false } = {}): Reading {
  const events: string[] = []
  let mayBegin = !isHeld
  let body = ''
  const reader = new MessageReader({
    head(text) {
      events.push(`head ${text}`)
      const framing = text.split(' ')[1] ?? ''
      return /^\d+$/.test(framing) ? Number(framing) : (framing as BodyFraming)
    },
    body(bytes) {
      body += bytes.toString('latin1')
      if (events.at(-1)?.startsWith('body')) events.pop()
      events.push(`body ${JSON.stringify(body)}`)
    },
    complete() {
      body = ''
      events.push('complete')
    },
    mayBegin: () => mayBegin,
    takesTrailers,
  })
  const allow = () => {
    mayBegin = true
    reader.resume()
  }
  return { reader, events, allow }
}

const chunks = '3\r\nabc\r\n0A;x="y"\r\n0123456789\r\n0\r\n\r\n'
const connection = `A 3\r\n\r\nxyzA 0\r\n\r\nA chunked\r\n\r\n${chunks}A unbounded\r\n\r\nA 0\r\n\r\n`
const expected = [
  'head A 3',
  'body "xyz"',
  'complete',
  'head A 0',
  'complete',
  'head A chunked',
  `body ${JSON.stringify(chunks)}`,
  'complete',
  'head A unbounded',
  `body ${JSON.stringify('A 0\r\n\r\n')}`,
]

test.each([1, 2, 3, 5, 7, 11, 1_000])(
  'RFC 9112 §6, §7.1: heads and bodies are told apart in pieces of %i bytes',
  size => {
    const { reader, events } = reading()
    for (let at = 0; at < connection.length; at += size) {
      reader.read(Buffer.from(connection.slice(at, at + size), 'latin1'))
    }
    expect(events).toEqual(expected)
  },
)

test('what may not begin yet waits, whole, and goes on when it may', () => {
  const { reader, events, allow } = reading({ isHeld: true })
  reader.read(Buffer.from('A 1\r\n\r\nxA 0\r\n\r\n'))
  expect([reader.isHeldBack, events]).toEqual([true, []])
  allow()
  expect(reader.isHeldBack).toBe(false)
  expect(events).toEqual(['head A 1', 'body "x"', 'complete', 'head A 0', 'complete'])
})

test('the bytes of a body are passed as they come, not held until it is over', () => {
  const { reader, events } = reading()
  reader.read(Buffer.from('A 1000000\r\n\r\nfirst'))
  expect(events.at(-1)).toBe('body "first"')
})

describe('is refused before any of it is passed:', () => {
  test.each([
    ['RFC 9112 §7.1: a size that is none', 'zz\r\n'],
    ['RFC 9112 §7.1: a size with a sign', '+1\r\n'],
    ['RFC 9112 §7.1: a size in the way of C', '0x1\r\n'],
    ['RFC 9112 §7.1: a size with a blank', '1 \r\n'],
    ['RFC 9112 §7.1: a size beyond all numbers', 'fffffffff\r\n'],
    ['RFC 9112 §7.1.1: a bare LF in an extension', '1;a\nb\r\n'],
    ['RFC 9112 §7.1.1: an extension without end', `1;${'a'.repeat(5_000)}`],
    ['RFC 9110 §6.5.1: trailers, where they are not taken', '0\r\nX-Sallyport-User: a\r\n\r\n'],
  ])('%s', (_rule, body) => {
    const { reader, events } = reading()
    expect(() => reader.read(Buffer.from(`A chunked\r\n\r\n${body}`))).toThrow(MessageReaderError)
    expect(events.join()).not.toMatch(/complete|User/)
  })

  test('RFC 9112 §7.1: a chunk that is longer than its size', () => {
    const { reader } = reading()
    const text = 'A chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n'
    expect(() => reader.read(Buffer.from(text))).toThrow('a chunk longer than its size')
  })

  test('a head without end', () => {
    const { reader } = reading()
    expect(() => reader.read(Buffer.alloc(70_000, 'a'))).toThrow('a head that is too long')
  })
})

test('RFC 9112 §7.1.2: trailers end a message, where they are taken', () => {
  const { reader, events } = reading({ takesTrailers: true })
  reader.read(Buffer.from('A chunked\r\n\r\n0\r\nX: 1\r\nY: 2\r\n\r\nA 0\r\n\r\n'))
  expect(events.slice(-3)).toEqual(['complete', 'head A 0', 'complete'])
})

/** How answers travel by a line, and what both ends say of it: in pieces of any length, and nothing else is taken. */

import { describe, expect, test } from 'vitest'
import {
  batchIn,
  CountReader,
  decodeAboutLine,
  encodeLineBroken,
  encodeLineMessage,
  encodeLineOffer,
  encodeLineReceived,
  isLineBroken,
  keyOfBroken,
  LineReader,
  lineQuestion,
} from '#infra/answer-line.ts'
import { type BatchedFrame, decodeBatch, isBatch } from '#infra/frame-batch.ts'
import { encodeData, encodeEnd } from '#infra/frames.ts'
import { WireError } from '#infra/wire.ts'

const frames = (count: number, bytes = 10): BatchedFrame[] =>
  Array.from({ length: count }, (_, i) => ({
    exchangeId: `exchange${i}`,
    frame: encodeData(Buffer.alloc(bytes, i)),
  }))

/** What a reader makes of these octets, given piece by piece. */
function read(octets: Buffer, pieceBytes: number) {
  const taken: string[] = []
  const counts = new CountReader()
  const reader = new LineReader({
    take(batch) {
      const ids = decodeBatch(batch).map(({ exchangeId, frame }) => exchangeId + frame.length)
      taken.push(ids.join(' '))
    },
    asked: answer => taken.push(...counts.read(answer).map(String)),
  })
  for (let at = 0; at < octets.length; at += pieceBytes)
    reader.read(octets.subarray(at, at + pieceBytes))
  return { taken, received: reader.received }
}

describe('messages and questions', () => {
  const all = [
    ...encodeLineMessage(frames(1)),
    lineQuestion,
    ...encodeLineMessage(frames(3)),
    ...encodeLineMessage(frames(1, 100_000)),
    lineQuestion,
    lineQuestion,
    ...encodeLineMessage([{ exchangeId: 'x', frame: encodeEnd(5) }]),
  ]
  const expected = [
    'exchange011',
    '1',
    'exchange011 exchange111 exchange211',
    'exchange0100001',
    '3',
    '3',
    'x9',
  ]

  test.each([1, 3, 4, 5, 7, 1_000, 65_536, 1_000_000])('in pieces of %i octets', pieceBytes => {
    expect(read(Buffer.concat(all), pieceBytes)).toEqual({ taken: expected, received: 4 })
  })

  test('the end of a message that has not come is waited for', () => {
    const octets = Buffer.concat(all)
    const { taken, received } = read(octets.subarray(0, octets.length - 1), 100)
    expect(received).toBe(3)
    expect(taken).toEqual(expected.slice(0, -1))
  })

  test('what is no message ends it', () => {
    expect(() => read(Buffer.from('GET / HTTP/1.1\r\n\r\n'), 100)).toThrow(WireError)
  })

  test('a message is the same batch on the bus', () => {
    for (const each of [frames(2), frames(1), frames(1, 100_000)]) {
      const batch = batchIn(encodeLineMessage(each))
      expect(isBatch(batch)).toBe(true)
      expect(decodeBatch(batch)).toEqual(each)
    }
  })
})

test('answers to how much has come arrive in pieces too, and count beyond 32 bits', () => {
  const answers: Buffer[] = []
  const asked = (answer: Buffer) => void answers.push(answer)
  new LineReader({ take: () => undefined, asked }).read(lineQuestion)
  const counts = new CountReader()
  const octets = Buffer.concat([...answers, Buffer.from([0x41, 0xf0, 0, 0, 0, 0x10, 0, 0])])
  const heard = [...octets].flatMap(octet => counts.read(Buffer.of(octet)))
  expect(heard).toEqual([0, 2 ** 32 + 1])
})

test('what is said of a line on the bus', () => {
  expect(decodeAboutLine(encodeLineOffer({ gatewayId: 'g1', key: 'k_-1' }))).toEqual({
    gatewayId: 'g1',
    key: 'k_-1',
  })
  for (const messages of [0, 5, 2 ** 40, undefined])
    expect(decodeAboutLine(encodeLineReceived({ key: 'k', messages }))).toEqual({
      key: 'k',
      messages,
    })
  const broken = encodeLineBroken('k')
  expect(isLineBroken(broken)).toBe(true)
  expect(keyOfBroken(broken)).toBe('k')
  expect(isLineBroken(batchIn(encodeLineMessage(frames(1))))).toBe(false)
})

test.each([
  ['nothing', Buffer.alloc(0)],
  ['an offer without a key', encodeLineOffer({ gatewayId: 'g', key: '' })],
  ['an offer of nobody', encodeLineOffer({ gatewayId: '', key: 'k' })],
  ['a count that is cut short', encodeLineReceived({ key: '', messages: 1 }).subarray(0, 5)],
  ['a frame of an exchange', encodeData(Buffer.from('x'))],
])('%s is refused', (_, message) => {
  expect(() => decodeAboutLine(message)).toThrow(WireError)
})

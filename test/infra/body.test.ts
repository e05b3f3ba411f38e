/** Credit: a sender never sends more than was granted, a receiver never takes more, nothing is lost unnoticed. */

import { expect, test } from 'vitest'
import { BodyReceiver } from '#infra/body-receiver.ts'
import { BodySender, frameBytes } from '#infra/body-sender.ts'
import { decodeDown } from '#infra/frames.ts'
import { chunkBytes, initialCreditBytes, WireError } from '#infra/wire.ts'

function sender(creditBytes: number) {
  const sent: Buffer[] = []
  const events: string[] = []
  const body = new BodySender({
    send: frame => sent.push(frame),
    creditBytes,
    onWritable: () => events.push('writable'),
    onEnded: () => events.push('ended'),
  })
  const dataBytes = () =>
    sent.map(decodeDown).reduce((sum, f) => sum + (f.type === 'data' ? f.data.length : 0), 0)
  return { body, sent, events, dataBytes }
}

test('a sender stops at its credit and goes on when more is granted', () => {
  const { body, events, dataBytes } = sender(10)
  expect(body.write(Buffer.alloc(25))).toBe(false)
  expect(dataBytes()).toBe(10)
  body.grant(10)
  expect(dataBytes()).toBe(20)
  expect(events).toEqual([])
  body.grant(10)
  expect(dataBytes()).toBe(25)
  expect(events).toEqual(['writable'])
})

test('a sender without any credit sends nothing, not even an empty frame', () => {
  const { body, sent } = sender(0)
  expect(body.write(Buffer.from('x'))).toBe(false)
  expect(sent).toEqual([])
})

test('a chunk larger than a frame is cut', () => {
  const { body, sent } = sender(10 * frameBytes)
  expect(body.write(Buffer.alloc(2.5 * frameBytes))).toBe(true)
  expect(sent.map(frame => frame.length - 1)).toEqual([frameBytes, frameBytes, frameBytes / 2])
  expect(frameBytes).toBeLessThanOrEqual(chunkBytes)
})

test('the end waits for everything before it, and says how long the body was', () => {
  const { body, sent, events } = sender(4)
  body.write(Buffer.from('abcdef'))
  body.end(['x-checksum', '1'])
  expect(events).toEqual([])
  body.grant(100)
  expect(events).toEqual(['ended'])
  expect(decodeDown(sent.at(-1) as Buffer)).toEqual({
    type: 'end',
    bodyBytes: 6,
    trailers: ['x-checksum', '1'],
  })
})

function receiver(options: { isFull?: () => boolean; windowBytes?: number } = {}) {
  const granted: number[] = []
  const delivered: Buffer[] = []
  let trailers: readonly string[] | undefined
  const body = new BodyReceiver({
    send: frame => {
      const decoded = decodeDown(frame)
      if (decoded.type === 'credit') granted.push(decoded.bytes)
    },
    deliver: chunk => {
      delivered.push(chunk)
      return !options.isFull?.()
    },
    onEnd: list => {
      trailers = list
    },
    ...(options.windowBytes !== undefined && { windowBytes: options.windowBytes }),
  })
  return { body, granted, delivered, trailers: () => trailers }
}

test('a receiver grants again in quarters of its window', () => {
  const { body, granted } = receiver({ windowBytes: 100 })
  body.data(Buffer.alloc(24))
  expect(granted).toEqual([])
  body.data(Buffer.alloc(2))
  expect(granted).toEqual([26])
})

test('a full sink grants nothing until it has drained', () => {
  let isFull = true
  const { body, granted } = receiver({ windowBytes: 100, isFull: () => isFull })
  body.data(Buffer.alloc(60))
  expect(granted).toEqual([])
  isFull = false
  body.drained()
  expect(granted).toEqual([60])
})

test('a sender that ignores its credit is found out', () => {
  const { body } = receiver({ windowBytes: 100 })
  body.data(Buffer.alloc(20))
  expect(() => body.data(Buffer.alloc(81))).toThrow(WireError)
})

test('the default window is what the other end may send before the first grant', () => {
  const { body } = receiver()
  expect(() => body.data(Buffer.alloc(initialCreditBytes))).not.toThrow()
})

test('a lost message is noticed at the end, not passed off as a complete body', () => {
  const { body, trailers } = receiver()
  body.data(Buffer.from('abc'))
  expect(() => body.end(6, [])).toThrow(/3 bytes received of 6/)
  expect(trailers()).toBeUndefined()
})

test('bytes that came with the head count towards the length, not towards the credit', () => {
  const { body, trailers, granted } = receiver({ windowBytes: 4 })
  body.first(Buffer.alloc(1_000))
  body.data(Buffer.from('ab'))
  body.end(1_002, [])
  expect(trailers()).toEqual([])
  expect(granted).toEqual([2])
})

/** Frame boundaries, however the bytes are cut, and the Close frame that goes between two of them. */

import { expect, test } from 'vitest'
import { closeFrame, FrameBoundary } from '../../gateway/websocket.ts'

function frame(length: number, masked = false): Buffer {
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const header = Buffer.alloc(2 + extended + (masked ? 4 : 0))
  header[0] = 0x82
  header[1] = (extended === 0 ? length : extended === 2 ? 126 : 127) | (masked ? 0x80 : 0)
  if (extended === 2) header.writeUInt16BE(length, 2)
  if (extended === 8) header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, Buffer.alloc(length, 0x81)])
}

const frames = [
  frame(0),
  frame(5),
  frame(125),
  frame(126),
  frame(65_535),
  frame(65_536),
  frame(3, true),
]

test.each([1, 2, 3, 7, 64, 1_000, 100_000])('boundaries are found in pieces of %i bytes', size => {
  const boundary = new FrameBoundary()
  const ends = new Set(frames.map((_, i) => Buffer.concat(frames.slice(0, i + 1)).length))
  const bytes = Buffer.concat(frames)
  const wrong: number[] = []
  for (let at = 0; at < bytes.length; at += size) {
    boundary.observe(bytes.subarray(at, at + size))
    const seen = Math.min(at + size, bytes.length)
    if (boundary.isBetweenFrames !== ends.has(seen)) wrong.push(seen)
  }
  expect(wrong).toEqual([])
})

test('nothing observed yet is between frames', () => {
  expect(new FrameBoundary().isBetweenFrames).toBe(true)
})

test('a Close frame carries status and reason unmasked (RFC 6455 §5.5.1)', () => {
  expect(closeFrame(1012, 'restart')).toEqual(
    Buffer.from([0x88, 9, 0x03, 0xf4, ...Buffer.from('restart')]),
  )
})

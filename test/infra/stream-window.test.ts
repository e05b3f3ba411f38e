/** The window of a stream follows the line and its reader; what all streams take together is bounded. */

import { beforeEach, describe, expect, test, vi } from 'vitest'
import { BodyReceiver } from '#infra/body-receiver.ts'
import { decodeDown } from '#infra/frames.ts'
import { memoryOfWindow, StreamBudget } from '#infra/stream-budget.ts'
import { largestWindowBytes, smallestWindowBytes } from '#infra/stream-window.ts'
import { chunkBytes, initialCreditBytes } from '#infra/wire.ts'

const mib = 2 ** 20

/** A sender at the other end of a line, which sends whatever it may. */
class Line {
  readonly receiver: BodyReceiver
  creditBytes = initialCreditBytes
  isFull = false
  readonly delivered: Buffer[] = []
  trailers: readonly string[] | undefined
  ends = 0

  constructor(budget = new StreamBudget({ memoryBytes: 1024 * mib })) {
    this.receiver = new BodyReceiver({
      budget,
      send: frame => {
        const decoded = decodeDown(frame)
        if (decoded.type === 'credit') this.creditBytes += decoded.bytes
      },
      deliver: chunk => {
        this.delivered.push(chunk)
        return !this.isFull
      },
      onEnd: trailers => {
        this.trailers = trailers
        this.ends++
      },
    })
  }

  /** All that the sender may send arrives, as chunks of so many bytes. */
  arrive(bytes = this.creditBytes, chunk = chunkBytes): void {
    for (let left = bytes; left > 0; left -= chunk) {
      const length = Math.min(left, chunk)
      this.creditBytes -= length
      this.receiver.data(Buffer.alloc(length))
    }
  }

  /** Rounds of one round trip each, in which the sender sends all it may. */
  run(rounds: number, roundTripMs: number): void {
    for (let i = 0; i < rounds; i++) {
      const bytes = this.creditBytes
      vi.advanceTimersByTime(roundTripMs)
      this.arrive(bytes)
      this.delivered.length = 0
    }
  }
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
  return () => vi.useRealTimers()
})

describe('the window', () => {
  test('grows over a long line as far as it may, and is granted', () => {
    const line = new Line()
    line.run(600, 20)
    expect(line.receiver.windowBytes).toBe(largestWindowBytes)
    expect(line.creditBytes).toBeGreaterThan(largestWindowBytes / 2)
  })

  test('does not grow beyond twice what the line holds', () => {
    const line = new Line()
    // 10 MB/s over 20 ms: 200 kB are on the line, whatever may be sent.
    for (let i = 0; i < 5_000; i++) {
      vi.advanceTimersByTime(6.5536)
      line.arrive(chunkBytes)
    }
    expect(line.receiver.windowBytes).toBeLessThan(2 * mib)
  })

  test('shrinks to one chunk when the reader has stalled', () => {
    const line = new Line()
    line.run(600, 20)
    line.isFull = true
    line.arrive()
    vi.advanceTimersByTime(1_000)
    line.isFull = false
    line.receiver.drained()
    expect(line.receiver.windowBytes).toBe(smallestWindowBytes)
    expect(line.creditBytes).toBe(smallestWindowBytes)
  })
})

describe('a reader that takes nothing', () => {
  test('gets nothing granted, and everything in order once it reads on', () => {
    const line = new Line()
    line.isFull = true
    line.arrive()
    expect(line.creditBytes).toBe(0)
    expect(line.delivered).toHaveLength(1)
    line.receiver.end(initialCreditBytes, ['x-checksum', '1'])
    expect(line.trailers).toBeUndefined()
    line.isFull = false
    line.receiver.drained()
    expect(Buffer.concat(line.delivered)).toHaveLength(initialCreditBytes)
    expect(line.trailers).toEqual(['x-checksum', '1'])
    line.receiver.drained()
    expect(line.ends).toBe(1)
  })

  test('hears of the end once, though it was full when the end came', () => {
    const line = new Line()
    line.isFull = true
    line.receiver.data(Buffer.alloc(10))
    line.receiver.end(10, [])
    line.receiver.drained()
    expect(line.ends).toBe(1)
  })

  test('keeps no larger read alive than what it is owed', () => {
    const line = new Line()
    line.isFull = true
    line.receiver.data(Buffer.alloc(10))
    const parts = [20_000, 20_000, 160_000].map(bytes => Buffer.alloc(mib).subarray(0, bytes))
    for (const part of parts.slice(0, 2)) line.receiver.data(part)
    for (let at = 0; at < 160_000; at += 40_000)
      line.receiver.data(parts[2]?.subarray(at, at + 40_000) as Buffer)
    line.isFull = false
    line.receiver.drained()
    const held = new Set(line.delivered.slice(1).map(({ buffer }) => buffer))
    expect([...held].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(200_000)
  })
})

describe('the budget of a process', () => {
  test('bounds what is under way over all streams, and leaves each of them a chunk', () => {
    const budget = new StreamBudget({ memoryBytes: 1024 * mib, underWayBytes: 2 * mib })
    const lines = Array.from({ length: 50 }, () => new Line(budget))
    for (const line of lines) line.arrive()
    // What is granted now was granted by the budget: all of the first credit has arrived.
    const granted = lines.reduce((sum, { creditBytes }) => sum + creditBytes, 0)
    expect(granted).toBeLessThanOrEqual(2 * mib + 50 * smallestWindowBytes)
    for (const { creditBytes } of lines)
      expect(creditBytes).toBeGreaterThanOrEqual(smallestWindowBytes / 2)
  })

  test('is whole again when its streams have ended', () => {
    const budget = new StreamBudget({ memoryBytes: 64 * mib })
    const lines = Array.from({ length: 20 }, () => new Line(budget))
    for (const line of lines) line.arrive()
    expect(budget.usedMemoryBytes).toBe(20 * memoryOfWindow * initialCreditBytes)
    for (const line of lines.slice(0, 10)) line.receiver.close()
    for (const line of lines.slice(10)) line.receiver.end(line.receiver.receivedBytes, [])
    for (const line of lines) line.receiver.close()
    expect(budget).toMatchObject({ usedMemoryBytes: 0, usedUnderWayBytes: 0 })
  })

  test('has windows shrink to a chunk when memory is used up, and every stream goes on', () => {
    const budget = new StreamBudget({ memoryBytes: 2 * memoryOfWindow * initialCreditBytes })
    const lines = Array.from({ length: 40 }, () => new Line(budget))
    for (let i = 0; i < 50; i++) for (const line of lines) line.run(1, 20)
    const windows = lines.map(({ receiver }) => receiver.windowBytes)
    expect(Math.min(...windows)).toBe(smallestWindowBytes)
    for (const { creditBytes } of lines) expect(creditBytes).toBeGreaterThan(0)
    expect(budget.usedMemoryBytes).toBeLessThanOrEqual(
      41 * memoryOfWindow * smallestWindowBytes + memoryOfWindow * 2 * initialCreditBytes,
    )
  })

  test('is not touched by streams that carry next to nothing', () => {
    const budget = new StreamBudget({ memoryBytes: mib })
    for (let i = 0; i < 1_000; i++) new Line(budget).arrive(1_000)
    expect(budget).toMatchObject({ usedMemoryBytes: 0, usedUnderWayBytes: 0 })
  })
})

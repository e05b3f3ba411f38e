/** Rates and counts: what is within them passes, what is beyond waits as long as it is told. */

import { expect, test } from 'vitest'
import { CountLimit, RateLimit } from '../../gateway/limits.ts'

test('a burst passes at once, the next one is told when to come again', () => {
  const limit = new RateLimit({ perSecond: 10, burst: 3 })
  expect([1, 2, 3].map(() => limit.take('a', 0))).toEqual([0, 0, 0])
  expect(limit.take('a', 0)).toBeCloseTo(0.1)
  expect(limit.take('a', 99)).toBeCloseTo(0.001)
  expect(limit.take('a', 100)).toBe(0)
})

test('a refused one costs nothing: waiting as told is enough however often one asked', () => {
  const limit = new RateLimit({ perSecond: 1, burst: 1 })
  limit.take('a', 0)
  for (let i = 0; i < 100; i++) limit.take('a', 500)
  expect(limit.take('a', 1_000)).toBe(0)
})

test('what is given back can be spent again, and adds nothing to the burst', () => {
  const limit = new RateLimit({ perSecond: 1, burst: 2 })
  limit.take('a', 0)
  limit.take('a', 0)
  limit.restore('a')
  expect([limit.take('a', 0), limit.take('a', 0) > 0]).toEqual([0, true])
  for (let i = 0; i < 10; i++) limit.restore('a')
  expect([1, 2, 3].map(() => limit.take('a', 0) > 0)).toEqual([false, false, true])
})

test('idle time gives no more than the burst', () => {
  const limit = new RateLimit({ perSecond: 1_000, burst: 2 })
  limit.take('a', 0)
  const later = 3_600_000
  expect([1, 2].map(() => limit.take('a', later))).toEqual([0, 0])
  expect(limit.take('a', later)).toBeGreaterThan(0)
})

test('one client uses up nothing of another', () => {
  const limit = new RateLimit({ perSecond: 1, burst: 1 })
  expect(limit.take('a', 0)).toBe(0)
  expect(limit.take('b', 0)).toBe(0)
})

test('a rate of zero is no limit', () => {
  const limit = new RateLimit({ perSecond: 0, burst: 0 })
  for (let i = 0; i < 1_000; i++) expect(limit.take('a', 0)).toBe(0)
})

test('what leaves makes room, for its own key alone', () => {
  const limit = new CountLimit(2)
  expect([limit.enter('a'), limit.enter('a'), limit.enter('a')]).toEqual([true, true, false])
  expect(limit.enter('b')).toBe(true)
  limit.leave('a')
  expect(limit.enter('a')).toBe(true)
})

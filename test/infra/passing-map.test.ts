/** A map for what comes and goes: it behaves as a Map does, and lets go of what has left. */

import { expect, test } from 'vitest'
import { PassingMap } from '#infra/passing-map.ts'
import { promotedMiB } from '../harness/promoted.ts'

interface Passing {
  readonly number: number
}

test('holds what has come and not left, in order of arrival, however many have passed', () => {
  const map = new PassingMap<Passing>()
  const kept = new Map<string, Passing>()
  for (let number = 0; number < 5_000; number++) {
    map.set(`${number}`, { number })
    kept.set(`${number}`, { number })
    const leaving = `${number % 3 === 0 ? number : number - 20}`
    expect(map.delete(leaving)).toBe(kept.delete(leaving))
  }
  expect(kept.size).toBeGreaterThan(0)
  expect(map.size).toBe(kept.size)
  expect([...map]).toEqual([...kept])
  expect([...map.values()]).toEqual([...kept.values()])
  for (const [key, value] of kept) expect(map.get(key)).toEqual(value)
  expect(map.get('0')).toBeUndefined()
  expect(map.delete('0')).toBe(false)
})

test('what leaves while all are looked at is not seen any more', () => {
  const map = new PassingMap<Passing>()
  for (let number = 0; number < 2_000; number++) map.set(`${number}`, { number })
  const seen: number[] = []
  for (const [key, { number }] of map) {
    seen.push(number)
    map.delete(key)
    map.delete(`${number + 1}`)
  }
  expect(seen).toHaveLength(1_000)
  expect(map.size).toBe(0)
})

test('what has left does not survive collections of the young generation, as it does in a Map', async () => {
  expect(await promoted('new PassingMap()')).toBeLessThan(4)
  // When this is true no more, a Map does as well.
  expect(await promoted('new Map()')).toBeGreaterThan(20)
})

/** What 40 MiB of objects of which 64 are there at a time leave behind. */
function promoted(map: string): Promise<number> {
  return promotedMiB({
    before: `
      import { PassingMap } from ${JSON.stringify(import.meta.resolve('#infra/passing-map.ts'))}
      const map = ${map}
      for (let number = 0; number < 64; number++) map.set('first-' + number, {})`,
    each: `
      map.set(String(number), new Array(512).fill(number))
      map.delete(number < 64 ? 'first-' + number : String(number - 64))`,
    times: 10_000,
  })
}

/** A map that is never changed: it says what a Map would say, and older ones go on saying what they said. */

import { expect, test } from 'vitest'
import { type Edit, PersistentMap } from '#infra/persistent-map.ts'

const entriesOf = (count: number): Edit<number>[] =>
  Array.from({ length: count }, (_, i) => [`key-${i}`, i])

const sorted = (map: ReadonlyMap<string, number>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))

test.each([10, 5_000])('says what a Map says of %i entries that come, change and go', count => {
  const reference = new Map<string, number>()
  let map = new PersistentMap<number>()
  for (let step = 0; step < 60; step++) {
    const edits: Edit<number>[] = Array.from({ length: count / 10 }, (_, i) => {
      const number = (step * 7_919 + i * 104_729) % count
      return [`key-${number}`, (step + i) % 3 === 0 ? undefined : step]
    })
    map = map.with(edits)
    for (const [key, value] of edits)
      if (value === undefined) reference.delete(key)
      else reference.set(key, value)
    expect(map.size).toBe(reference.size)
  }
  expect(reference.size).toBeGreaterThan(count / 4)
  expect(sorted(map)).toEqual(sorted(reference))
  expect([...map.keys()].sort()).toEqual([...reference.keys()].sort())
  expect([...map.values()].sort()).toEqual([...reference.values()].sort())
  for (const [key] of entriesOf(count)) expect(map.get(key)).toBe(reference.get(key))
  expect(map.has('nowhere')).toBe(false)
  const each = new Map<string, number>()
  map.forEach((value, key) => {
    each.set(key, value)
  })
  expect(each).toEqual(reference)
})

test('stays as it is when another is made from it', () => {
  const before = new PersistentMap<number>().with(entriesOf(20_000))
  const after = before.with([
    ['key-7', -1],
    ['key-8', undefined],
    ['new', 1],
  ])
  expect([before.get('key-7'), before.get('key-8'), before.has('new'), before.size]).toEqual([
    7,
    8,
    false,
    20_000,
  ])
  expect([after.get('key-7'), after.has('key-8'), after.get('new'), after.size]).toEqual([
    -1,
    false,
    1,
    20_000,
  ])
})

test('a change costs no more among a hundred thousand than a bounded part of them', () => {
  let map = new PersistentMap<number>().with(entriesOf(100_000))
  const copying = performance.now()
  new Map(map)
  const copyMs = performance.now() - copying
  const changing = performance.now()
  for (let i = 0; i < 100; i++) map = map.with([[`key-${i * 997}`, -i]])
  expect((performance.now() - changing) / 100).toBeLessThan(copyMs / 10)
})

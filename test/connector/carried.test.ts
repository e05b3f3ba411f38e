/** What a connector says that it has carried: the proof that it does not only seem to be there. */

import { expect, test } from 'vitest'
import { maxCarriedFor } from '#infra/contracts/connector.ts'
import { Carried } from '../../connector/carried.ts'

test('one that has carried nothing says so', () => {
  expect(new Carried().report()).toEqual({
    exchangesServed: 0,
    lastExchangeDateTime: null,
    carriedBytes: 0,
    lastByteDateTime: null,
    carried: [],
  })
})

test('exchanges and bytes are summed, in all and for each application', () => {
  const carried = new Carried()
  carried.took('wiki')
  carried.passed('wiki', 100)
  carried.took('wiki')
  carried.passed('wiki', 0)
  carried.took('shop')
  const report = carried.report()
  expect(report).toMatchObject({ exchangesServed: 3, carriedBytes: 100 })
  const ofWiki = report.carried.find(({ applicationId }) => applicationId === 'wiki')
  expect(ofWiki).toMatchObject({ exchanges: 2, bytes: 100 })
  expect(ofWiki?.lastByteDateTime).toBe(report.lastByteDateTime)
})

test('an exchange that brought no answer is no proof that anything is carried', () => {
  const carried = new Carried()
  carried.took('wiki')
  const { lastExchangeDateTime, lastByteDateTime } = carried.report()
  expect(lastExchangeDateTime).toMatch(/^\d{4}-/)
  expect(lastByteDateTime).toBeNull()
})

test('an application that is served again and again is not forgotten for others', () => {
  const carried = new Carried()
  for (let count = 0; count < 2_000; count++) {
    carried.took('wiki')
    carried.took(`app-${count}`)
  }
  carried.passed('wiki', 1)
  const [latest] = carried.report().carried
  expect(latest).toMatchObject({ applicationId: 'wiki', exchanges: 2_000 })
})

test('however many applications there are, a report names the latest few', () => {
  const carried = new Carried()
  for (let count = 0; count < 2_000; count++) {
    carried.took(`app-${count}`)
    carried.passed(`app-${count}`, 1)
  }
  expect(carried.report().carried).toHaveLength(maxCarriedFor)
  expect(carried.report()).toMatchObject({ exchangesServed: 2_000, carriedBytes: 2_000 })
})

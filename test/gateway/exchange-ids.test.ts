/** Names of exchanges: whoever was not told one cannot make it. */

import { expect, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { ExchangeIds } from '../../gateway/exchange-ids.ts'

const gatewayId = 'ab12cd34ef'
const many = 20_000

test('no two are alike, and each is one token of a subject as it stands', () => {
  const ids = new ExchangeIds(gatewayId)
  const made = Array.from({ length: many }, () => ids.next())
  expect(new Set(made).size).toBe(many)
  for (const id of made) expect(subjects.down('c', id)).toBe(`sallyport.down.c.${id}`)
})

test('what comes next does not follow from what came before', () => {
  const secretOf = (id: string) => id.slice(-8)
  const ids = new ExchangeIds(gatewayId)
  const secrets = Array.from({ length: many }, () => secretOf(ids.next()))
  expect(new Set(secrets).size).toBe(many)
  const others = new ExchangeIds(gatewayId)
  expect(secrets).not.toContain(secretOf(others.next()))
})

test('it is known which of the latest were answered', () => {
  const ids = new ExchangeIds(gatewayId)
  const [first, second] = [ids.next(), ids.next()]
  expect(ids.wasAnswered(first)).toBe(false)
  ids.answered(first)
  expect(ids.wasAnswered(first)).toBe(true)
  expect(ids.wasAnswered(second)).toBe(false)
  for (let i = 0; i < 2 ** 16; i++) ids.answered(ids.next())
  expect(ids.wasAnswered(first)).toBe(false)
})

test.each(['', 'x', gatewayId, `${gatewayId}zzzz`, `other${'1'.repeat(20)}`])(
  '%j, which is none of them, was not answered',
  text => {
    expect(new ExchangeIds(gatewayId).wasAnswered(text)).toBe(false)
  },
)

import { expect, test } from 'vitest'
import { TimeBudgets } from '../../registry/time-budgets.ts'

const busy = (ms: number) => () => {
  for (const until = performance.now() + ms; performance.now() < until; );
  return 'answer'
}

test('who has cost too much waits until time has passed, and nobody else does', async () => {
  const budgets = new TimeBudgets({ burstMs: 20, share: 0.5 })
  const ask = (asker: string) => () => budgets.spend(asker, busy(0))
  expect(budgets.spend('paris', busy(40))).toBe('answer')
  expect(ask('paris')).toThrow(expect.objectContaining({ code: 'too_many_requests' }))
  expect(ask('lyon')()).toBe('answer')
  await expect.poll(ask('paris'), { interval: 5 }).toBe('answer')
})

test('when even refusals have cost too much, questions need not be read', () => {
  const budgets = new TimeBudgets({ burstMs: 20, share: 0.001 })
  budgets.spend('paris', busy(30))
  for (let count = 0; !budgets.isOverdrawn('paris'); count++) {
    expect(() => budgets.spend('paris', busy(0))).toThrow()
    expect(count).toBeLessThan(1_000)
  }
  expect(budgets.isOverdrawn('lyon')).toBe(false)
})

/**
 * Decisions stay cheap. The bench case `decisions` shows 100,000 a second with 1,000 policies; the bound here is a
 * twentieth of that, so that it fails for a scan over all policies and not for a busy machine.
 */

import { expect, test } from 'vitest'
import { decide, organisation } from '../bench/load/decisions.ts'

test('a thousand policies leave room for tens of thousands of decisions a second on one core', () => {
  const asked = organisation(1_000)
  decide(asked, 100)
  const best = Math.max(...Array.from({ length: 5 }, () => decide(asked, 60)))
  expect(best).toBeGreaterThan(20_000)
})

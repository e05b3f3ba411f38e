/** How often a connector may get a certificate, whatever the clock of the registry does. */

import { expect, onTestFinished, test, vi } from 'vitest'
import { RenewalLimit } from '../../registry/enrolment/renewal-limit.ts'

test('ten certificates at once are given, then one a minute, each connector for itself', () => {
  const limit = new RenewalLimit()
  for (let i = 0; i < 10; i++) limit.admit('paris-1', 1_000)
  const refused = expect.objectContaining({ code: 'too_many_requests' })
  expect(() => limit.admit('paris-1', 60_000)).toThrow(refused)
  limit.admit('paris-2', 60_000)
  limit.admit('paris-1', 61_000)
  expect(() => limit.admit('paris-1', 61_000)).toThrow(refused)
})

test('a clock that is set back refuses nobody', () => {
  const limit = new RenewalLimit()
  limit.admit('paris-1')
  const { now } = Date
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() - 3_600_000)
  onTestFinished(() => clock.mockRestore())
  limit.admit('paris-1')
})

/** The policy service is killed: access that was granted goes on for as long as its lease says, and no longer. */

import { expect, test } from 'vitest'
import { startCountingOrigin } from '../harness/counting-origin.ts'
import { failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

const leaseMs = 4_000

test('leases outlive policy to their end, then it is 503 policy_unavailable, and all goes on when policy is back', async () => {
  await using origin = await startCountingOrigin()
  await using system = await startSystem({
    connectors: 2,
    environment: {
      SALLYPORT_POLICY_LEASE_SECONDS: String(leaseMs / 1_000),
      // Every refused request here is a question that nobody answers, all from one address.
      SALLYPORT_GATEWAY_RATE_OF_DECISIONS: '0',
    },
    publish: [signedInApplication('wiki', origin.url)],
  })
  const { headers } = await signInTo(system, 'wiki')
  await using load = startDriving({ gateways: () => system.gatewayUrls, headers, concurrency: 4 })
  await load.untilAnswered(100)
  const [policy] = system.services.of('policy')
  if (policy) await system.kill(policy)
  const killedMs = Date.now()
  await load.untilAnswered(200)
  expect(failures(load.replies)).toEqual([])

  const refused = () => load.replies.filter(({ status }) => status !== 200)
  await expect.poll(() => refused().length, { timeout: 2 * leaseMs }).toBeGreaterThan(100)
  for (const reply of refused())
    expect(reply).toMatchObject({ status: 503, code: 'policy_unavailable' })
  const [first] = refused()
  // In use, a lease is renewed when half of it is over; a second is lost to rounding.
  expect(first?.startedAtMs).toBeGreaterThan(killedMs + leaseMs / 2 - 1_000)
  expect(first?.startedAtMs).toBeLessThan(killedMs + leaseMs + 500)
  expect(Math.max(...refused().map(({ ms }) => ms))).toBeLessThan(1_000)

  await system.add('policy')
  const backMs = Date.now()
  await load.untilAnswered(500)
  const replies = await load.stop()
  expect(failures(replies.filter(({ startedAtMs }) => startedAtMs > backMs))).toEqual([])
  expect(new Set(failures(replies).map(text => text.replace(/^.*: | after.*$/g, '')))).toEqual(
    new Set(['503 policy_unavailable']),
  )
})

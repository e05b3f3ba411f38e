/** Any gateway serves any session and any connector of the group any request; gateways come and go under load. */

import { expect, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { accessEvents, countAudit, readAudit } from '../harness/audit-trail.ts'
import { startCountingOrigin } from '../harness/counting-origin.ts'
import { drive, failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

test('two gateways and three connectors share 10,000 requests of one session evenly, then gateways come and go', async () => {
  await using origin = await startCountingOrigin()
  await using system = await startSystem({
    gateways: 2,
    connectors: 3,
    publish: [signedInApplication('wiki', origin.url)],
  })
  const { headers } = await signInTo(system, 'wiki')
  const arrivedBefore = origin.arrived
  const replies = await drive({ gateways: () => system.gatewayUrls, headers, count: 10_000 })
  expect(failures(replies)).toEqual([])
  expect(origin.arrived - arrivedBefore).toBe(10_000)

  const auditor = await system.connect('auditor')
  // One more than the load: the page on which signing in ended.
  const granted = subjects.auditsLike('access', 'wiki', 'granted')
  await expect.poll(() => countAudit(auditor, granted), { timeout: 10_000 }).toBe(10_001)
  const events = accessEvents(await readAudit(auditor)).filter(event => event.outcome === 'granted')
  const shares = (by: 'connector' | 'source') =>
    [...Map.groupBy(events, event => event[by]).values()].map(({ length }) => length)
  expect(shares('source')).toHaveLength(2)
  const byConnector = shares('connector')
  expect(byConnector).toHaveLength(3)
  expect(Math.max(...byConnector) / Math.min(...byConnector)).toBeLessThan(1.3)

  // A load balancer takes a gateway out of its rotation before it is stopped.
  let rotation = [...system.gatewayUrls]
  await using load = startDriving({ gateways: () => rotation, headers })
  await load.untilAnswered(500)
  await system.add('gateway')
  rotation = [...system.gatewayUrls]
  expect(rotation).toHaveLength(3)
  await load.untilAnswered(500)
  for (const leaving of system.services.of('gateway').slice(0, 2)) {
    rotation = rotation.filter(url => new URL(url).port !== String(leaving.details.port))
    await system.stop(leaving)
    await load.untilAnswered(500)
  }
  expect(rotation).toHaveLength(1)
  expect(failures(await load.stop())).toEqual([])

  // Nobody waits for what a gateway had under way that is killed, and it would take the place of others.
  const request = () => ({ method: 'POST', path: '/held' })
  const held = drive({ gateways: () => rotation, headers, count: 4, request })
  await expect.poll(() => origin.held).toBe(4)
  for (const last of system.services.of('gateway')) await system.kill(last)
  await expect.poll(() => origin.held).toBe(0)
  expect((await held).filter(({ error }) => error === undefined)).toEqual([])
})

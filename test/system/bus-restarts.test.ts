/** The bus's only server is killed and comes back, under load: clear refusals meanwhile, and nothing is forgotten. */

import { expect, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { accessEvents, countAudit, readAudit } from '../harness/audit-trail.ts'
import { startCountingOrigin } from '../harness/counting-origin.ts'
import { drive, failures, type Reply, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

/** From the server's return to the last failure. */
const recoversWithinMs = 2_000
/** No request waits longer for an answer, of whatever kind. */
const answersWithinMs = 4_000

const meanwhile = [
  '503 bus_unavailable',
  '502 connector_lost',
  '503 policy_unavailable',
  '503 sign_in_unavailable',
]

test('requests fail clearly while the bus is away and go on when it is back, with every session and audit event', async () => {
  await using origin = await startCountingOrigin()
  await using system = await startSystem({
    gateways: 2,
    connectors: 2,
    publish: [signedInApplication('wiki', origin.url)],
  })
  const { nats } = system.parts
  const gateways = () => system.gatewayUrls
  const [alice, bob] = [
    await signInTo(system, 'wiki'),
    await signInTo(system, 'wiki', 'bob@sallyport.example'),
  ]
  const processes = () =>
    (['registry', 'policy', 'connector', 'gateway'] as const)
      .flatMap(role => system.services.of(role))
      .map(({ name, pid }) => `${name} ${pid}`)
  const before = processes()

  const request = (number: number) => ({ method: number % 4 === 0 ? 'POST' : 'GET', path: '/' })
  await using load = startDriving({ gateways, headers: alice.headers, request })
  await load.untilAnswered(500)
  const held = drive({
    gateways,
    headers: alice.headers,
    count: 4,
    request: () => ({ method: 'POST', path: '/held' }),
  })
  await expect.poll(() => origin.held).toBe(4)
  await nats.kill()
  const killedMs = Date.now()
  await expect(signInTo(system, 'wiki', 'carol@sallyport.example')).rejects.toThrow('503')
  expect(Date.now() - killedMs).toBeLessThan(answersWithinMs)
  // The second gateway has never seen this session, and cannot look it up now.
  const strangers = drive({ gateways: () => gateways().slice(1), headers: bob.headers, count: 2 })
  await load.untilAnswered(40)
  expect(await strangers).toMatchObject([{ status: 503 }, { status: 503 }])
  await nats.start()
  const backMs = Date.now()
  const isAgain = ({ status, startedAtMs }: Reply) => status === 200 && startedAtMs > backMs
  await expect
    .poll(() => load.replies.filter(isAgain).length, { timeout: 10_000 })
    .toBeGreaterThan(500)
  const replies = [...(await strangers), ...(await load.stop())]
  const failed = replies.filter(({ status }) => status !== 200)
  const lastFailureMs = Math.max(...failed.map(({ startedAtMs }) => startedAtMs))
  for (const { status, code } of failed) expect(meanwhile).toContain(`${status} ${code}`)
  expect(lastFailureMs - backMs).toBeLessThan(recoversWithinMs)
  expect(Math.max(...replies.map(({ ms }) => ms))).toBeLessThan(answersWithinMs)
  expect(
    replies.filter(({ number, method }) => method === 'POST' && origin.timesSeen(number) > 1),
  ).toEqual([])
  expect(processes()).toEqual(before)
  // Nobody waits for them any more, and they would take the place of others.
  expect((await held).map(({ code }) => code)).toEqual(Array(4).fill('connector_lost'))
  await expect.poll(() => origin.held).toBe(0)

  // A gateway that has nothing in memory knows the sessions from the bucket alone.
  const fresh = await system.add('gateway')
  for (const { headers } of [alice, bob]) {
    const there = () => [`http://127.0.0.1:${fresh.details.port}`]
    replies.push(...(await drive({ gateways: there, headers, count: 20 })))
  }
  expect(failures(replies.slice(-40))).toEqual([])

  const auditor = await system.connect('auditor')
  const expected = replies.length + 2
  await expect
    .poll(() => countAudit(auditor, subjects.auditsLike('access', 'wiki')), { timeout: 10_000 })
    .toBeGreaterThanOrEqual(expected)
  const events = accessEvents(await readAudit(auditor))
  const distinct = new Map(events.map(event => [event.id, event.requestId]))
  const recorded = Map.groupBy(distinct.values(), requestId => requestId)
  expect(replies.filter(({ requestId = '' }) => recorded.get(requestId)?.length !== 1)).toEqual([])
})

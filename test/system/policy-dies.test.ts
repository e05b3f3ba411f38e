/**
 * The policy service is killed: access that was granted goes on for as long as its lease says, and no longer, unless the
 * application wants it to go on by its last lease.
 */

import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { EvaluateReply } from '#infra/contracts/policy.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { decodeUp, encodeRequest } from '#infra/frames.ts'
import { clockToleranceMs } from '#infra/lease.ts'
import { subjects } from '#infra/subjects.ts'
import type { UpFrame } from '#infra/wire.ts'
import { administer } from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

const leaseMs = 4_000

let origin: CountingOrigin
let system: TestSystem
let monitoringPort: number
let settledMs: number

beforeAll(async () => {
  origin = await startCountingOrigin()
  monitoringPort = await freePort()
  system = await startSystem({
    connectors: 2,
    environment: {
      SALLYPORT_POLICY_LEASE_SECONDS: String(leaseMs / 1_000),
      // Every refused request here is a question that nobody answers, all from one address.
      SALLYPORT_GATEWAY_RATE_OF_DECISIONS: '0',
      SALLYPORT_GATEWAY_MONITORING_PORT: String(monitoringPort),
    },
    publish: [signedInApplication('wiki', origin.url), signedInApplication('diary', origin.url)],
  })
  const setting = { whenPolicyIsUnavailable: 'lastLease', lastLeaseMinutes: 1 }
  await administer(system, 'PATCH', '/applications/diary/onPremisesPublishing', setting)
  settledMs = Date.now()
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

test('leases outlive policy to their end, then it is 503 policy_unavailable, and all goes on when policy is back', async () => {
  const { headers } = await signInTo(system, 'wiki')
  const concurrency = 4
  await using load = startDriving({ gateways: () => system.gatewayUrls, headers, concurrency })
  await load.untilAnswered(100)
  const [policy] = system.services.of('policy')
  if (policy) await system.kill(policy)
  const killedMs = Date.now()

  const refused = () => load.replies.filter(({ status }) => status !== 200)
  await expect.poll(() => refused().length, { timeout: 2 * leaseMs }).toBeGreaterThan(100)
  for (const reply of refused())
    expect(reply).toMatchObject({ status: 503, code: 'policy_unavailable' })
  const firstMs = Math.min(...refused().map(({ startedAtMs }) => startedAtMs))
  // In use, a lease is renewed when half of it is over; a second is lost to rounding.
  expect(firstMs).toBeGreaterThan(killedMs + leaseMs / 2 - 1_000)
  expect(firstMs).toBeLessThan(killedMs + leaseMs + 500)
  const granted = load.replies.filter(({ status }) => status === 200)
  const afterwards = granted.filter(({ startedAtMs }) => startedAtMs > killedMs)
  expect(afterwards.length).toBeGreaterThanOrEqual(100 - concurrency)
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

/** A visitor who asks again and again, and has a download open that waits for more. */
async function visit(name: string, user: string) {
  const visitor = await signInTo(system, name, user)
  const { headers } = visitor
  const load = startDriving({ gateways: () => system.gatewayUrls, headers, concurrency: 1 })
  onTestFinished(() => load[Symbol.asyncDispose]())
  const client = new Client(system.gatewayUrls[0] ?? '', visitor)
  onTestFinished(() => client[Symbol.dispose]())
  const { stream } = await client.open('/long', { agent: false })
  stream.on('error', () => undefined).resume()
  const refusals = () => load.replies.filter(({ status }) => status !== 200)
  return { load, stream, refusals, client }
}

/** A gateway that heeds nothing: it got a lease for somebody's session, and uses it for as long as connectors take it. */
async function startHeedlessGateway(user: string, sessionId: string) {
  const bus = await system.connect('gateway')
  const { connectorGroupId } = await administered('/applications/diary')
  const answers = new Map<string, UpFrame>()
  bus.subscribe(subjects.upTo(bus.instance), {
    callback: ({ subject, data }) => {
      answers.set(subject.slice(subject.lastIndexOf('.') + 1), decodeUp(data))
    },
  })
  const [clientAddress, fingerprint] = ['192.0.2.1', user]
  const facts = { clientAddress, clientAppType: 'other', devicePlatform: 'linux', userAgent: '' }
  const asked = { sessionId, applicationId: 'diary', requestId: 'r', facts, fingerprint }
  const { lease = '', leaseExpiresAtMs = 0 } = await bus.call(
    subjects.evaluate,
    { ...asked, applicationsRevision: 0 },
    { reply: EvaluateReply, timeoutMs: 2_000, unavailable: 'policy_unavailable' },
  )
  let sent = 0
  const send = async () => {
    const exchangeId = `x${++sent}`
    const request = encodeRequest({
      gatewayId: bus.instance,
      exchangeId,
      startBeforeMs: Date.now() + 5_000,
      lease,
      isLeaseReference: false,
      method: 'GET',
      target: '/',
      headers: ['Host', 'diary.test'],
      body: Buffer.alloc(0),
      bodyFollows: false,
      isUpgrade: false,
    })
    bus.publish(subjects.exchange(connectorGroupId, 'diary'), request)
    await expect.poll(() => answers.has(exchangeId)).toBe(true)
    return answers.get(exchangeId)
  }
  return { send, leaseExpiresAtMs }
}

async function administered(path: string): Promise<{ connectorGroupId: string }> {
  return (await administer(system, 'GET', path)) as { connectorGroupId: string }
}

const until = (timeMs: number) =>
  expect.poll(() => Date.now(), { timeout: 15_000 }).toBeGreaterThan(timeMs)

test('an application that wants it goes on by its last leases until they are revoked, and no other', async () => {
  origin.delayMs = 5
  const events = await followAudit(system)
  const metrics = async () => (await fetch(`http://127.0.0.1:${monitoringPort}/metrics`)).text()
  const [alice, bob] = ['alice@sallyport.example', 'bob@sallyport.example']
  const closed = await visit('wiki', alice)
  const lasting = await visit('diary', alice)
  const ending = await visit('diary', bob)
  // Connectors let no lease last that may have been made before they knew the application as it is.
  await until(settledMs + clockToleranceMs + leaseMs)
  for (const { load } of [closed, lasting, ending]) await load.untilAnswered(20)
  const ofBob = liveAccess(events).find(({ user }) => user === bob)
  const heedless = await startHeedlessGateway(bob, ofBob?.session ?? '')
  for (const policy of system.services.of('policy')) await system.kill(policy)
  const killedMs = Date.now()
  await expect.poll(() => closed.refusals().length, { timeout: 2 * leaseMs }).toBeGreaterThan(20)
  await until(killedMs + leaseMs + 500)
  expect(heedless.leaseExpiresAtMs).toBeLessThan(Date.now())
  expect(await heedless.send()).toMatchObject({ type: 'response', status: 200 })

  for (const { load } of [lasting, ending]) await load.untilAnswered(50)
  expect(failures([...lasting.load.replies, ...ending.load.replies])).toEqual([])
  expect([closed, lasting, ending].map(({ stream }) => stream.destroyed)).toEqual([
    true,
    false,
    false,
  ])
  const onLast = () => liveAccess(events).filter(({ lastLease }) => lastLease)
  await expect.poll(() => onLast().length).toBeGreaterThan(50)
  expect(new Set(onLast().map(({ application }) => application))).toEqual(new Set(['diary']))
  expect(await metrics()).toMatch(/^sallyport_policy_answering 0$/m)
  expect(await metrics()).toMatch(/^sallyport_last_lease_exchanges_total [1-9]/m)
  // The same session from elsewhere was never decided on.
  const elsewhere = await lasting.client.send('/', { headers: [['user-agent', 'another/1']] })
  expect(elsewhere.status).toBe(503)

  await administer(system, 'POST', `/users/${bob}/revokeSignInSessions`)
  await expect.poll(() => ending.stream.destroyed, { timeout: 1_000 }).toBe(true)
  await expect.poll(() => ending.refusals().length, { timeout: 1_000 }).toBeGreaterThan(0)
  await ending.load.untilAnswered(20)
  const [first] = ending.refusals()
  const later = ending.load.replies.filter(({ number }) => number > (first?.number ?? 0))
  expect(later.length).toBeGreaterThan(10)
  expect(later.filter(({ status }) => status === 200)).toEqual([])
  expect(await heedless.send()).toMatchObject({ type: 'refused', code: 'policy_unavailable' })
  await lasting.load.untilAnswered(20)
  expect(failures(lasting.load.replies)).toEqual([])
})

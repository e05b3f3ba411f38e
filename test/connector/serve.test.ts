/**
 * What a connector demands of an exchange before its origin hears of it, and of one that is open: a lease that is good
 * now, for this application and this group. A gateway can send whatever it likes.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { type LeaseClaims, leaseIssuer, leaseLifetimeMs } from '#infra/contracts/policy.ts'
import { createLeaseVerifier } from '#infra/lease.ts'
import { createLogger } from '#infra/log.ts'
import { StreamBudget } from '#infra/stream-budget.ts'
import { subjects } from '#infra/subjects.ts'
import {
  decodeUp,
  encodeRequest,
  leaseReference,
  type RefusedFrame,
  type UpFrame,
} from '#infra/wire.ts'
import { Carried } from '../../connector/carried.ts'
import { createDialer } from '../../connector/dial.ts'
import { openOrigins } from '../../connector/origins.ts'
import { watchReadiness } from '../../connector/readiness.ts'
import { type Serving, serve } from '../../connector/serve.ts'
import { createLeaseSigner } from '../../policy/lease.ts'
import { application } from '../harness/application.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'

const signer = createLeaseSigner()
const applications = new Map<string, Application>()
/** The time as the connector knows it; undefined when it does not. */
const clock = {
  time: 0 as number | undefined,
  asked: 0,
  now() {
    clock.asked++
    return clock.time
  },
  measured: () => undefined,
}
let nats: TestNats
let origin: Origin
let gateway: Bus
let serving: Serving
let frames: Map<string, UpFrame[]>

beforeAll(async () => {
  nats = await startTestNats()
  origin = await startOrigin()
  gateway = await nats.connect('gateway')
  const { url: internalUrl } = origin
  for (const id of ['wiki', 'shop'])
    applications.set(id, application(id, `https://${id}.test/`, { internalUrl }))
  serving = await startServing()
  frames = await collect()
})
afterAll(async () => {
  await serving[Symbol.asyncDispose]()
  await nats[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})
afterEach(() => {
  vi.restoreAllMocks()
  clock.time = Date.now()
})

async function startServing(): Promise<Serving> {
  clock.time = Date.now()
  const bus = await nats.connect('connector')
  const log = createLogger('test', 'silent')
  const dialer = createDialer({ refusesLoopback: false })
  const leases = createLeaseVerifier({ groupId: 'paris' })
  leases.setKeys([signer.key])
  const started = serve({
    bus,
    log,
    memberId: 'c',
    groupId: 'paris',
    maxExchanges: 10,
    clock,
    origins: openOrigins(10, dialer),
    budget: new StreamBudget({ memoryBytes: 2 ** 26 }),
    readiness: watchReadiness({ log, dialer, onChange: () => undefined }),
    carried: new Carried(),
    applications: () => applications,
    leases,
  })
  await bus.connection.flush()
  return started
}

/** What the connector answers, by exchange. */
async function collect() {
  const answers = new Map<string, UpFrame[]>()
  gateway.subscribe(subjects.upTo('g'), {
    callback: ({ subject, data }) => {
      const id = subject.slice(subject.lastIndexOf('.') + 1)
      answers.set(id, [...(answers.get(id) ?? []), decodeUp(data)])
    },
  })
  await gateway.connection.flush()
  return answers
}

const claims = (more: Partial<LeaseClaims> = {}): LeaseClaims => {
  const iat = Math.floor(Date.now() / 1_000)
  return {
    iss: leaseIssuer,
    aud: 'paris',
    sub: 'ada@x.test',
    jti: 'j',
    iat,
    exp: iat + 60,
    app: 'wiki',
    session: 's',
    fingerprint: 'f',
    user: null,
    satisfied: ['session-ok'],
    ...more,
  }
}

let exchanges = 0

/** Sends a request as a gateway does, and gives what came back first. */
async function send(lease: string, { app = 'wiki', target = '/echo', isReference = false } = {}) {
  const exchangeId = `x${++exchanges}`
  gateway.publish(
    subjects.exchange('paris', app),
    encodeRequest({
      gatewayId: 'g',
      exchangeId,
      startBeforeMs: Date.now() + 5_000,
      lease,
      isLeaseReference: isReference,
      method: 'GET',
      target,
      headers: ['Host', `${app}.test`],
      body: Buffer.alloc(0),
      bodyFollows: false,
      isUpgrade: false,
    }),
  )
  const answers = () => frames.get(exchangeId) ?? []
  await expect.poll(answers, { interval: 5 }).not.toEqual([])
  return { first: answers()[0] as UpFrame, answers }
}

test('a good lease takes a request to the origin, whole or by its reference', async () => {
  const lease = signer.sign(claims())
  expect((await send(lease)).first).toMatchObject({ type: 'response', status: 200 })
  const again = await send(leaseReference(lease), { isReference: true })
  expect(again.first).toMatchObject({ type: 'response', status: 200 })
})

describe('the origin hears nothing of a request whose lease', () => {
  const old = Math.floor(Date.now() / 1_000) - 3_600

  test.each<[string, () => string, string, string]>([
    ['is none', () => 'x', 'connector_refused', 'compact JWS'],
    ['is signed by nobody', () => signer.sign(claims()).slice(0, -5), 'connector_refused', ''],
    [
      'is signed by somebody else',
      () => createLeaseSigner().sign(claims()),
      'not_informed',
      'not known',
    ],
    [
      'is for another group',
      () => signer.sign(claims({ aud: 'rome' })),
      'connector_refused',
      'group',
    ],
    [
      'is for another application',
      () => signer.sign(claims({ app: 'shop' })),
      'connector_refused',
      'application',
    ],
    [
      'has ended',
      () => signer.sign(claims({ iat: old, exp: old + 60 })),
      'connector_refused',
      'expired',
    ],
    [
      'would live too long',
      () => signer.sign(claims({ exp: old + 7_200 })),
      'connector_refused',
      'longer',
    ],
  ])('%s', async (_, lease, code, why) => {
    const before = origin.seen.length
    const { first } = await send(lease())
    expect(first).toMatchObject({ type: 'refused', code })
    expect((first as RefusedFrame).detail).toContain(why)
    expect(origin.seen.length).toBe(before)
  })

  test('is named, and was never seen', async () => {
    const reference = leaseReference(signer.sign(claims({ jti: 'unseen' })))
    const { first } = await send(reference, { isReference: true })
    expect(first).toMatchObject({ type: 'refused', code: 'lease_unknown', neverStarted: true })
  })

  test('cannot be judged, because the time is not known', async () => {
    clock.time = undefined
    const { first } = await send(signer.sign(claims()))
    expect(first).toMatchObject({ type: 'refused', code: 'clock_skew' })
  })

  test('is good, for an application that is not on the list of the registry', async () => {
    const { first } = await send(signer.sign(claims({ app: 'secret' })), { app: 'secret' })
    expect(first).toMatchObject({ type: 'refused', code: 'not_informed' })
  })
})

describe('a request that is open', () => {
  const open = async () => {
    const { promise: arrived, resolve } = Promise.withResolvers<void>()
    origin.at('/hangs', () => resolve())
    const sent = send(signer.sign(claims()), { target: '/hangs' })
    await arrived
    return await sent
  }
  const sweeps = async () => {
    const { asked } = clock
    await expect.poll(() => clock.asked).toBeGreaterThan(asked + 1)
  }
  const ended = (code: string) => expect.objectContaining({ code })

  test('ends with its lease', async () => {
    const { first, answers } = await open()
    expect(first.type).toBe('accepted')
    clock.time = Date.now() + 58_000
    await sweeps()
    expect(serving.openExchanges).toBe(1)
    clock.time = Date.now() + 61_000
    await expect.poll(answers).toContainEqual(ended('session_revoked'))
    await expect.poll(() => origin.latest('/hangs')?.end).toBe('broken')
  })

  test('ends when the time has not been known for as long as a lease lives', async () => {
    const { answers } = await open()
    const now = performance.now.bind(performance)
    let laterMs = 0
    vi.spyOn(performance, 'now').mockImplementation(() => now() + laterMs)
    clock.time = undefined
    await sweeps()
    laterMs = leaseLifetimeMs - 1_000
    await sweeps()
    expect(serving.openExchanges).toBe(1)
    laterMs = leaseLifetimeMs + 1_000
    await expect.poll(answers).toContainEqual(ended('session_revoked'))
  })
})

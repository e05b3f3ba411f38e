/**
 * How long a connector lets a lease last after its end. All of it is decided by what the registry signed, what policy
 * signed, and what the connector has heard by itself.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { type LeaseClaims, leaseIssuer } from '#infra/contracts/policy.ts'
import { createLogger } from '#infra/log.ts'
import { LastLeases } from '../../connector/last-leases.ts'
import { application } from '../harness/application.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'

const minuteMs = 60_000
/** The monotonic clock runs on by so much. */
let laterMs = 0
let nats: TestNats
let bus: Bus
let lastLeases: LastLeases
/** Since when the connector knows each application as it is. */
let since: WeakMap<Application, number>

const published = (publishing: object) => {
  const made = application('wiki', 'https://wiki.test/', { publishing })
  since.set(made, performance.now())
  return made
}
const lasting = () => published({ whenPolicyIsUnavailable: 'lastLease', lastLeaseMinutes: 3 })

/** Policy made it this long after the connector began to hear of everything. */
function claims(madeAfterMs = 10_000, more: Partial<LeaseClaims> = {}): LeaseClaims {
  const iat = Math.floor((startedMs + madeAfterMs) / 1_000)
  const exp = iat + 60
  return {
    iss: leaseIssuer,
    aud: 'paris',
    sub: 'Ada@x.test',
    jti: 'j',
    iat,
    exp,
    lastUntil: exp + 480,
    app: 'wiki',
    session: 's',
    fingerprint: 'f',
    user: null,
    satisfied: ['session-ok'],
    ...more,
  }
}
let startedMs: number

const nowMs = () => startedMs + laterMs
const endOf = (lease: LeaseClaims, of: Application) =>
  lastLeases.endsAtMs(lease, of, nowMs()) - lease.exp * 1_000

beforeAll(async () => {
  nats = await startTestNats()
})
afterAll(() => nats[Symbol.asyncDispose]())

beforeEach(async () => {
  laterMs = 0
  const now = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => now() + laterMs)
  since = new WeakMap()
  startedMs = Date.now()
  bus = await nats.connect('connector')
  const log = createLogger('test', 'silent')
  lastLeases = new LastLeases({ bus, log, knownSince: of => since.get(of) })
  await bus.connection.flush()
})
afterEach(async () => {
  vi.restoreAllMocks()
  lastLeases[Symbol.dispose]()
  await bus[Symbol.asyncDispose]()
})

test('it lasts for the minutes of the application, when policy gave it as many', () => {
  const of = lasting()
  laterMs = 2 * minuteMs
  expect(endOf(claims(), of)).toBe(3 * minuteMs)
  const { exp } = claims()
  expect(endOf(claims(10_000, { lastUntil: exp + 7 }), of)).toBe(7_000)
})

describe('it ends with its time', () => {
  test('when the application closes without policy, which is the default', () => {
    const [unsaid, closed] = [published({}), published({ whenPolicyIsUnavailable: 'failClosed' })]
    laterMs = 2 * minuteMs
    for (const of of [unsaid, closed]) expect(endOf(claims(), of)).toBe(0)
  })

  test('when policy has not said that it may last', () => {
    const of = lasting()
    laterMs = 2 * minuteMs
    expect(endOf(claims(10_000, { lastUntil: undefined }), of)).toBe(0)
  })

  test.each([
    ['its session', { kind: 'session', id: 's' }],
    ['its user, however that is spelt', { kind: 'user', id: 'ada@X.test' }],
    ['its application', { kind: 'application', id: 'wiki' }],
  ] as const)('when %s is revoked, and nothing makes it last again', (_, revocation) => {
    const of = lasting()
    laterMs = 30_000
    lastLeases.heard({ kind: revocation.kind, id: 'another' })
    laterMs = 2 * minuteMs
    expect(endOf(claims(), of)).toBe(3 * minuteMs)
    lastLeases.heard(revocation)
    expect(endOf(claims(), of)).toBe(0)
    laterMs = 4 * minuteMs
    lastLeases.heard({ kind: 'session', id: 'yet another' })
    expect(endOf(claims(), of)).toBe(0)
  })

  test('when the registry has told of the application anew since it was made', () => {
    const before = lasting()
    laterMs = 30_000
    const after = lasting()
    laterMs = 2 * minuteMs
    expect(endOf(claims(10_000), before)).toBe(3 * minuteMs)
    expect(endOf(claims(10_000), after)).toBe(0)
    // Made before it, by a clock of policy that is ahead.
    expect(endOf(claims(34_000), after)).toBe(0)
    expect(endOf(claims(36_000), after)).toBe(3 * minuteMs)
  })

  test('when the application has left the group', () => {
    const of = lasting()
    laterMs = 2 * minuteMs
    since.delete(of)
    expect(endOf(claims(), of)).toBe(0)
  })

  test('when the connector was not there yet, and may have missed a revocation', () => {
    const of = lasting()
    laterMs = 2 * minuteMs
    expect(endOf(claims(-1_000), of)).toBe(0)
    expect(endOf(claims(4_000), of)).toBe(0)
  })

  test('when more is revoked than the connector can remember', () => {
    const of = lasting()
    laterMs = 2 * minuteMs
    for (let i = 0; i <= 50_000; i++) lastLeases.heard({ kind: 'session', id: `other-${i}` })
    expect(endOf(claims(), of)).toBe(0)
  })

  test('when the time is not known', () => {
    const of = lasting()
    laterMs = 2 * minuteMs
    for (const time of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(lastLeases.endsAtMs(claims(), of, time)).toBe(claims().exp * 1_000)
  })

  test('when the bus was away meanwhile, also when it is back', async () => {
    const of = lasting()
    laterMs = 2 * minuteMs
    expect(endOf(claims(), of)).toBe(3 * minuteMs)
    await nats.kill()
    await expect.poll(() => bus.isConnected).toBe(false)
    expect(endOf(claims(), of)).toBe(0)
    await nats.restart()
    await expect.poll(() => bus.isConnected, { timeout: 10_000 }).toBe(true)
    await bus.connection.flush()
    expect(endOf(claims(), of)).toBe(0)
    laterMs = 4 * minuteMs
    expect(endOf(claims(2.5 * minuteMs), of)).toBe(3 * minuteMs)
  })
})

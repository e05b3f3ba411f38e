/**
 * What a gateway does with a lease that ends while policy is away: it uses it only where the application wants that, only
 * while nobody at all answers, and only as long as nothing has happened that would have to be decided.
 */

import type { Subscription } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import { type Decision, type EvaluateReply, EvaluateRequest } from '#infra/contracts/policy.ts'
import { SallyportError } from '#infra/errors.ts'
import { createLogger } from '#infra/log.ts'
import { queues, subjects } from '#infra/subjects.ts'
import { Authorizer } from '../../gateway/authorize.ts'
import type { Question } from '../../gateway/question.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { nothingShown, question as usual } from './question.ts'

const decision = (outcome: Decision['outcome']): Decision => ({
  outcome,
  reasons: ['session-ok'],
  policies: [],
})
const question = (more: Partial<Question> = {}): Question => ({ ...usual, ...more })

let nats: TestNats
let policyBus: Bus
let bus: Bus
let authorizer: Authorizer
let serving: Subscription | undefined
/** What policy answers at present. */
let answer: (request: EvaluateRequest) => EvaluateReply | Promise<EvaluateReply>
let laterMs: number

beforeAll(async () => {
  nats = await startTestNats()
  policyBus = await nats.connect('policy')
})
afterAll(() => nats[Symbol.asyncDispose]())

beforeEach(async () => {
  laterMs = 0
  const now = Date.now.bind(Date)
  vi.spyOn(Date, 'now').mockImplementation(() => now() + laterMs)
  bus = await nats.connect('gateway')
  authorizer = new Authorizer(bus, createLogger('test', 'silent'), nothingShown())
  await policyStarts()
})
afterEach(async () => {
  vi.restoreAllMocks()
  await policyEnds()
  await bus[Symbol.asyncDispose]()
})

async function policyStarts(): Promise<void> {
  answer = granted
  serving = policyBus.serve(subjects.evaluate, {
    queue: queues.policy,
    request: EvaluateRequest,
    handle: request => answer(request),
  })
  await policyBus.connection.flush()
}

async function policyEnds(): Promise<void> {
  serving?.unsubscribe()
  serving = undefined
  await policyBus.connection.flush()
}

let leases = 0
let changes = 0

/** A lease of a minute that may be used for five more. */
function granted(): EvaluateReply {
  const leaseExpiresAtMs = Date.now() + 60_000
  const lastLeaseUntilMs = leaseExpiresAtMs + 300_000
  const lease = `h.p.${++leases}`
  return { decision: decision('grant'), lease, leaseExpiresAtMs, lastLeaseUntilMs }
}

const closing = (): EvaluateReply => ({ ...granted(), lastLeaseUntilMs: undefined })

/** Asks, and has the deadline pass quickly. */
function inVain(asked: Question): Promise<unknown> {
  const { setTimeout } = globalThis
  vi.spyOn(globalThis, 'setTimeout').mockImplementation(((run: () => void, ms = 0) =>
    setTimeout(run, ms / 10)) as typeof setTimeout)
  const now = performance.now.bind(performance)
  const from = now()
  vi.spyOn(performance, 'now').mockImplementation(() => from + 10 * (now() - from))
  const answered = authorizer.ask(asked)
  answered.catch(() => undefined)
  return answered
}

const unavailable = { code: 'policy_unavailable' }

test('it is used for as long as policy has said, and then no more', async () => {
  const { lease } = await authorizer.ask(question())
  await policyEnds()
  laterMs = 61_000
  expect(authorizer.remembered(question())).toBeUndefined()
  expect(authorizer.isPolicyAnswering).toBe(true)
  expect(await authorizer.ask(question())).toMatchObject({ lease, isLast: true })
  expect(authorizer.isPolicyAnswering).toBe(false)
  // Nobody waits any more to find that out again.
  expect(authorizer.remembered(question())).toMatchObject({ lease, isLast: true })
  laterMs = 359_000
  expect(await authorizer.ask(question())).toMatchObject({ lease })
  laterMs = 360_000
  expect(authorizer.remembered(question())).toBeUndefined()
  await expect(authorizer.ask(question())).rejects.toMatchObject(unavailable)
})

test('policy is asked for a new one behind the requests, and its answer counts at once', async () => {
  const { lease } = await authorizer.ask(question())
  await policyEnds()
  laterMs = 61_000
  await authorizer.ask(question())
  await policyStarts()
  laterMs = 62_000
  expect(authorizer.remembered(question())).toMatchObject({ lease, isLast: true })
  await expect.poll(() => authorizer.isPolicyAnswering).toBe(true)
  const renewed = authorizer.remembered(question())
  expect(renewed?.isLast).toBeUndefined()
  expect(renewed?.lease).not.toBe(lease)
})

test('a renewal that a change elsewhere overtook is tried again with the next request', async () => {
  const { lease } = await authorizer.ask(question())
  const asked = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<EvaluateReply>()
  answer = () => {
    asked.resolve()
    return answered.promise
  }
  laterMs = 31_000
  expect(authorizer.remembered(question())).toMatchObject({ lease })
  await asked.promise
  authorizer.revoke({ kind: 'user', id: 'bob@example.com' })
  answer = granted
  answered.resolve(granted())
  await expect.poll(() => authorizer.remembered(question())?.lease).not.toBe(lease)
})

describe('it is not used', () => {
  test('by an application that closes without policy', async () => {
    answer = closing
    await authorizer.ask(question())
    await policyEnds()
    laterMs = 61_000
    await expect(authorizer.ask(question())).rejects.toMatchObject(unavailable)
    expect(authorizer.remembered(question())).toBeUndefined()
  })

  test.each<[string, Partial<Question>]>([
    ['another session', { sessionId: 's2' }],
    ['no session', { sessionId: null }],
    ['another application', { applicationId: 'shop' }],
    ['another client', { client: { ...question().client, fingerprint: 'f2' } }],
  ])('for %s, which has no lease', async (_, more) => {
    await authorizer.ask(question())
    await policyEnds()
    laterMs = 61_000
    await authorizer.ask(question())
    expect(authorizer.remembered(question(more))).toBeUndefined()
    await expect(authorizer.ask(question(more))).rejects.toMatchObject(unavailable)
  })

  test('when policy has said no', async () => {
    await authorizer.ask(question())
    answer = () => ({ decision: decision('block') })
    laterMs = 61_000
    expect((await authorizer.ask(question())).lease).toBeUndefined()
    await policyEnds()
    await expect(authorizer.ask(question())).rejects.toMatchObject(unavailable)
    expect(authorizer.remembered(question())).toBeUndefined()
  })

  test('when policy answers that it cannot tell', async () => {
    await authorizer.ask(question())
    await policyEnds()
    laterMs = 61_000
    await authorizer.ask(question())
    await policyStarts()
    answer = () => {
      throw new SallyportError('policy_unavailable', 'a change is not seen')
    }
    await expect(authorizer.ask(question())).rejects.toMatchObject(unavailable)
    expect(authorizer.remembered(question())).toBeUndefined()
  })

  test('when policy answers others and is silent about this one alone', async () => {
    await authorizer.ask(question())
    laterMs = 61_000
    answer = ({ applicationId }) =>
      applicationId === 'wiki' ? new Promise<EvaluateReply>(() => undefined) : granted()
    const asked = inVain(question())
    await authorizer.ask(question({ applicationId: 'shop' }))
    await expect(asked).rejects.toMatchObject(unavailable)
    expect(authorizer.remembered(question())).toBeUndefined()
    expect(authorizer.isPolicyAnswering).toBe(true)
  })

  test.each<[string, () => void]>([
    ['its session is revoked', () => authorizer.revoke({ kind: 'session', id: 's1' })],
    ['its user is revoked', () => authorizer.revoke({ kind: 'user', id: 'ada@example.com' })],
    ['its application ends', () => authorizer.revoke({ kind: 'application', id: 'wiki' })],
    ['its application, or who may use it, changes', () => authorizer.forget('wiki')],
    [
      'policies or signals change for it',
      () => {
        const touches = { applications: ['wiki'], users: [], sessions: [] }
        authorizer.reevaluate({ bucket: 'signals', revision: ++changes, touches })
      },
    ],
    ['the bus was away, and with it what was said meanwhile', () => authorizer.forgetAll()],
  ])('when %s, before it has ended or after', async (_, happens) => {
    await authorizer.ask(question())
    await policyEnds()
    happens()
    await expect(authorizer.ask(question())).rejects.toMatchObject(unavailable)
    await policyStarts()
    laterMs = 10_000
    await authorizer.ask(question())
    await policyEnds()
    laterMs = 71_000
    expect(await authorizer.ask(question())).toMatchObject({ isLast: true })
    happens()
    expect(authorizer.remembered(question())).toBeUndefined()
    await expect(authorizer.ask(question())).rejects.toMatchObject(unavailable)
  })

  test('when it was asked for before such a change, and the answer never came', async () => {
    await authorizer.ask(question())
    laterMs = 61_000
    const { promise: heard, resolve } = Promise.withResolvers<void>()
    answer = () => {
      resolve()
      return new Promise(() => undefined)
    }
    const asked = inVain(question())
    await heard
    await policyEnds()
    authorizer.revoke({ kind: 'user', id: 'ada@example.com' })
    await expect(asked).rejects.toMatchObject(unavailable)
  })

  test('when it is the bus that is away', async () => {
    await authorizer.ask(question())
    laterMs = 61_000
    await nats.kill()
    await expect.poll(() => bus.isConnected).toBe(false)
    await expect(inVain(question())).rejects.toMatchObject(unavailable)
    expect(authorizer.isPolicyAnswering).toBe(true)
    await nats.restart()
    await expect.poll(() => policyBus.isConnected, { timeout: 10_000 }).toBe(true)
  })
})

test('what was granted for reading alone is no grant for writing', async () => {
  answer = () => ({
    ...granted(),
    decision: { ...decision('grant'), unsafeMethods: decision('block') },
  })
  const { lease } = await authorizer.ask(question())
  await policyEnds()
  laterMs = 61_000
  const write = await authorizer.ask(question(), 'unsafe')
  expect(write).toMatchObject({ decision: { outcome: 'block', isReadOnly: true } })
  expect(write.lease).toBeUndefined()
  expect(await authorizer.ask(question())).toMatchObject({ lease, isLast: true })
})

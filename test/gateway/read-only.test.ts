/** What a gateway remembers where reading is granted and writing is not: the lease for the one, never the other. */

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import type { MethodClass } from '#infra/contracts/http-methods.ts'
import { decisionFor, type EvaluateReply, EvaluateRequest } from '#infra/contracts/policy.ts'
import { createLogger } from '#infra/log.ts'
import { queues, subjects } from '#infra/subjects.ts'
import { Authorizer } from '../../gateway/authorize.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { nothingShown, question } from './question.ts'

let nats: TestNats
let bus: Bus
let authorizer: Authorizer
let isFrozen: boolean
let asked: MethodClass[]

beforeAll(async () => {
  nats = await startTestNats()
  const policy = await nats.connect('policy')
  policy.serve(subjects.evaluate, {
    queue: queues.policy,
    request: EvaluateRequest,
    handle: async ({ methods }) => answer(methods),
  })
  await policy.connection.flush()
  bus = await nats.connect('gateway')
})
afterAll(() => nats[Symbol.asyncDispose]())
beforeEach(() => {
  asked = []
  isFrozen = true
  authorizer = new Authorizer(bus, createLogger('test', 'silent'), nothingShown())
})

/** As policy does: no lease for whoever asks to write and may not. */
function answer(methods: MethodClass): EvaluateReply {
  asked.push(methods)
  const granted = { outcome: 'grant' as const, reasons: ['session-ok'], policies: [] }
  const blocked = { outcome: 'block' as const, reasons: ['policy-blocks'], policies: ['freeze'] }
  const decision = isFrozen ? { ...granted, unsafeMethods: blocked } : granted
  if (isFrozen && methods === 'unsafe') return { decision: decisionFor(decision, methods) }
  return { decision, lease: `l${asked.length}`, leaseExpiresAtMs: Date.now() + 60_000 }
}

test('reads and writes are asked for by themselves, also at the same moment', async () => {
  const [read, write] = await Promise.all([
    authorizer.ask(question, 'safe'),
    authorizer.ask(question, 'unsafe'),
  ])
  expect(read.lease).toBeDefined()
  expect(write).toMatchObject({ decision: { outcome: 'block', isReadOnly: true } })
  expect(write.lease).toBeUndefined()
  expect(asked.toSorted()).toEqual(['safe', 'unsafe'])
})

test('a write that is refused leaves the lease for reading where it is', async () => {
  const { lease } = await authorizer.ask(question)
  await authorizer.ask(question, 'unsafe')
  expect(authorizer.remembered(question)).toMatchObject({
    lease,
    decision: { outcome: 'grant', unsafeMethods: { outcome: 'block' } },
  })
})

test('a write that is refused takes a lease for everything away', async () => {
  isFrozen = false
  await authorizer.ask(question)
  expect(authorizer.remembered(question)).toBeDefined()
  isFrozen = true
  await authorizer.ask(question, 'unsafe')
  expect(authorizer.remembered(question)).toBeUndefined()
})

test('a write that is granted brings a lease for everything', async () => {
  await authorizer.ask(question)
  isFrozen = false
  const { lease } = await authorizer.ask(question, 'unsafe')
  expect(authorizer.remembered(question)).toMatchObject({ lease })
  expect(authorizer.remembered(question)?.decision).not.toHaveProperty('unsafeMethods')
})

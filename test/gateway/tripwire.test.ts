/** What a revocation ends at a gateway: also what was on its way when it was heard, and WebSockets that are busy. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import {
  EvaluateReply,
  EvaluateRequest,
  type Revocation,
  revocationKey,
} from '#infra/contracts/policy.ts'
import { createLogger } from '#infra/log.ts'
import { StreamBudget } from '#infra/stream-budget.ts'
import { queues, subjects } from '#infra/subjects.ts'
import { Authorizer } from '../../gateway/authorize.ts'
import { Revoked } from '../../gateway/revoked.ts'
import { UpgradedConnection } from '../../gateway/upgraded.ts'
import { closeFrame } from '../../gateway/websocket.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { nothingShown, question } from './question.ts'

const signedInAtMs = 1_000

const session = {
  hostname: 'wiki.example.com',
  sessionId: 's1',
  userPrincipalName: 'Ada@Example.com',
  displayName: 'Ada',
  groups: [],
  signedInAtMs,
  expiresAtMs: 9_000,
}

const ofUser = (atMs: number, id = 'ada@example.com'): Revocation => ({
  kind: 'user',
  id,
  atMs,
  reason: 'test',
})
const ofSession: Revocation = { kind: 'session', id: 's1', atMs: 1, reason: 'test' }

describe('a session is over', () => {
  test.each([
    ['with itself', ofSession, true],
    ['with everything of its user', ofUser(signedInAtMs), true],
    ['not with what its user had before', ofUser(signedInAtMs - 1), false],
    ['not with another user', ofUser(signedInAtMs, 'bob@example.com'), false],
  ])('%s, as heard and as kept', (_, revocation, expected) => {
    const heard = new Revoked({ entries: new Map() })
    heard.hear(revocation)
    expect(heard.has(session)).toBe(expected)
    const key = revocationKey(revocation.kind, revocation.id)
    expect(new Revoked({ entries: new Map([[key, revocation]]) }).has(session)).toBe(expected)
  })

  test('whatever is said again of an earlier revocation', () => {
    const revoked = new Revoked({ entries: new Map() })
    revoked.hear(ofUser(signedInAtMs))
    revoked.hear(ofUser(signedInAtMs - 1))
    expect(revoked.has(session)).toBe(true)
    expect(revoked.hasHeard(ofUser(signedInAtMs))).toBe(true)
    expect(revoked.hasHeard(ofUser(signedInAtMs + 1))).toBe(false)
  })
})

test('a grant that was on its way when access was revoked serves nobody else, and is decided anew at once', async () => {
  await using nats = await startTestNats()
  const policy = await nats.connect('policy')
  const asked = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<void>()
  policy.serve(subjects.evaluate, {
    queue: queues.policy,
    request: EvaluateRequest,
    async handle(): Promise<EvaluateReply> {
      asked.resolve()
      await answered.promise
      const decision = { outcome: 'grant', reasons: ['assigned'], policies: [] } as const
      return EvaluateReply.parse({ decision, lease: 'l', leaseExpiresAtMs: Date.now() + 60_000 })
    },
  })
  await policy.connection.flush()
  const gateway = await nats.connect('gateway')
  const authorizer = new Authorizer(gateway, createLogger('test', 'silent'), nothingShown())
  const asking = authorizer.ask(question)
  await asked.promise
  authorizer.revoke(ofUser(1))
  answered.resolve()
  expect(await asking).toMatchObject({ lease: 'l', isOutdated: true })
  expect(authorizer.remembered(question)).toBeUndefined()
  expect(await authorizer.ask(question)).toMatchObject({ isOutdated: false })
  expect(authorizer.remembered(question)).toBeDefined()
})

describe('who asks, or still holds a grant, after', () => {
  let shown: ReturnType<typeof nothingShown>
  let policiesRevision = 0
  let asked: EvaluateRequest[]
  let answered: PromiseWithResolvers<void>
  let authorizer: Authorizer
  let nats: TestNats

  beforeEach(async () => {
    asked = []
    answered = Promise.withResolvers()
    nats = await startTestNats()
    const policy = await nats.connect('policy')
    let answers = 0
    policy.serve(subjects.evaluate, {
      queue: queues.policy,
      request: EvaluateRequest,
      async handle(request): Promise<EvaluateReply> {
        asked.push(request)
        const lease = `l${++answers}`
        await answered.promise
        const decision = { outcome: 'grant', reasons: ['assigned'], policies: [] } as const
        return EvaluateReply.parse({ decision, lease, leaseExpiresAtMs: Date.now() + 60_000 })
      },
    })
    await policy.connection.flush()
    const gateway = await nats.connect('gateway')
    shown = nothingShown()
    authorizer = new Authorizer(gateway, createLogger('test', 'silent'), shown)
  })
  afterEach(() => nats[Symbol.asyncDispose]())

  test.each<[string, () => void]>([
    ['a revocation', () => authorizer.revoke(ofUser(1))],
    ['a bus that was away', () => authorizer.forgetAll()],
    [
      'a change of policies',
      () =>
        authorizer.reevaluate({
          bucket: 'policies',
          revision: ++policiesRevision,
          touches: 'all',
        }),
    ],
    [
      'a change of the application',
      () => {
        shown.applications.revision++
        authorizer.forget('wiki')
      },
    ],
  ])('%s gets an answer of its own, and knows what the grant is worth', async (_, happens) => {
    const before = authorizer.ask(question)
    happens()
    const after = authorizer.ask(question)
    answered.resolve()
    expect(await before).toMatchObject({ lease: 'l1', isOutdated: true })
    expect(await after).toMatchObject({ lease: 'l2', isOutdated: false })
    const renewed = authorizer.remembered(question)
    expect(renewed).toMatchObject({ lease: 'l2', isOutdated: false })
    await authorizer.ask(question)
    const forgotten = authorizer.remembered(question)
    happens()
    expect(authorizer.remembered(question)).toBeUndefined()
    expect(renewed).toMatchObject({ lease: 'l2', isOutdated: false })
    expect(forgotten).toMatchObject({ lease: 'l3', isOutdated: true })
  })

  test('what was told counts in each question, until the bus was away', async () => {
    const told = { bucket: 'signals', revision: 9, touches: 'all' } as const
    answered.resolve()
    expect([authorizer.reevaluate(told), authorizer.reevaluate(told)]).toEqual([true, false])
    await authorizer.ask(question)
    authorizer.forgetAll()
    await authorizer.ask(question)
    expect(asked.map(({ signalsRevision }) => signalsRevision)).toEqual([9, 0])
    expect(authorizer.reevaluate(told)).toBe(true)
  })

  test('a tombstone that nothing else has told of asks under its revision, unless its bucket was made anew', async () => {
    answered.resolve()
    await authorizer.ask(question)
    shown.revocations.revision = 7
    authorizer.revoke(ofUser(1))
    await authorizer.ask(question)
    authorizer.revokeByTombstone(ofUser(2))
    await authorizer.ask(question)
    shown.revocations.revision = 8
    await authorizer.ask(question)
    shown.revocations.revision = 1
    await authorizer.ask(question)
    expect(asked.map(({ revocationsRevision }) => revocationsRevision)).toEqual([0, 0, 7, 7, 1])
  })
})

describe('an upgraded connection whose access has ended', () => {
  /** The gateway's side, and what its client gets. */
  async function start() {
    const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const accepted = once(server, 'connection')
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [[socket]] = (await Promise.all([accepted, once(client, 'connect')])) as [
      [Socket],
      unknown,
    ]
    onTestFinished(() => {
      client.destroy()
      socket.destroy()
      server.close()
    })
    const received: Buffer[] = []
    client.on('data', data => received.push(data)).on('error', () => undefined)
    const connection = new UpgradedConnection({
      socket,
      first: Buffer.alloc(0),
      isWebSocket: true,
      send: () => undefined,
      budget: new StreamBudget({ memoryBytes: 2 ** 24 }),
      onClosed: () => undefined,
    })
    // One that breaks off is reset, which is an error to its client.
    const closed = new Promise<number>(resolve =>
      client.once('close', () => resolve(performance.now())),
    )
    return { connection, closed, received: () => Buffer.concat(received) }
  }
  const frame = Buffer.concat([Buffer.from([0x82, 126, 0x10, 0x00]), Buffer.alloc(0x1000)])

  test('is told so between two frames', async () => {
    const { connection, closed, received } = await start()
    connection.receiver.first(frame)
    connection.close(4401, 'access has ended')
    await closed
    expect(received()).toEqual(Buffer.concat([frame, closeFrame(4401, 'access has ended')]))
  })

  test('does not wait for the rest of a frame, which will not come', async () => {
    const { connection, closed, received } = await start()
    connection.receiver.first(frame.subarray(0, 1_000))
    const startedAt = performance.now()
    connection.close(4401, 'access has ended')
    expect((await closed) - startedAt).toBeLessThan(500)
    expect(received().includes(closeFrame(4401, 'access has ended'))).toBe(false)
  })
})

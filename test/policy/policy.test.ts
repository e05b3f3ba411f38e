/** The policy service over a real bus with its own permissions: sign-in, decisions, leases, revocation, several of it. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { jetstreamManager } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import { type Environment, readConfig } from '#infra/config.ts'
import { AuditEvent, eventsOf } from '#infra/contracts/audit.ts'
import { Signal } from '#infra/contracts/conditional-access/signals.ts'
import type { MethodClass } from '#infra/contracts/http-methods.ts'
import {
  EvaluateReply,
  LeaseKey,
  Reevaluation,
  Revocation,
  revocationKey,
  SignInReply,
} from '#infra/contracts/policy.ts'
import { InsistentCalls } from '#infra/insistent-calls.ts'
import { createLeaseVerifier } from '#infra/lease.ts'
import { createLogger } from '#infra/log.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { PolicyConfig } from '../../policy/config.ts'
import { startPolicy } from '../../policy/policy.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { application, facts } from './applications.ts'
import { type Claims, clientId, startTestProvider, type TestProvider } from './identity-provider.ts'
import { type PolicyPart, policy } from './sign-ins.ts'

const log = createLogger('test', 'silent')

/** Generous, for machines that are busy. */
const soon = { timeout: 15_000 }

const published = [
  application('wiki', {
    appRoleAssignments: [{ principalType: 'Group', principalId: 'Editors' }],
    connectorGroupId: 'paris',
  }),
  application('public', { externalAuthenticationType: 'passthru' }),
]

/** A bus with storage and applications, and a provider: what policy finds when it starts. */
async function startGround() {
  await using stack = new AsyncDisposableStack()
  const provider = stack.use(await startTestProvider())
  const nats = stack.use(await startTestNats())
  const registry = await nats.connect('registry')
  await prepareStorage(registry, {
    replicas: 1,
    auditMaxBytes: 2 ** 26,
    auditMaxAgeMs: 3_600_000,
    log,
  })
  const applications = await new Kvm(registry.connection).open(buckets.applications)
  for (const each of published) await applications.put(each.id, JSON.stringify(each))
  const gateway = await nats.connect('gateway')
  const events = await tail(nats)
  const environment: Environment = {
    SALLYPORT_BUS_URL: nats.server.urlFor('policy'),
    SALLYPORT_LOG_LEVEL: 'silent',
    SALLYPORT_POLICY_IDENTITY_PROVIDER: provider.issuer,
    SALLYPORT_POLICY_CLIENT_ID: clientId,
    SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: 'true',
  }
  const owned = stack.move()
  return {
    provider,
    nats,
    registry,
    gateway,
    applications,
    events,
    environment,
    startPolicy: () => startPolicy(readConfig(PolicyConfig, environment)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function tail(nats: TestNats): Promise<AuditEvent[]> {
  const auditor = await nats.connect('auditor')
  const events: AuditEvent[] = []
  auditor.subscribe(subjects.audits, {
    callback: ({ data }) =>
      events.push(...eventsOf(data).map(text => AuditEvent.parse(JSON.parse(text)))),
  })
  await auditor.connection.flush()
  return events
}

const SignOutReply = z.null()

const asking = { timeoutMs: 5_000, unavailable: 'policy_unavailable' } as const

async function signIn(gateway: Bus, provider: TestProvider, claims?: Claims): Promise<SignInReply> {
  const request = { idToken: await provider.idToken(claims), requestId: 'sign-in-1', facts }
  return gateway.call(subjects.signIn, request, { reply: SignInReply, ...asking })
}

async function sessionOf(gateway: Bus, provider: TestProvider, claims?: Claims): Promise<string> {
  const reply = await signIn(gateway, provider, claims)
  if (reply.outcome !== 'signed-in') throw new Error(`refused: ${reply.reasons.join()}`)
  return reply.sessionId
}

function about(sessionId: string | null, applicationId = 'wiki', methods: MethodClass = 'safe') {
  const requestId = 'request-1'
  const of = { sessionId, applicationId, methods, requestId, facts }
  return { ...of, applicationsRevision: 0, fingerprint: 'f1' }
}

function evaluate(
  gateway: Bus,
  sessionId: string | null,
  applicationId?: string,
  methods?: MethodClass,
) {
  const request = about(sessionId, applicationId, methods)
  return gateway.call(subjects.evaluate, request, { reply: EvaluateReply, ...asking })
}

/** A connector's view: the keys that are published now. */
async function verifierOf(registry: Bus, groupId = 'paris') {
  await using keys = await watchBucket(registry, {
    bucket: buckets.leaseKeys,
    schema: LeaseKey,
    log,
  })
  const verifier = createLeaseVerifier({ groupId })
  verifier.setKeys([...keys.entries.values()])
  return (lease: string | undefined, applicationId = 'wiki') =>
    verifier.verify(lease ?? '', { applicationId, nowMs: Date.now() })
}

describe('sign-in', () => {
  test('gives a session with the user that the ID token names, and records it', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const reply = await signIn(ground.gateway, ground.provider)
    expect(reply).toMatchObject({
      outcome: 'signed-in',
      sessionId: expect.stringMatching(/^[\w-]{22}$/),
      principal: { userPrincipalName: 'ada@example.com', groups: ['Editors'] },
    })
    expect(reply.outcome === 'signed-in' && reply.expiresAtMs % 1_000).toBe(0)
    await expect.poll(() => ground.events, soon).toHaveLength(1)
    expect(ground.events[0]).toMatchObject({
      category: 'sign-in',
      outcome: 'succeeded',
      user: 'ada@example.com',
      clientAddress: facts.clientAddress,
      amr: ['pwd', 'otp'],
    })
  })

  test('is refused with a reason, and the refusal is recorded without a name', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const reply = await signIn(ground.gateway, ground.provider, { aud: 'other' })
    expect(reply).toEqual({ outcome: 'refused', reasons: ['id-token-wrong-audience'] })
    await expect.poll(() => ground.events, soon).toHaveLength(1)
    expect(ground.events[0]).toMatchObject({
      category: 'sign-in',
      outcome: 'failed',
      user: null,
      reasons: ['id-token-wrong-audience'],
    })
  })

  test('says that it is unavailable while the provider is', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    ground.provider.misbehave({ status: 500 })
    await expect(signIn(ground.gateway, ground.provider)).rejects.toThrow(
      expect.objectContaining({ code: 'sign_in_unavailable' }),
    )
    await expect.poll(() => ground.events, soon).toHaveLength(1)
    expect(ground.events[0]).toMatchObject({ outcome: 'failed', reasons: ['provider-unavailable'] })
  })

  test('leaves nothing in the store from which a session id could be read', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    const bucket = await new Kvm(ground.registry.connection).open(buckets.principals)
    const stored: string[] = []
    for await (const key of await bucket.keys()) {
      stored.push(key, (await bucket.get(key))?.string() ?? '')
    }
    expect(stored.join()).toContain('ada@example.com')
    expect(stored.join()).not.toContain(sessionId)
  })
})

describe('access', () => {
  test('is granted with a lease that a connector of the group accepts', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    const { decision, lease, leaseExpiresAtMs = 0 } = await evaluate(ground.gateway, sessionId)
    expect(decision).toEqual({
      outcome: 'grant',
      reasons: ['session-ok', 'users-ok'],
      policies: [],
      requestId: 'request-1',
    })
    const claims = (await verifierOf(ground.registry))(lease)
    expect(claims).toMatchObject({
      sub: 'ada@example.com',
      aud: 'paris',
      app: 'wiki',
      session: sessionId,
      fingerprint: 'f1',
      user: { groups: ['Editors'] },
      satisfied: ['session-ok', 'users-ok'],
    })
    expect(leaseExpiresAtMs).toBe(claims.exp * 1_000)
    expect(leaseExpiresAtMs - Date.now()).toBeLessThanOrEqual(60_000)
    const elsewhere = await verifierOf(ground.registry, 'rome')
    expect(() => elsewhere(lease)).toThrow('another connector group')
  })

  test('is granted without a session for passthrough, with a lease that names nobody', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const { decision, lease } = await evaluate(ground.gateway, null, 'public')
    expect(decision).toMatchObject({ outcome: 'grant', reasons: ['session-not-needed'] })
    const claims = (await verifierOf(ground.registry, 'default'))(lease, 'public')
    expect(claims).toMatchObject({ sub: '', session: null, user: null })
  })

  test.each([
    ['a user of the wrong group', { groups: ['Guests'] }, 'wiki', 'block', 'users-not-assigned'],
    ['an application that does not exist', {}, 'nowhere', 'block', 'application-unknown'],
  ])('is refused, without a lease, for %s', async (_, claims, applicationId, outcome, reason) => {
    await using ground = await startGround()
    await using policy = await ground.startPolicy()
    expect(policy.details).toHaveProperty('key')
    const sessionId = await sessionOf(ground.gateway, ground.provider, claims)
    const reply = await evaluate(ground.gateway, sessionId, applicationId)
    expect(reply).toEqual({
      decision: { outcome, reasons: [reason], policies: [], requestId: 'request-1' },
    })
  })

  test.each([null, '', 'made-up', '*', '>', 'x'.repeat(128)])(
    'is refused for the session id %j',
    async sessionId => {
      await using ground = await startGround()
      await using _ = await ground.startPolicy()
      const { decision, lease } = await evaluate(ground.gateway, sessionId)
      expect(decision.outcome).toBe('challenge')
      expect(lease).toBeUndefined()
    },
  )

  test('is refused as a bad request when the question cannot be understood', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const call = (request: unknown) =>
      ground.gateway.call(subjects.evaluate, request, { reply: EvaluateReply, ...asking })
    const badRequest = expect.objectContaining({ code: 'bad_request' })
    await expect(call({})).rejects.toThrow(badRequest)
    await expect(call({ sessionId: 7, applicationId: 'wiki' })).rejects.toThrow(badRequest)
    await expect(call('wiki')).rejects.toThrow(badRequest)
  })

  test('follows a change of the assignments without a restart', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    const outcome = async () => (await evaluate(ground.gateway, sessionId)).decision.outcome
    expect(await outcome()).toBe('grant')
    await ground.applications.put('wiki', JSON.stringify(application('wiki')))
    await expect.poll(outcome, soon).toBe('block')
    await ground.applications.delete('wiki')
    const reasons = async () => (await evaluate(ground.gateway, sessionId)).decision.reasons
    await expect.poll(reasons, soon).toEqual(['application-unknown'])
  })

  test('is not granted for an application whose entry cannot be read', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const damaged = { ...application('public'), onPremisesPublishing: 'passthru' }
    await ground.applications.put('public', JSON.stringify(damaged))
    const reasons = async () => (await evaluate(ground.gateway, null, 'public')).decision.reasons
    await expect.poll(reasons, soon).toEqual(['application-unknown'])
  })

  test('is recorded at the first grant and at every refusal, not at renewals', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    for (let i = 0; i < 3; i++) await evaluate(ground.gateway, sessionId)
    for (let i = 0; i < 2; i++) await evaluate(ground.gateway, null)
    await evaluate(ground.gateway, sessionId, 'nowhere')
    const decisions = () => ground.events.filter(event => event.category === 'policy')
    await expect.poll(decisions, soon).toHaveLength(4)
    expect(decisions().map(event => [event.outcome, event.user, event.application])).toEqual([
      ['grant', 'ada@example.com', 'wiki'],
      ['challenge', null, 'wiki'],
      ['challenge', null, 'wiki'],
      ['block', 'ada@example.com', 'nowhere'],
    ])
  })
})

describe('sign-out', () => {
  const signOut = (gateway: Bus, sessionId: string) =>
    gateway.call(
      subjects.signOut,
      { sessionId, requestId: 'r' },
      { reply: SignOutReply, ...asking },
    )

  test('ends the session at once, tells everybody, and leaves a tombstone', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    const { promise: revoked, resolve } = Promise.withResolvers<Revocation>()
    ground.gateway.subscribe(subjects.revocations, {
      callback: ({ data }) => resolve(Revocation.parse(JSON.parse(data.toString()))),
    })
    await ground.gateway.connection.flush()
    await signOut(ground.gateway, sessionId)
    expect((await evaluate(ground.gateway, sessionId)).decision).toMatchObject({
      outcome: 'challenge',
      reasons: ['session-revoked'],
    })
    expect(await revoked).toMatchObject({ kind: 'session', id: sessionId, reason: 'signed-out' })
    const bucket = await new Kvm(ground.registry.connection).open(buckets.revocations)
    const key = revocationKey('session', sessionId)
    await expect.poll(async () => (await bucket.get(key))?.operation, soon).toBe('PUT')
    const outcomes = () => ground.events.map(event => event.outcome)
    await expect.poll(outcomes, soon).toContain('signed-out')
  })

  test('holds for a policy service that starts later', async () => {
    await using ground = await startGround()
    const first = await ground.startPolicy()
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    await signOut(ground.gateway, sessionId)
    await first[Symbol.asyncDispose]()
    await using _ = await ground.startPolicy()
    expect((await evaluate(ground.gateway, sessionId)).decision.reasons).toEqual([
      'session-revoked',
    ])
  })

  test('does not touch the other sessions of the user', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const [one, other] = await Promise.all([
      sessionOf(ground.gateway, ground.provider),
      sessionOf(ground.gateway, ground.provider),
    ])
    await signOut(ground.gateway, one)
    expect((await evaluate(ground.gateway, other)).decision.outcome).toBe('grant')
  })
})

describe('revocation by others', () => {
  test('of a user ends the sessions from before, not those from after', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const before = await sessionOf(ground.gateway, ground.provider)
    expect((await evaluate(ground.gateway, before)).decision.outcome).toBe('grant')
    const revocation: Revocation = {
      kind: 'user',
      id: 'ada@example.com',
      atMs: Date.now(),
      reason: 'test',
    }
    const { kind, id } = revocation
    const bucket = await new Kvm(ground.registry.connection).open(buckets.revocations)
    await bucket.put(revocationKey(kind, id), JSON.stringify(revocation))
    const reasons = async () => (await evaluate(ground.gateway, before)).decision.reasons
    await expect.poll(reasons, soon).toEqual(['session-revoked'])
    const after = await sessionOf(ground.gateway, ground.provider, {
      preferred_username: 'Ada@Example.com',
    })
    expect((await evaluate(ground.gateway, after)).decision.outcome).toBe('grant')
  })
})

describe('a signal', () => {
  test('is kept as an event, as a request, and after events that nobody could read', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    await using signals = await watchBucket(ground.registry, {
      bucket: buckets.signals,
      schema: Signal,
      log,
    })
    const outside = await ground.nats.connect('signals')
    const who = () => [...signals.entries.values()].map(({ id }) => id).sort()
    outside.publish(subjects.signal('risk', 'user', 'eve'), Buffer.from('{'))
    outside.publishJson(subjects.signal('risk', 'user', 'eve'), { level: 'extreme' })
    outside.publishJson(subjects.signal('risk', 'user', 'ada'), { level: 'high' })
    const request = { reply: z.object({ revision: z.number() }), ...asking }
    await outside.call(subjects.signal('risk', 'user', 'bob'), { level: 'high' }, request)
    await expect.poll(who, soon).toEqual(['ada', 'bob'])
  })
})

describe('several policy services', () => {
  test("share the work, know each other's sessions, and each other's sign-outs", async () => {
    await using ground = await startGround()
    await using one = await ground.startPolicy()
    await using other = await ground.startPolicy()
    expect(one.details).not.toEqual(other.details)
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    const replies = await Promise.all(
      Array.from({ length: 40 }, () => evaluate(ground.gateway, sessionId)),
    )
    expect(replies.every(({ decision }) => decision.outcome === 'grant')).toBe(true)
    const verify = await verifierOf(ground.registry)
    for (const { lease } of replies) verify(lease)
    const keyIds = new Set(replies.map(({ lease }) => lease?.split('.')[0]))
    expect(keyIds.size).toBe(2)
    await ground.gateway.call(
      subjects.signOut,
      { sessionId, requestId: 'r' },
      { reply: SignOutReply, ...asking },
    )
    const outcomes = async () => {
      const again = await Promise.all(
        Array.from({ length: 20 }, () => evaluate(ground.gateway, sessionId)),
      )
      return new Set(again.map(({ decision }) => decision.outcome))
    }
    await expect.poll(outcomes, soon).toEqual(new Set(['challenge']))
  })

  test('go on when one is killed, and the leases of the dead one stay good', async () => {
    await using ground = await startGround()
    const main = fileURLToPath(new URL('../../policy/main.ts', import.meta.url))
    const doomed = fork(main, { env: ground.environment, execArgv: [] })
    await once(doomed, 'message')
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    const { lease } = await evaluate(ground.gateway, sessionId)
    await using _ = await ground.startPolicy()
    doomed.kill('SIGKILL')
    await once(doomed, 'exit')
    const granted = async () => {
      const replies = await Promise.allSettled(
        Array.from({ length: 10 }, () => evaluate(ground.gateway, sessionId)),
      )
      return replies.every(
        reply => reply.status === 'fulfilled' && reply.value.decision.outcome === 'grant',
      )
    }
    await expect.poll(granted, soon).toBe(true)
    expect((await verifierOf(ground.registry))(lease)).toMatchObject({ session: sessionId })
  })

  test('are asked once more for what one is halted or killed with, and every answer counts once', async () => {
    await using ground = await startGround()
    const main = fileURLToPath(new URL('../../policy/main.ts', import.meta.url))
    const halted = fork(main, { env: ground.environment, execArgv: [] })
    onTestFinished(() => void halted.kill('SIGKILL'))
    await once(halted, 'message')
    await using _ = await ground.startPolicy()
    using calls = new InsistentCalls(ground.gateway, 'gateway')
    const idToken = await ground.provider.idToken()
    const unavailable = 'policy_unavailable'
    const askRefused = async (requestId: string) => {
      const question = { ...about(null), requestId }
      const options = { reply: EvaluateReply, timeoutMs: 2_000, unavailable } as const
      const { decision } = await calls.ask(subjects.evaluate, question, options)
      expect(decision.outcome).toBe('challenge')
    }
    const signInOnce = async (requestId: string) => {
      const options = { reply: SignInReply, timeoutMs: 4_000, unavailable } as const
      const reply = await calls.ask(subjects.signIn, { idToken, requestId, facts }, options)
      expect(reply.outcome).toBe('signed-in')
    }
    const asked: string[] = []
    const askMany = (round: string) => {
      const names = Array.from({ length: 12 }, (_, number) => `${round}-${number}`)
      asked.push(...names)
      return Promise.all(names.flatMap(name => [askRefused(name), signInOnce(name)]))
    }
    halted.kill('SIGSTOP')
    await askMany('halted')
    halted.kill('SIGCONT')
    // Whoever is back takes questions again, and has read what was old before.
    const keys = async () => {
      const sessionId = await sessionOf(ground.gateway, ground.provider)
      const replies = Array.from({ length: 8 }, () => evaluate(ground.gateway, sessionId))
      const granted = await Promise.allSettled(replies)
      return new Set(
        granted.map(reply => reply.status === 'fulfilled' && reply.value.lease?.split('.')[0]),
      ).size
    }
    await expect.poll(keys, soon).toBe(2)
    halted.kill('SIGSTOP')
    const answered = askMany('killed')
    await ground.gateway.connection.flush()
    halted.kill('SIGKILL')
    await answered
    const recorded = () =>
      ground.events.map(({ category, requestId }) => `${category} ${requestId}`).filter(isAsked)
    const isAsked = (text: string) => asked.includes(text.slice(text.indexOf(' ') + 1))
    const wanted = asked.flatMap(name => [`policy ${name}`, `sign-in ${name}`])
    await expect.poll(() => recorded().sort(), soon).toEqual(wanted.sort())
  })

  test('lose no question when one stops', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const stopping = await ground.startPolicy()
    const sessionId = await sessionOf(ground.gateway, ground.provider)
    const questions = Array.from({ length: 200 }, () => evaluate(ground.gateway, sessionId))
    await stopping[Symbol.asyncDispose]()
    const replies = await Promise.all(questions)
    expect(replies.filter(({ decision }) => decision.outcome === 'grant')).toHaveLength(200)
  })
})

describe('while the store is away', () => {
  test('an unknown session is not decided on, and nothing hangs', async () => {
    await using ground = await startGround()
    await using _ = await ground.startPolicy()
    const known = await sessionOf(ground.gateway, ground.provider)
    const manager = await jetstreamManager(ground.registry.connection)
    await manager.streams.delete(`KV_${buckets.principals}`)
    expect((await evaluate(ground.gateway, known)).decision.outcome).toBe('grant')
    await expect(evaluate(ground.gateway, 'not-in-memory')).rejects.toThrow(
      expect.objectContaining({ code: 'policy_unavailable' }),
    )
    await expect(signIn(ground.gateway, ground.provider)).rejects.toThrow(
      expect.objectContaining({ code: 'sign_in_unavailable' }),
    )
  })
})

describe('configuration', () => {
  const problemsOf = (environment: Environment): string => {
    try {
      readConfig(PolicyConfig, environment)
      return ''
    } catch (error) {
      return (error as Error).message
    }
  }

  test('names everything that is missing at once', () => {
    const problems = problemsOf({})
    expect(problems).toContain('SALLYPORT_BUS_URL')
    expect(problems).toContain('SALLYPORT_POLICY_IDENTITY_PROVIDER')
    expect(problems).toContain('SALLYPORT_POLICY_CLIENT_ID')
  })

  test('takes a provider without TLS only when told so in as many words', () => {
    const environment = {
      SALLYPORT_BUS_URL: 'nats://127.0.0.1:4222',
      SALLYPORT_POLICY_IDENTITY_PROVIDER: 'http://login.example.com',
      SALLYPORT_POLICY_CLIENT_ID: 'sallyport',
    }
    expect(problemsOf(environment)).toContain('TRUST_PLAIN_HTTP_IDENTITY_PROVIDER=true')
    const trusting = { SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: 'true' }
    expect(problemsOf({ ...environment, ...trusting })).toBe('')
  })
})

describe('conditional access', () => {
  const hourly = { signInFrequency: { isEnabled: true, type: 'hours', value: 1 } }

  async function put(registry: Bus, key: string, value: unknown): Promise<number> {
    const bucket = await new Kvm(registry.connection).open(buckets.policies)
    return bucket.put(key, typeof value === 'string' ? value : JSON.stringify(value))
  }

  const entry = (part: PolicyPart) => ({ kind: 'policy', policy: policy(part) })

  test('is asked for every lease, which ends when what was satisfied ends', async () => {
    await using ground = await startGround()
    const { registry, gateway, provider } = ground
    await put(registry, 'policy.hourly', entry({ id: 'hourly', sessionControls: hourly }))
    await using _ = await ground.startPolicy()
    const seconds = (ago: number) => Math.floor(Date.now() / 1_000) - ago
    const old = await sessionOf(gateway, provider, { auth_time: seconds(4_000) })
    expect((await evaluate(gateway, old)).decision).toMatchObject({
      outcome: 'challenge',
      reasons: ['sign-in-too-old'],
      policies: ['hourly'],
      challenge: { acrValues: [], maxAgeSeconds: 3_600 },
    })
    const soonOld = await sessionOf(gateway, provider, { auth_time: seconds(3_590) })
    const { decision, leaseExpiresAtMs = 0 } = await evaluate(gateway, soonOld)
    expect(decision).toMatchObject({
      outcome: 'grant',
      reasons: expect.arrayContaining(['sign-in-recent']),
    })
    expect(leaseExpiresAtMs - Date.now()).toBeLessThanOrEqual(11_000)
  })

  test('grants safe methods by themselves, in a lease that says so, and records who may not write', async () => {
    await using ground = await startGround()
    const { registry, gateway, provider } = ground
    await put(
      registry,
      'policy.freeze',
      entry({
        id: 'freeze',
        grantControls: { operator: 'OR', builtInControls: ['block'] },
        conditions: {
          applications: { includeApplications: ['wiki'] },
          httpMethods: { includeMethods: ['unsafe'] },
        },
      }),
    )
    await using _ = await ground.startPolicy()
    const sessionId = await sessionOf(gateway, provider)
    const read = await evaluate(gateway, sessionId)
    expect(read.decision).toMatchObject({
      outcome: 'grant',
      policies: [],
      unsafeMethods: { outcome: 'block', reasons: ['policy-blocks'], policies: ['freeze'] },
    })
    expect((await verifierOf(registry))(read.lease)).toMatchObject({ methods: 'safe' })
    const write = await evaluate(gateway, sessionId, 'wiki', 'unsafe')
    expect(write.lease).toBeUndefined()
    expect(write.decision).toMatchObject({ outcome: 'block', isReadOnly: true })
    const refusals = () => ground.events.filter(({ outcome }) => outcome === 'block')
    await expect.poll(refusals, soon).toMatchObject([
      {
        decision: { reasons: ['policy-blocks'], policies: ['freeze'], isReadOnly: true },
        inputs: { httpMethods: 'unsafe' },
        smallestChange: ['send requests that change nothing'],
      },
    ])
    await put(registry, 'policy.freeze', entry({ id: 'freeze', state: 'disabled' }))
    await expect
      .poll(async () => (await evaluate(gateway, sessionId, 'wiki', 'unsafe')).decision.outcome)
      .toBe('grant')
    const { lease, decision } = await evaluate(gateway, sessionId)
    expect(decision).not.toHaveProperty('unsafeMethods')
    expect((await verifierOf(registry))(lease)).not.toHaveProperty('methods')
  })

  test('tells gateways of each change with its revision, and answers from nothing older', async () => {
    await using ground = await startGround()
    const { registry, gateway, provider } = ground
    await using _ = await ground.startPolicy()
    const told: Reevaluation[] = []
    gateway.subscribe(subjects.reevaluate, {
      callback: ({ data }) => told.push(Reevaluation.parse(JSON.parse(String(data)))),
    })
    await gateway.connection.flush()
    const sessionId = await sessionOf(gateway, provider)
    const ask = async (policiesRevision: number) => {
      const request = {
        sessionId,
        applicationId: 'wiki',
        requestId: 'request-2',
        facts,
        applicationsRevision: 0,
        fingerprint: 'f1',
        policiesRevision,
      }
      const { decision } = await gateway.call(subjects.evaluate, request, {
        reply: EvaluateReply,
        ...asking,
      })
      return decision.outcome
    }
    expect(await ask(0)).toBe('grant')
    const block = { operator: 'OR', builtInControls: ['block'] }
    const applications = { includeApplications: ['wiki'] }
    const blocking = entry({ id: 'b', grantControls: block, conditions: { applications } })
    const revision = await put(registry, 'policy.b', blocking)
    expect(await ask(revision)).toBe('block')
    const touches = { applications: ['wiki'], users: [], sessions: [] }
    await expect.poll(() => told).toEqual([{ bucket: 'policies', revision, touches }])
    await expect(ask(revision + 1)).rejects.toThrow(
      expect.objectContaining({ code: 'policy_unavailable' }),
    )
  })

  test.each([
    ['is no JSON', '{'],
    ['is of a kind that is not known', { kind: 'prayer' }],
    [
      'asks for what is not enforced',
      {
        ...entry({}),
        policy: {
          ...policy({}),
          grantControls: { operator: 'OR', builtInControls: ['passwordChange'] },
        },
      },
    ],
  ])('keeps everybody out while a policy %s', async (_, damaged) => {
    await using ground = await startGround()
    const { registry, gateway, provider } = ground
    await put(registry, 'policy.damaged', damaged)
    await using service = await ground.startPolicy()
    expect(service.details).toHaveProperty('key')
    const sessionId = await sessionOf(gateway, provider)
    expect((await evaluate(gateway, sessionId)).decision).toMatchObject({
      outcome: 'block',
      reasons: ['policy-unusable'],
    })
    await put(registry, 'policy.damaged', entry({ state: 'disabled' }))
    await expect
      .poll(async () => (await evaluate(gateway, sessionId)).decision.outcome)
      .toBe('grant')
  })
})

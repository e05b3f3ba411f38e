/**
 * What security teams see: every access as it happens, with who, what, through which connector and why, by the command
 * or by any NATS client; and what nobody sees in it, ever.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { AuditEvent, eventsOf } from '#infra/contracts/audit.ts'
import { subjects } from '#infra/subjects.ts'
import { createGroup, moveToGroup } from '../harness/admin.ts'
import { countAudit, readAuditTexts } from '../harness/audit-trail.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { type Answer, type Opened, type RequestOptions, UserAgent } from '../harness/user-agent.ts'
import { runCommand } from '../registry/cli.ts'

const [alice, bob] = ['alice@sallyport.example', 'bob@sallyport.example']

/** Remembers everything secret that passes through a browser: cookies, and what stands in queries. */
class WatchedAgent extends UserAgent {
  readonly secrets = new Set<string>()

  override async open(url: string, options?: RequestOptions): Promise<Opened> {
    for (const value of new URL(url).searchParams.values()) this.secrets.add(value)
    const opened = await super.open(url, options)
    for (const { value } of this.cookies.all()) this.secrets.add(value)
    return opened
  }
}

let origin: CountingOrigin
let system: TestSystem

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({
    // What the auditor tries in vain is an error to the bus.
    ownLogLevel: 'silent',
    publish: [signedInApplication('wiki', origin.url), signedInApplication('ledger', origin.url)],
  })
  await createGroup(system, 'empty')
  await moveToGroup(system, 'ledger', 'empty')
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const urlOf = (application: string, path = '/') =>
  `http://${application}.sallyport.localhost:${system.port}${path}`
const passwordOf = (user: string) =>
  system.parts.identityProvider.users.find(({ name }) => name === user)?.password ?? ''

async function signedIn(user: string, application: string): Promise<WatchedAgent> {
  const agent = new WatchedAgent()
  await agent.signIn(urlOf(application), user, passwordOf(user))
  return agent
}

interface Seen {
  readonly text: string
  readonly atMs: number
}

/** `sallyport tail --json`, as a process of its own; resolves when it follows. */
async function startTail(): Promise<{ seen: Seen[]; child: ChildProcess }> {
  const child = spawn(process.execPath, ['sallyport.ts', 'tail', '--json'], {
    env: {
      ...process.env,
      SALLYPORT_BUS_URL: system.parts.nats.urlFor('auditor'),
      SALLYPORT_BUS_CA_PATH: system.parts.nats.caPath,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const seen: Seen[] = []
  createInterface({ input: child.stdout }).on('line', text => seen.push({ text, atMs: Date.now() }))
  const [first] = await once(child.stderr, 'data')
  expect(String(first)).toContain('following sallyport.audit.*.*.*')
  return { seen, child }
}

async function startSubscription(): Promise<Seen[]> {
  const bus = await system.connect('auditor')
  const seen: Seen[] = []
  bus.subscribe('sallyport.audit.>', {
    callback: ({ data }) => {
      const atMs = Date.now()
      for (const text of eventsOf(data)) seen.push({ text, atMs })
    },
  })
  await bus.connection.flush()
  return seen
}

test('without the root of the bus the command says which variable names it', async () => {
  const environment = { SALLYPORT_BUS_URL: system.parts.nats.urlFor('auditor') }
  const { status, stderr } = await runCommand(['tail'], environment)
  expect(status).toBe(1)
  expect(stderr).toMatch(/is not trusted: .*; set SALLYPORT_BUS_CA_PATH to the root/)
})

test('the command and a plain subscription show who used what, through what and why, within 200 ms', async () => {
  using aliceAgent = await signedIn(alice, 'wiki')
  await aliceAgent.visit(urlOf('ledger'))
  using bobAgent = await signedIn(bob, 'inventory')
  const [tail, subscribed] = await Promise.all([startTail(), startSubscription()])
  const rounds = 10
  const answers: Answer[] = []
  for (let round = 0; round < rounds; round++) {
    answers.push(await aliceAgent.request(urlOf('wiki')))
    answers.push(await bobAgent.request(urlOf('inventory')))
    answers.push(await aliceAgent.request(urlOf('ledger')))
  }
  const ids = new Set(answers.map(answer => answer.header('sallyport-request-id')))
  expect(ids.size).toBe(3 * rounds)
  for (const seen of [tail.seen, subscribed]) {
    const access = () =>
      seen
        .map(({ text, atMs }) => ({ event: AuditEvent.parse(JSON.parse(text)), atMs }))
        .filter(({ event }) => event.category === 'access' && ids.has(event.requestId ?? ''))
    await expect.poll(() => access().length).toBe(3 * rounds)
    const of = (application: string) =>
      access().filter(({ event }) => event.application === application)
    for (const { event } of of('wiki'))
      expect(event).toMatchObject({
        outcome: 'granted',
        user: alice,
        connector: 'connector-1',
        connectorGroup: 'default',
        status: 200,
        decision: { outcome: 'grant' },
      })
    for (const { event } of of('inventory'))
      expect(event).toMatchObject({
        outcome: 'denied',
        user: bob,
        connector: null,
        status: 403,
        fault: 'access_denied',
        decision: { outcome: 'block', reasons: [expect.any(String)] },
      })
    for (const { event } of of('ledger'))
      expect(event).toMatchObject({
        outcome: 'failed',
        user: alice,
        connector: null,
        connectorGroup: 'empty',
        status: 504,
        fault: 'no_connector',
        decision: { outcome: 'grant' },
      })
    const delays = access()
      .map(({ event, atMs }) => atMs - Date.parse(event.time))
      .toSorted((a, b) => a - b)
    expect(delays[Math.floor(delays.length / 2)]).toBeLessThan(200)
  }
  const texts = (seen: readonly Seen[]) =>
    seen.map(({ text }) => text).filter(text => ids.has(JSON.parse(text).requestId))
  expect(texts(tail.seen)).toEqual(texts(subscribed))
  tail.child.kill('SIGTERM')
  expect(await once(tail.child, 'exit')).toEqual([0, null])
})

test('a user of the wrong group gets 403 with a reason that a person can read', async () => {
  using agent = await signedIn(bob, 'inventory')
  const answer = await agent.request(urlOf('inventory'))
  expect(answer.status).toBe(403)
  expect(JSON.parse(answer.text)).toMatchObject({
    code: 'access_denied',
    reasons: [expect.any(String)],
  })
})

test('an auditor can record nothing and read nothing but events', async () => {
  using agent = await signedIn(alice, 'wiki')
  const auditor = await system.connect('auditor')
  const heard: string[] = []
  for (const subject of [
    'sallyport.>',
    'sallyport.exchange.>',
    'sallyport.up.>',
    'sallyport.policy.>',
    '$KV.>',
  ])
    auditor.subscribe(subject, { callback: message => heard.push(message.subject) })
  const forged = subjects.audit('access', 'forged', 'granted')
  auditor.publish(forged, Buffer.from('{}'))
  await auditor.connection.flush()
  expect((await agent.request(urlOf('wiki'))).status).toBe(200)
  await auditor.connection.flush()
  expect(heard).toEqual([])
  expect(await countAudit(auditor, forged)).toBe(0)
})

test('no event holds a cookie, a token, a lease, a query or a body', async () => {
  const registry = await system.connect('registry')
  const idTokens: string[] = []
  registry.subscribe(subjects.signIn, {
    callback: ({ data }) => idTokens.push(JSON.parse(data.toString()).idToken),
  })
  await registry.connection.flush()
  using agent = await signedIn(alice, 'wiki')
  const requests: RequestOptions[] = [
    { method: 'GET' },
    { method: 'POST', body: 'the-secret-of-a-body' },
    { headers: { authorization: 'Bearer the-secret-of-a-header' } },
    { headers: { referer: urlOf('wiki', '/?key=the-secret-of-a-referer') } },
  ]
  for (const request of requests)
    await agent.request(urlOf('wiki', '/page?key=the-secret-of-a-query'), request)
  await agent.request(urlOf('ledger', '/page?key=the-secret-of-a-query'))
  const auditor = await system.connect('auditor')
  await expect
    .poll(() => countAudit(auditor, subjects.auditsLike('access', 'ledger', 'challenged')))
    .toBeGreaterThan(0)

  expect(idTokens).toHaveLength(1)
  // Cookies and tokens consist of parts that are secrets by themselves.
  const secrets = [...agent.secrets, ...idTokens]
    .flatMap(secret => secret.split('.'))
    .filter(part => /^[\w-]{20,}$/.test(part))
  expect(secrets.length).toBeGreaterThan(10)
  const texts = await readAuditTexts(auditor)
  expect(texts.length).toBeGreaterThan(10)
  const leaked = secrets.filter(secret => texts.some(text => text.includes(secret)))
  expect(leaked).toEqual([])
  expect(texts.filter(text => /the-secret|eyJ[\w-]{8,}\.|key=/.test(text))).toEqual([])
})

/**
 * Conditional access as users meet it: a policy that wants a second factor sends them for it and back to where they were,
 * a program is told what to do, and what changes is in force for open connections at once.
 */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { SignalReply } from '#infra/contracts/conditional-access/signals.ts'
import { sampleUsers } from '#infra/embedded/identity-provider/users.ts'
import { subjects } from '#infra/subjects.ts'
import { administer } from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'
import { signInTo } from '../harness/visitor.ts'
import entra from '../policy/fixtures/entra-export.json' with { type: 'json' }
import { runCommand } from '../registry/cli.ts'

let origin: Origin
let system: TestSystem

const alice = sampleUsers[0]!
const policies = '/identity/conditionalAccess/policies'
const hosted = (name: string, path = '') =>
  `http://${name}.sallyport.localhost:${system.port}/${path}`

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({
    gateways: 3,
    policies: 2,
    publish: ['wiki', 'mail', 'vault'].map(name => signedInApplication(name, origin.url)),
  })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

interface Part {
  application?: string
  conditions?: object
  grantControls?: object | null
  sessionControls?: object
  state?: string
}

/** Creates a policy for as long as the test lasts. */
async function enact({ application = 'All', conditions, ...part }: Part): Promise<string> {
  const created = z.object({ id: z.string() }).parse(
    await administer(system, 'POST', policies, {
      displayName: 'A policy',
      state: 'enabled',
      grantControls: { operator: 'OR', builtInControls: ['mfa'] },
      ...part,
      conditions: {
        users: { includeUsers: ['All'] },
        applications: { includeApplications: [application] },
        ...conditions,
      },
    }),
  )
  onTestFinished(async () => {
    await administer(system, 'DELETE', `${policies}/${created.id}`).catch(() => undefined)
  })
  return created.id
}

const block = { operator: 'OR', builtInControls: ['block'] }

function browser(): UserAgent {
  const agent = new UserAgent()
  onTestFinished(() => agent[Symbol.dispose]())
  return agent
}

describe('a policy that wants a second factor', () => {
  test('sends a navigation for it, without the password again, and back to where the user was', async () => {
    const agent = browser()
    await agent.signIn(hosted('mail'), alice.name, alice.password)
    await enact({ application: 'wiki' })
    const page = await agent.visit(hosted('wiki', 'bytes/10?page=2'))
    expect(page.text).toContain('name="code"')
    expect(page.text).not.toContain('type="password"')
    const back = await agent.submit(page, { code: alice.code })
    expect(back).toMatchObject({ status: 200, url: hosted('wiki', 'bytes/10?page=2') })
    // Other applications go on with the session that they had, and with the better one when they ask for it.
    expect(await agent.visit(hosted('mail', 'bytes/10'))).toMatchObject({ status: 200 })
    await enact({ application: 'mail' })
    expect(await agent.visit(hosted('mail', 'bytes/10'))).toMatchObject({ status: 200 })
  })

  test('tells a program what is wanted, and where its user gives it (RFC 9470)', async () => {
    const agent = browser()
    await agent.signIn(hosted('wiki', 'bytes/10'), alice.name, alice.password)
    await enact({ application: 'wiki' })
    const script = {
      'sec-fetch-mode': 'cors',
      'sec-fetch-site': 'same-origin',
      accept: 'application/json',
    }
    const ask = () => agent.request(hosted('wiki', 'bytes/10'), { headers: script })
    await expect.poll(async () => (await ask()).status).toBe(401)
    const refused = await ask()
    expect(refused.header('www-authenticate')).toMatch(
      /^Bearer error="insufficient_user_authentication", .*acr_values="urn:sallyport:acr:mfa /,
    )
    const problem = JSON.parse(refused.text)
    expect(problem).toMatchObject({
      code: 'insufficient_user_authentication',
      reasons: ['multifactor-required'],
    })
    const page = await agent.visit(problem.signInUrl)
    await agent.submit(page, { code: alice.code })
    expect((await ask()).status).toBe(200)
  })

  test('refuses with its reason when the sign-in did not give what it wants, and does not go round in circles', async () => {
    const agent = browser()
    await enact({
      application: 'vault',
      grantControls: {
        operator: 'OR',
        authenticationStrength: { id: '00000000-0000-0000-0000-000000000004' },
      },
    })
    let page = await agent.signIn(hosted('vault'), alice.name, alice.password, { code: alice.code })
    if (page.text.includes('name="code"')) page = await agent.submit(page, { code: alice.code })
    expect(page.status).toBe(403)
    expect(page.text).toContain('This needs a stronger method of signing in.')
  })
})

test('a policy on persistent browsers decides whether the access cookie outlives the browser', async () => {
  const cookieOf = async () => {
    using agent = new UserAgent()
    const found: string[] = []
    const open = agent.open.bind(agent)
    agent.open = async (url, options) => {
      const opened = await open(url, options)
      for (const [name, value] of opened.headers) {
        if (name.toLowerCase() === 'set-cookie' && url.includes('mail.')) found.push(value)
      }
      return opened
    }
    await agent.signIn(hosted('mail', 'bytes/10'), alice.name, alice.password)
    return found.find(value => value.startsWith('__Host-sallyport='))
  }
  expect(await cookieOf()).not.toContain('Max-Age')
  await enact({
    application: 'mail',
    grantControls: null,
    sessionControls: { persistentBrowser: { mode: 'always', isEnabled: true } },
  })
  expect(await cookieOf()).toContain('Max-Age')
})

describe('a request that waits for its answer while a policy begins to want more', () => {
  /** A path whose answers wait until the test gives them. */
  function hold() {
    const path = `held-${crypto.randomUUID()}`
    const { promise: held, resolve } = Promise.withResolvers<ServerResponse>()
    origin.at(`/${path}`, (_req, res) => resolve(res))
    const answer = () => origin.at(`/${path}`, (_req, res) => res.end('at last'))
    return { path, held, answer, url: hosted('mail', path) }
  }

  test('goes for it and back when it is a navigation, and is told of it when it is a script', async () => {
    const events = await followAudit(system)
    const agent = browser()
    await agent.signIn(hosted('mail', 'bytes/10'), alice.name, alice.password)
    const [ofPerson, ofScript] = [hold(), hold()]
    const visited = agent.visit(ofPerson.url)
    const asked = agent.request(ofScript.url, {
      headers: { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin' },
    })
    await Promise.all([ofPerson.held, ofScript.held])
    await enact({ application: 'mail' })
    const page = await visited
    expect(page.text).toContain('name="code"')
    expect(await asked.then(({ status, text }) => ({ status, ...JSON.parse(text) }))).toMatchObject(
      { status: 401, code: 'insufficient_user_authentication', reasons: ['multifactor-required'] },
    )
    ofPerson.answer()
    expect(await agent.submit(page, { code: alice.code })).toMatchObject({
      status: 200,
      url: ofPerson.url,
      text: 'at last',
    })
    const told = () => liveAccess(events).filter(({ path }) => path === `/${ofPerson.path}`)
    await expect.poll(() => told().map(({ outcome }) => outcome)).toEqual(['challenged', 'granted'])
    expect(told()[0]).toMatchObject({
      attempts: 1,
      decision: { outcome: 'challenge', reasons: ['multifactor-required'] },
    })
  })

  test('is refused with the reason when nothing would help', async () => {
    const agent = browser()
    await agent.signIn(hosted('mail', 'bytes/10'), alice.name, alice.password)
    const { held, url } = hold()
    const visited = agent.visit(url)
    await held
    await enact({ application: 'mail', grantControls: block })
    expect((await visited).status).toBe(403)
    expect((await visited).text).toContain('A policy does not allow this access.')
  })

  test('is cut off when it may have changed something, and when its answer has begun', async () => {
    const agent = browser()
    await agent.signIn(hosted('mail', 'bytes/10'), alice.name, alice.password)
    const [order, download] = [hold(), hold()]
    const script = { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin' }
    const ordered = agent.request(order.url, { method: 'POST', body: 'one', headers: script })
    const opened = agent.open(download.url, { headers: script })
    await order.held
    ;(await download.held).writeHead(200, { 'content-length': '10' }).write('begun')
    const { status, stream } = await opened
    const broken = once(stream, 'error')
    stream.resume()
    await enact({ application: 'mail' })
    expect(status).toBe(200)
    expect((await broken)[0]).toMatchObject({ code: 'ECONNRESET' })
    expect(JSON.parse((await ordered).text)).toMatchObject({ code: 'session_revoked' })
  })
})

/** One stream through each gateway, which would go on for ever. */
async function openStreams(name: string) {
  const visitor = await signInTo(system, name)
  return Promise.all(
    system.gatewayUrls.map(async gateway => {
      const client = new Client(gateway, visitor)
      onTestFinished(() => client[Symbol.dispose]())
      const path = `/events-${crypto.randomUUID()}`
      const { promise: source, resolve } = Promise.withResolvers<ServerResponse>()
      origin.at(path, (_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        resolve(res)
      })
      const { stream } = await client.open(path, { agent: false })
      const ended = Promise.withResolvers<number>()
      stream.on('error', () => undefined).once('close', () => ended.resolve(performance.now()))
      const atOrigin = await source
      atOrigin.write('data: 1\n\n')
      await once(stream, 'data')
      stream.resume()
      return { stream, ended: ended.promise, send: () => client.send('/bytes/10') }
    }),
  )
}

async function signal(subject: string, body: object): Promise<void> {
  const outside = await system.connect('signals')
  await outside.call(subject, body, {
    reply: SignalReply,
    timeoutMs: 3_000,
    unavailable: 'bus_unavailable',
  })
}

const user = 'alice@sallyport.example'

describe('what changes is in force on every gateway within half a second', () => {
  const changes: [string, Part | undefined, () => Promise<unknown>, () => Promise<unknown>][] = [
    [
      'a policy',
      undefined,
      () => enact({ application: 'mail', grantControls: block }),
      async () => undefined,
    ],
    [
      'the risk of the user',
      { application: 'mail', conditions: { userRiskLevels: ['high'] }, grantControls: block },
      () => signal(subjects.signal('risk', 'user', user), { level: 'high', reasons: ['leaked'] }),
      () => signal(subjects.signal('risk', 'user', user), { level: 'none' }),
    ],
    [
      'a fact',
      {
        application: 'mail',
        conditions: { facts: { includeFacts: [{ name: 'change-freeze' }] } },
        grantControls: block,
      },
      () => signal(subjects.signal('fact', 'everything', '', 'change-freeze'), { value: true }),
      () => signal(subjects.signal('fact', 'everything', '', 'change-freeze'), { value: null }),
    ],
    [
      'the groups of the user',
      {
        application: 'mail',
        conditions: { users: { includeGroups: ['suspended'] } },
        grantControls: block,
      },
      () => signal(subjects.signal('groups', 'user', user), { groups: ['staff', 'suspended'] }),
      () => signal(subjects.signal('groups', 'user', user), { groups: null }),
    ],
  ]

  test.each(changes)('%s', async (_, before, change, undo) => {
    if (before) await enact(before)
    const streams = await openStreams('mail')
    onTestFinished(async () => void (await undo()))
    const changedAt = performance.now()
    await change()
    for (const { ended } of streams) expect((await ended) - changedAt).toBeLessThan(500)
    for (const { send } of streams) expect((await send()).status).toBe(403)
    await undo()
  })

  test('and what does not concern a session leaves its streams alone', async () => {
    const streams = await openStreams('mail')
    await enact({ application: 'vault', grantControls: block })
    await enact({
      application: 'mail',
      conditions: { users: { includeUsers: ['bob@sallyport.example'] } },
      grantControls: block,
    })
    for (const { send, stream } of streams) {
      expect((await send()).status).toBe(200)
      expect(stream.destroyed).toBe(false)
      stream.destroy()
    }
  })
})

const onWrites = { httpMethods: { includeMethods: ['unsafe'] } }

describe('a change freeze', () => {
  const freeze = (value: true | null) =>
    signal(subjects.signal('fact', 'everything', '', 'change-freeze'), { value })
  const within = { timeout: 1_000, interval: 10 }

  test('stops writes to its application on every gateway within a second, and nothing else', async () => {
    const events = await followAudit(system)
    const id = await enact({
      application: 'mail',
      conditions: { facts: { includeFacts: [{ name: 'change-freeze' }] }, ...onWrites },
      grantControls: block,
    })
    onTestFinished(() => freeze(null))
    const visitor = await signInTo(system, 'mail')
    const clients = system.gatewayUrls.map(url => new Client(url, visitor))
    const elsewhere = new Client(system.gatewayUrls[0]!, await signInTo(system, 'vault'))
    for (const client of [...clients, elsewhere]) onTestFinished(() => client[Symbol.dispose]())
    const write = (client: Client, method: string) =>
      client.send('/echo', { method, body: Buffer.from('a change') })
    const writes = () =>
      Promise.all(
        clients.flatMap(client =>
          ['PUT', 'POST'].map(async method => (await write(client, method)).status),
        ),
      )
    const all = (status: number) => Array(2 * clients.length).fill(status)
    expect(await writes()).toEqual(all(200))
    const streams = await openStreams('mail')
    const ws = new WebSocket(`${system.gatewayUrls[2]!.replace('http', 'ws')}/ws`, {
      headers: visitor.headers,
    })
    await once(ws, 'open')
    const closed = once(ws, 'close')
    const { promise: arrived, resolve } = Promise.withResolvers<void>()
    origin.at('/slow-change', req => void req.resume().once('end', resolve))
    const underWay = clients[0]!.send('/slow-change', { method: 'PUT', body: Buffer.from('x') })
    await arrived

    const frozenAt = performance.now()
    await freeze(true)
    await expect.poll(writes, within).toEqual(all(403))
    expect((await closed)[0]).toBe(4403)
    expect((await underWay).json()).toMatchObject({ status: 403, code: 'read_only' })
    expect(performance.now() - frozenAt).toBeLessThan(1_000)

    for (const client of clients) expect((await client.send('/bytes/10')).status).toBe(200)
    for (const { stream } of streams) expect(stream.destroyed).toBe(false)
    expect((await write(elsewhere, 'PUT')).status).toBe(200)
    const refused = await write(clients[1]!, 'PUT')
    expect(refused.json()).toMatchObject({ code: 'read_only', reasons: ['policy-blocks'] })
    const supportId = refused.header('sallyport-request-id') ?? ''
    const told = () => liveAccess(events).find(({ requestId }) => requestId === supportId)
    await expect.poll(told).toMatchObject({
      outcome: 'denied',
      attempts: 0,
      decision: { outcome: 'block', policies: [id], isReadOnly: true },
    })
    const explain = () =>
      administer(system, 'GET', `/auditLogs/explanations/${supportId}`).catch(() => undefined)
    await expect.poll(explain).toMatchObject({
      outcome: 'block',
      request: { method: 'PUT', status: 403, fault: 'read_only' },
      inputs: { httpMethods: 'unsafe', facts: { 'change-freeze': true } },
      smallestChange: ['end the fact change-freeze'],
    })

    await freeze(null)
    await expect.poll(writes, within).toEqual(all(200))
    for (const { stream } of streams) stream.destroy()
  })
})

test('a second factor for writing alone is asked for when somebody writes', async () => {
  await enact({ application: 'mail', conditions: onWrites })
  const agent = browser()
  const form = hosted('mail', 'bytes/10?form')
  await agent.signIn(form, alice.name, alice.password)
  const save = () =>
    agent.request(hosted('mail', 'echo'), {
      method: 'PUT',
      body: 'x',
      headers: { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin' },
    })
  const script = await save()
  expect(script.status).toBe(401)
  expect(script.header('www-authenticate')).toContain('insufficient_user_authentication')
  const headers = { referer: form }
  const sent = await agent.visit(hosted('mail', 'echo'), {
    from: form,
    method: 'POST',
    body: 'subject=hello',
    headers,
  })
  expect(sent.status).toBe(401)
  expect(sent.text).toContain('This needs a sign-in with a second factor.')
  const [, way = ''] = /href="([^"]+\/\.sallyport\/sign-in[^"]*)"/.exec(sent.text) ?? []
  const asked = await agent.visit(way.replaceAll('&amp;', '&'), { from: sent.url })
  const back = await agent.submit(asked, { code: alice.code })
  expect(back).toMatchObject({ status: 200, url: form })
  expect((await save()).status).toBe(200)
})

test('the sessions of a user that are revoked end everywhere, and a new one begins', async () => {
  const events = await followAudit(system)
  const streams = await openStreams('mail')
  await administer(system, 'POST', `/users/${user}/revokeSignInSessions`)
  const revokedAt = performance.now()
  for (const { ended } of streams) expect((await ended) - revokedAt).toBeLessThan(1_000)
  for (const { send } of streams) expect((await send()).status).toBe(401)
  const told = () => events.filter(({ event }) => event.outcome === 'revoked')
  await expect.poll(told).toMatchObject([{ event: { category: 'policy', user } }])
  const cut = () => liveAccess(events).filter(({ fault }) => fault === 'session_revoked')
  await expect.poll(() => cut().map(({ outcome }) => outcome)).toEqual(Array(3).fill('denied'))
  const explained = `/auditLogs/explanations/${cut()[0]?.requestId}`
  await expect
    .poll(() => administer(system, 'GET', explained).catch(() => undefined))
    .toMatchObject({
      outcome: 'denied',
      reasons: [{ reason: 'session_revoked', says: 'Your session has ended.' }],
    })
  await signInTo(system, 'mail')
})

test('a policy that only reports shows in the audit of each request, and has no effect', async () => {
  const events = await followAudit(system)
  const id = await enact({
    application: 'mail',
    grantControls: block,
    state: 'enabledForReportingButNotEnforced',
  })
  const visitor = await signInTo(system, 'mail')
  using client = new Client(system.gatewayUrls[1]!, visitor)
  expect((await client.send('/bytes/10')).status).toBe(200)
  await expect
    .poll(() => liveAccess(events).at(-1)?.decision)
    .toMatchObject({
      outcome: 'grant',
      reportOnly: [{ id, outcome: 'block', reasons: ['policy-blocks'] }],
    })
})

test('what-if says for a described sign-in what the same sign-in gets', async () => {
  await enact({
    application: 'mail',
    conditions: { users: { includeGroups: ['staff'] }, clientAppTypes: ['browser'] },
  })
  const ask = (amr: string[]) =>
    administer(system, 'POST', '/identity/conditionalAccess/evaluate', {
      signInIdentity: {
        '@odata.type': '#microsoft.graph.userSignIn',
        userId: user,
        groups: ['staff'],
      },
      signInContext: {
        '@odata.type': '#microsoft.graph.applicationContext',
        includeApplications: ['mail'],
      },
      signInConditions: { clientAppType: 'browser', ipAddress: '127.0.0.1', amr },
      appliedPoliciesOnly: true,
    })
  expect(await ask(['pwd'])).toMatchObject({
    value: [{ policyApplies: true, analysisReasons: 'notSet', outcome: 'challenge' }],
    decision: { outcome: 'challenge', reasons: ['multifactor-required'] },
  })
  expect(await ask(['mfa'])).toMatchObject({ decision: { outcome: 'grant' } })
})

test('the support id of a refusal is explained, with what would have let the user in', async () => {
  const id = await enact({
    application: 'mail',
    conditions: { userRiskLevels: ['high'] },
    grantControls: block,
  })
  await administer(system, 'POST', '/identityProtection/riskyUsers/confirmCompromised', {
    userIds: [user],
  })
  onTestFinished(async () => {
    await administer(system, 'POST', '/identityProtection/riskyUsers/dismiss', { userIds: [user] })
  })
  const agent = browser()
  const page = await agent.signIn(hosted('mail'), alice.name, alice.password)
  expect(page.status).toBe(403)
  const supportId = page.header('sallyport-request-id') ?? ''
  const path = `/auditLogs/explanations/${supportId}`
  const explain = () => administer(system, 'GET', path).catch(() => undefined)
  await expect.poll(explain).toMatchObject({
    user,
    application: 'mail',
    outcome: 'block',
    reasons: [{ reason: 'policy-blocks', says: 'A policy does not allow this access.' }],
    smallestChange: ['have the risk of the user dismissed'],
    inputs: { userRisk: 'high', clientAppType: 'other' },
    request: { method: 'GET', status: 403, fault: 'access_denied' },
  })
  const explained = z.object({
    policies: z.array(z.object({ id: z.string(), outcome: z.string() })),
  })
  expect(explained.parse(await explain()).policies).toContainEqual({ id, outcome: 'block' })
  const environment = {
    SALLYPORT_ADMIN_URL: system.admin.url,
    SALLYPORT_ADMIN_TOKEN: system.admin.token,
  }
  const { status, stdout } = await runCommand(['explain', supportId], environment)
  expect(status).toBe(0)
  expect(stdout).toContain('would have let it through: have the risk of the user dismissed')
  const unknown = administer(system, 'GET', '/auditLogs/explanations/no-such-id')
  await expect(unknown).rejects.toThrow('no refusal has the support id')
})

test('of whom nobody has signed in yet it is not said that policy had granted anything', async () => {
  const refused = await browser().request(hosted('mail'))
  expect(refused.status).toBe(401)
  const environment = {
    SALLYPORT_ADMIN_URL: system.admin.url,
    SALLYPORT_ADMIN_TOKEN: system.admin.token,
  }
  const supportId = refused.header('sallyport-request-id') ?? ''
  const explain = async () => (await runCommand(['explain', supportId], environment)).stdout
  await expect.poll(explain).toContain('would have let it through: sign in')
  expect(await explain()).toContain('unauthenticated: You are not signed in.')
})

test('the command line imports an export, and asks what would be decided', async () => {
  const environment = {
    SALLYPORT_ADMIN_URL: system.admin.url,
    SALLYPORT_ADMIN_TOKEN: system.admin.token,
  }
  const run = (...args: string[]) => runCommand(args, environment)
  const fixtures = fileURLToPath(new URL('../policy/fixtures/', import.meta.url))
  for (const dryRun of [['--dry-run'], []]) {
    const damaged = await run('policy', 'import', `${fixtures}entra-export.json`, ...dryRun)
    expect(damaged).toMatchObject({ status: 1, stdout: '' })
    expect(damaged.stderr).toMatch(/^sallyport: nothing is imported.*CA002.*no named location/s)
  }
  onTestFinished(async () => {
    for (const { id } of entra.value)
      await administer(system, 'DELETE', `${policies}/${id}`).catch(() => undefined)
  })
  expect(await run('policy', 'import', `${fixtures}entra-locations.json`)).toMatchObject({
    status: 0,
    stdout: 'created named location Head office\ncreated named location Countries with a branch\n',
  })
  const again = await run('policy', 'import', `${fixtures}entra-export.json`)
  expect({ status: again.status, lines: again.stdout.trim().split('\n').length }).toEqual({
    status: 0,
    lines: entra.value.length,
  })
  const asked = [
    '--user',
    'bob@example.com',
    '--app',
    'mail',
    '--ip',
    '203.0.113.9',
    '--country',
    'US',
  ]
  const [first, , last] = entra.value.map(({ id }) => id) as [string, string, string]
  const [switched, deleted] = await Promise.all([
    run('policy', 'set-state', first, 'report-only'),
    run('policy', 'delete', last),
  ])
  expect(switched).toMatchObject({ status: 0, stdout: `policy ${first} is report-only\n` })
  expect(deleted).toMatchObject({ status: 0, stdout: `policy ${last} is deleted\n` })
  const now = z.object({ value: z.array(z.object({ id: z.string(), state: z.string() })) })
  expect(now.parse(await administer(system, 'GET', policies)).value).toContainEqual({
    id: first,
    state: 'enabledForReportingButNotEnforced',
  })
  await expect(administer(system, 'GET', `${policies}/${last}`)).rejects.toThrow('404')
  const told = await run('policy', 'what-if', ...asked, '--client', 'browser', '--amr', 'pwd')
  expect(told.stdout).toMatch(/^challenge\n {2}This needs a sign-in with a second factor\./)
  expect(told.stdout).toContain('CA002')
  const misspelt = { ...entra.value[0], conditions: { ...entra.value[0]?.conditions } }
  Object.assign(misspelt.conditions, { applications: { includeApplications: ['mial', 'mail'] } })
  const file = join(system.dataDirectory, 'misspelt.json')
  await writeFile(file, JSON.stringify(misspelt))
  expect(await run('policy', 'import', file, '--dry-run')).toMatchObject({
    stdout: '1 can be imported\n',
    stderr: expect.stringMatching(/^warning: CA001.* not here: mial\n$/),
  })
  const nothing = await run('policy', 'what-if', '--user', 'bob@example.com', '--app', 'nope')
  expect(nothing).toMatchObject({ status: 1, stdout: '' })
  expect(nothing.stderr).toContain('there is no application "nope"')
})

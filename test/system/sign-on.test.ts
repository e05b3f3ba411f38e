/**
 * Sign-on by headers and by signed assertion through the whole system: two users at once, each known to the application
 * as themselves, by what anybody can verify with the keys that the gateway and the bus publish.
 */

import { once } from 'node:events'
import { Readable } from 'node:stream'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { AssertionKeySet } from '#infra/contracts/assertion.ts'
import { subjects } from '#infra/subjects.ts'
import { administer } from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import { type Echo, type Origin, startOrigin } from '../harness/origin.ts'
import { alice, bob } from '../harness/person.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: Origin
let system: TestSystem
let visitors: Map<string, Visitor>
let clients: Map<string, Client>

const headers = [
  { name: 'X-Remote-User', claim: 'userPrincipalName', transforms: [{ type: 'stripDomain' }] },
  {
    name: 'X-Groups',
    claim: 'groups',
    transforms: [
      { type: 'groupFilter', groups: ['staff', 'ware*'] },
      { type: 'join', separator: ';' },
    ],
  },
]

const settings = {
  singleSignOnMode: 'aadHeaderBased',
  headerSignOnSettings: { headers },
  assertionSignOnSettings: { audience: 'legacy-application' },
}

const configure = (singleSignOnSettings: object) =>
  administer(system, 'PATCH', '/applications/legacy/onPremisesPublishing', { singleSignOnSettings })

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('legacy', origin.url)] })
  await configure(settings)
  visitors = new Map()
  for (const user of [alice, bob]) visitors.set(user, await signInTo(system, 'legacy', user))
  const gateway = system.gatewayUrls[0] as string
  clients = new Map([...visitors].map(([user, visitor]) => [user, new Client(gateway, visitor)]))
})
afterAll(async () => {
  for (const client of clients.values()) client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

/** Request headers as the application sees them. */
async function seenBy(user: string, sent: readonly [string, string][] = []) {
  const answer = await (clients.get(user) as Client).send('/echo', { headers: sent })
  const fields = (answer.json() as unknown as Echo).headers
  return (name: string) => fields.find(([each]) => each === name)?.[1]
}

/** As an application gets it, by the address that users have. */
async function keySet(host = 'legacy') {
  using agent = new UserAgent()
  const address = `http://${host}.sallyport.localhost:${system.port}/.sallyport/jwks.json`
  const answer = await agent.request(address)
  return { answer, set: AssertionKeySet.parse(JSON.parse(answer.text)) }
}

test('headers carry the claims of whoever asks, and no client can say otherwise', async () => {
  const forged: [string, string][] = [
    ['X-Remote-User', 'root'],
    ['x_remote_user', 'root'],
    ['X_Groups', 'root'],
    ['X.Remote.User', 'root'],
    ['Sallyport-Assertion', 'root'],
  ]
  const seen = await seenBy(alice, forged)
  expect(seen('X-Remote-User')).toBe('alice')
  expect(seen('X-Groups')).toBe('staff;warehouse')
  expect(seen('x_remote_user')).toBeUndefined()
  expect(seen('X_Groups')).toBeUndefined()
  expect(seen('X.Remote.User')).toBeUndefined()
  expect((await seenBy(bob))('X-Groups')).toBe('staff')
})

test('nor can a client say otherwise behind its body', async () => {
  const answer = await (clients.get(alice) as Client).send('/echo', {
    headers: [['Trailer', 'X-Remote-User, X_Groups, X-Checksum']],
    body: Readable.from(['body']),
    prepare: request => {
      request.addTrailers([
        ['X-Remote-User', 'root'],
        ['X_Groups', 'root'],
        ['X-Checksum', '1'],
      ])
    },
  })
  expect(answer.json<Echo>().trailers).toEqual([['X-Checksum', '1']])
})

test('an origin that a user signs in to by NTLM takes nobody else for that user', async () => {
  origin.at('/ntlm', (req, res) => {
    const socket = req.socket as typeof req.socket & { user?: string }
    const [, user] = /^NTLM (\w+)/.exec(req.headers.authorization ?? '') ?? []
    if (user) socket.user = user
    res.writeHead(socket.user ? 200 : 401, { 'www-authenticate': 'NTLM' }).end(socket.user)
  })
  const ask = async (user: string, headers: readonly [string, string][] = []) =>
    (await (clients.get(user) as Client).send('/ntlm', { headers })).text
  expect(await ask(bob)).toBe('')
  expect(await ask(alice, [['Authorization', 'NTLM alice']])).toBe('alice')
  expect(await ask(bob)).toBe('')
  expect(await ask(alice)).toBe('alice')
})

test('an assertion verifies with the published keys, for this application and for a minute', async () => {
  const token = (await seenBy(alice))('Sallyport-Assertion') ?? ''
  const { answer, set } = await keySet()
  expect(answer.header('content-type')).toBe('application/jwk-set+json')
  const verify = createLocalJWKSet(set)
  const issuer = `http://legacy.sallyport.localhost:${system.port}/`
  const { payload } = await jwtVerify(token, verify, { issuer, audience: 'legacy-application' })
  expect(payload).toMatchObject({
    preferred_username: alice,
    name: 'Alice Adams',
    groups: expect.arrayContaining(['staff']),
  })
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBeLessThanOrEqual(60)
  expect(answer.text).not.toContain('"d"')
})

test('the keys are the same at the portal and on the bus, and never those of leases', async () => {
  const [atApplication, atPortal] = [await keySet(), await keySet('portal')]
  const auditor = await system.connect('auditor')
  const onBus = await auditor.call(
    subjects.assertionKeysRequest,
    {},
    { reply: AssertionKeySet, timeoutMs: 2_000, unavailable: 'bus_unavailable' },
  )
  const ids = ({ keys }: AssertionKeySet) => keys.map(({ kid }) => kid).toSorted()
  expect(ids(atApplication.set)).toHaveLength(2)
  expect(ids(atPortal.set)).toEqual(ids(atApplication.set))
  expect(ids(onBus)).toEqual(ids(atApplication.set))
  const leaseKeys = system.services.of('policy').map(({ details }) => details.key)
  expect(leaseKeys).toHaveLength(1)
  for (const id of leaseKeys) expect(ids(onBus)).not.toContain(id)
})

test('ES256 is signed for applications that ask for it', async () => {
  await configure({ ...settings, assertionSignOnSettings: { algorithm: 'ES256' } })
  await expect
    .poll(async () => decodeProtectedHeader((await seenBy(bob))('Sallyport-Assertion') ?? ''))
    .toMatchObject({ alg: 'ES256', typ: 'JWT' })
  const token = (await seenBy(bob))('Sallyport-Assertion') ?? ''
  const verify = createLocalJWKSet((await keySet()).set)
  const { payload } = await jwtVerify(token, verify, { audience: 'legacy' })
  expect(payload.preferred_username).toBe(bob)
})

test('1,000 interleaved requests of two users are each the right one', async () => {
  await configure(settings)
  const users = [alice, bob]
  const wrong: unknown[] = []
  let left = 1_000
  const lane = async (lane: number) => {
    while (left-- > 0) {
      const user = users[(left + lane) % 2] as string
      const seen = await seenBy(user)
      const [, payload = ''] = (seen('Sallyport-Assertion') ?? '').split('.')
      const { preferred_username } = JSON.parse(Buffer.from(payload, 'base64url').toString())
      const isRight = seen('X-Remote-User') === user.split('@')[0] && preferred_username === user
      if (!isRight) wrong.push([user, seen('X-Remote-User'), preferred_username])
    }
  }
  await Promise.all(Array.from({ length: 8 }, (_, number) => lane(number)))
  expect(wrong).toEqual([])
})

test('a WebSocket says who opened it', async () => {
  const { headers } = visitors.get(bob) as Visitor
  const url = `${(system.gatewayUrls[0] as string).replace('http', 'ws')}/ws/headers`
  const ws = new WebSocket(url, {
    headers: { ...headers, 'X-Remote-User': 'root' },
    handshakeTimeout: 10_000,
  })
  const [message] = await once(ws, 'message')
  const fields: string[] = JSON.parse(String(message))
  expect(fields[fields.indexOf('X-Remote-User') + 1]).toBe('bob')
  expect(fields).not.toContain('root')
  ws.close()
  await once(ws, 'close')
})

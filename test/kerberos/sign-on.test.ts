/**
 * Kerberos sign-on as a connector does it, to a real application with integrated Windows authentication: fresh tickets,
 * nobody else's, and no word of them to the client.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Application } from '#infra/contracts/application.ts'
import { keytabOf } from '../harness/active-directory.ts'
import { application as made } from '../harness/application.ts'
import { bodyOf, digestOf } from '../harness/bodies.ts'
import { type Domain, realm, spn } from '../harness/domain.ts'
import { openSignedOrigins, type SignedOrigins } from '../harness/signed-origins.ts'

const domain = inject('domain') as Domain
let signed: SignedOrigins

beforeAll(async () => {
  if (!domain) return
  signed = await openSignedOrigins({
    keytabPath: keytabOf(domain.folder, 'svc-connector'),
    realm,
    kdcs: [{ host: '127.0.0.1', port: domain.kdcPort }],
    principal: undefined,
  })
})
afterAll(() => signed?.[Symbol.asyncDispose]())

function application(internalUrl: string, settings: object = {}): Application {
  return made('intranet', 'https://intranet.example/', {
    internalUrl,
    publishing: {
      singleSignOnSettings: {
        singleSignOnMode: 'onPremisesKerberos',
        kerberosSignOnSettings: {
          kerberosServicePrincipalName: spn,
          kerberosSignOnMappingAttributeType: 'userPrincipalUsername',
          ...settings,
        },
      },
    },
  })
}

const intranet = (settings?: object) => application(domain.applicationUrl, settings)
const alice = { userPrincipalName: 'alice@sallyport.example' }
const bob = { userPrincipalName: 'bob@sallyport.example' }

/** An origin of which the test says what it answers to the n-th request. */
async function origin(answer: (n: number, req: IncomingMessage, res: ServerResponse) => void) {
  const tokens: (string | undefined)[] = []
  const server = createServer((req, res) => {
    tokens.push(req.headers.authorization)
    req.resume().once('end', () => answer(tokens.length, req, res))
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    tokens,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

const refuse = (res: ServerResponse) =>
  res.writeHead(401, { 'www-authenticate': 'Negotiate' }).end('who are you?')

describe.skipIf(!domain)('an application with integrated Windows authentication', () => {
  test.each([
    ['userPrincipalUsername', {}, `alice@${realm}`],
    ['userPrincipalName', {}, `alice\\@sallyport.example@${realm}`],
    ['onPremisesSAMAccountName', { onPremisesSamAccountName: ['erin'] }, `erin@${realm}`],
    [
      'onPremisesUserPrincipalUsername',
      { onPremisesUserPrincipalName: ['bob@sallyport.example'] },
      `bob@${realm}`,
    ],
    [
      'onPremisesUserPrincipalName',
      { onPremisesUserPrincipalName: ['bob@sallyport.example'] },
      `bob\\@sallyport.example@${realm}`,
    ],
  ])('knows the user by %s', async (kerberosSignOnMappingAttributeType, claims, user) => {
    const answer = await signed.ask(intranet({ kerberosSignOnMappingAttributeType }), {
      path: '/echo',
      user: { ...alice, claims },
    })
    expect(answer).toMatchObject({ status: 200 })
    expect(answer.header('x-remote-user')).toBe(user)
  })

  test("gets our ticket and never the client's credentials, and the client no challenge", async () => {
    const headers = ['Authorization', 'Basic eDp5', 'AUTHORIZATION', 'Negotiate YII=']
    const answer = await signed.ask(intranet(), { path: '/echo', headers, user: alice })
    const fields: [string, string][] = JSON.parse(answer.text).headers
    const sent = fields.filter(([name]) => name.toLowerCase() === 'authorization')
    expect(sent).toEqual([[expect.any(String), expect.stringMatching(/^Negotiate YII[\w+/]{500}/)]])
    expect(answer.header('www-authenticate')).toBeUndefined()
  })

  test.each(['spnego', 'kerberos'])('takes tickets as %s', async kerberosTokenFormat => {
    const answer = await signed.ask(intranet({ kerberosTokenFormat }), { path: '/echo' })
    expect(answer.status).toBe(200)
  })

  test('gets bodies, small ones and those that stream', async () => {
    const body = bodyOf(200_000)
    const small = body.subarray(0, 1_000)
    const headers = ['Content-Length', '1000']
    const whole = await signed.ask(intranet(), {
      method: 'POST',
      path: '/echo',
      body: small,
      headers,
    })
    expect(JSON.parse(whole.text)).toMatchObject(digestOf(small))
    const streamed = await signed.ask(intranet(), {
      method: 'POST',
      path: '/echo',
      body: Readable.from([body.subarray(0, 90_000), body.subarray(90_000)]),
    })
    expect(JSON.parse(streamed.text)).toMatchObject(digestOf(body))
  })

  test('that proves itself may be required to, and what is open to all proves nothing', async () => {
    const required = intranet({ isMutualAuthenticationRequired: true })
    expect((await signed.ask(required, { path: '/echo' })).status).toBe(200)
    await expect(signed.ask(required, { path: '/open/x' })).rejects.toMatchObject({
      code: 'sign_on_failed',
      message: expect.stringMatching(/^origin_not_genuine: .*404 without a proof.*internal URL/),
    })
    expect((await signed.ask(intranet(), { path: '/open/x' })).status).toBe(404)
  })

  test('takes 1,000 interleaved requests of two users and mixes none up', async () => {
    const app = intranet()
    const users = [alice, bob]
    let left = 1_000
    const wrong: unknown[] = []
    const lane = async (n: number) => {
      while (left-- > 0) {
        const user = users[(n + left) % 2] as typeof alice
        const answer = await signed.ask(app, { path: '/echo', user })
        const [name] = user.userPrincipalName.split('@')
        const seen = answer.header('x-remote-user')
        if (seen !== `${name}@${realm}`) wrong.push([answer.status, name, seen])
      }
    }
    await Promise.all(Array.from({ length: 16 }, (_, n) => lane(n)))
    expect(wrong).toEqual([])
  })
})

describe.skipIf(!domain)('an application that refuses a ticket', () => {
  test.each([
    ['GET', undefined],
    ['POST', Buffer.from('a small body')],
  ])('once gets a fresh one with the same %s request', async (method, body) => {
    await using app = await origin((n, _, res) => (n === 1 ? refuse(res) : res.end('welcome')))
    const headers = body ? ['Content-Length', String(body.length)] : []
    const asked = { method, headers, ...(body && { body }) }
    expect(await signed.ask(application(app.url), asked)).toMatchObject({
      status: 200,
      text: 'welcome',
    })
    expect(new Set(app.tokens).size).toBe(2)
  })

  test('twice is not asked a third time, and the administrator is told what to look at', async () => {
    await using app = await origin((_, __, res) => refuse(res))
    await expect(signed.ask(application(app.url))).rejects.toMatchObject({
      code: 'sign_on_failed',
      isStarted: true,
      message: expect.stringMatching(/^ticket_refused: .*account that has the SPN/),
    })
    expect(app.tokens).toHaveLength(2)
    expect(signed.problems()).toEqual([expect.stringMatching(/^intranet: ticket_refused: /)])
  })

  test('after a body that has streamed is not asked again: the body is gone', async () => {
    await using app = await origin((_, __, res) => refuse(res))
    const body = Readable.from([Buffer.from('once')])
    await expect(signed.ask(application(app.url), { method: 'POST', body })).rejects.toMatchObject({
      code: 'sign_on_failed',
    })
    expect(app.tokens).toHaveLength(1)
  })

  test('may answer 401 for a reason of its own, which the client gets', async () => {
    await using app = await origin((_, __, res) =>
      res.writeHead(401, { 'www-authenticate': 'Bearer realm="api"' }).end('no token'),
    )
    const answer = await signed.ask(application(app.url))
    expect(answer).toMatchObject({ status: 401, text: 'no token' })
    expect(answer.header('www-authenticate')).toBe('Bearer realm="api"')
    expect(app.tokens).toHaveLength(1)
  })
})

describe.skipIf(!domain)('whoever answers in place of the application', () => {
  test('with a proof that is false is found out, and its answer goes nowhere', async () => {
    const proof = Buffer.from('602306092a864886f71201020202006f', 'hex').toString('base64')
    await using app = await origin((_, __, res) =>
      res.writeHead(200, { 'www-authenticate': `Negotiate ${proof}` }).end('give me your data'),
    )
    await expect(signed.ask(application(app.url))).rejects.toMatchObject({
      code: 'sign_on_failed',
      message: expect.stringMatching(/^origin_not_genuine: /),
    })
  })
})

describe.skipIf(!domain)('connections to the application', () => {
  test('are of one user alone, however many requests they carry', async () => {
    const usersOf = new Map<number, Set<string>>()
    await using app = await origin((_, req, res) => {
      const port = req.socket.remotePort ?? 0
      usersOf.set(port, (usersOf.get(port) ?? new Set()).add(String(req.headers['x-who'])))
      res.end('ok')
    })
    const to = application(app.url)
    const asks = Array.from({ length: 60 }, (_, i) => {
      const user = [alice, bob][i % 2] as typeof alice
      return signed.ask(to, { user, headers: ['X-Who', user.userPrincipalName] })
    })
    await Promise.all(asks)
    for (const user of [alice, bob, alice, bob])
      await signed.ask(to, { user, headers: ['X-Who', user.userPrincipalName] })
    expect([...usersOf.values()].filter(users => users.size > 1)).toEqual([])
    expect(usersOf.size).toBeLessThan(64)
  })
})

describe.skipIf(!domain)('what is wrong', () => {
  test.each([
    ['user_unknown', 'nobody@sallyport.example', {}, 'sign_on_failed'],
    ['user_disabled', 'dave@sallyport.example', {}, 'sign_on_failed'],
    ['delegation_denied', 'carol@sallyport.example', {}, 'sign_on_failed'],
    [
      'name_invalid',
      'alice',
      { kerberosSignOnMappingAttributeType: 'onPremisesSAMAccountName' },
      'sign_on_failed',
    ],
    [
      'delegation_denied',
      'alice@sallyport.example',
      { kerberosServicePrincipalName: 'HTTP/other.ad.sallyport.test' },
      'sign_on_failed',
    ],
  ])('is told as %s', async (reason, userPrincipalName, settings, code) => {
    await expect(
      signed.ask(intranet(settings), { path: '/echo', user: { userPrincipalName } }),
    ).rejects.toMatchObject({
      code,
      isStarted: false,
      message: expect.stringMatching(`^${reason}: `),
    })
  })
})

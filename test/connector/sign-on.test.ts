/** Sign-on by headers and by assertion, as a connector does it: what the origin sees, and what it never sees. */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Application } from '#infra/contracts/application.ts'
import { application as made } from '../harness/application.ts'
import { openSignedOrigins, type SignedOrigins } from '../harness/signed-origins.ts'

let signed: SignedOrigins
let url: string
const server = createServer((req, res) => res.end(JSON.stringify(req.rawHeaders)))

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  signed = await openSignedOrigins()
})
afterAll(async () => {
  await signed[Symbol.asyncDispose]()
  server.close()
})

const settings = (singleSignOnSettings: object): Application =>
  made('wiki', 'https://wiki.example/', {
    internalUrl: url,
    publishing: { singleSignOnSettings },
  })

const withHeaders = (...headers: object[]) =>
  settings({ singleSignOnMode: 'aadHeaderBased', headerSignOnSettings: { headers } })

const withAssertion = (assertionSignOnSettings: object = {}) =>
  settings({ singleSignOnMode: 'signedAssertion', assertionSignOnSettings })

async function seen(
  application: Application,
  asked: Parameters<SignedOrigins['ask']>[1] = {},
): Promise<[string, string][]> {
  const { text } = await signed.ask(application, asked)
  const raw: string[] = JSON.parse(text)
  return raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] ?? '']] : []))
}

async function sent(header: object, user: object = {}): Promise<string | undefined> {
  const fields = await seen(withHeaders({ name: 'X-Test', ...header }), { user })
  const value = fields.find(([name]) => name === 'X-Test')?.[1]
  return value === undefined ? undefined : Buffer.from(value, 'latin1').toString()
}

describe('a header', () => {
  const claims = { department: ['Sales'], sizes: ['1', '2'] }

  test.each([
    ['a claim', { claim: 'userPrincipalName' }, 'alice@sallyport.example'],
    ['a further claim', { claim: 'department' }, 'Sales'],
    ['lower case', { claim: 'department', transforms: [{ type: 'lower' }] }, 'sales'],
    [
      'without the domain',
      { claim: 'userPrincipalName', transforms: [{ type: 'stripDomain' }] },
      'alice',
    ],
    ['several values', { claim: 'groups' }, 'staff,app-wiki,app-crm'],
    ['joined otherwise', { claim: 'sizes', transforms: [{ type: 'join', separator: ';' }] }, '1;2'],
    [
      'some groups',
      { claim: 'groups', transforms: [{ type: 'groupFilter', groups: ['app-*'] }] },
      'app-wiki,app-crm',
    ],
    [
      'the part of a pattern',
      { claim: 'groups', transforms: [{ type: 'regex', pattern: '^app-(.*)$' }] },
      'wiki,crm',
    ],
    [
      'a replacement',
      {
        claim: 'userPrincipalName',
        transforms: [{ type: 'regex', pattern: '^(.*)@.*$', replacement: 'CORP\\$1' }],
      },
      'CORP\\alice',
    ],
    [
      'base64 of all of it',
      {
        claim: 'groups',
        transforms: [{ type: 'join', separator: '|' }, { type: 'base64' }],
      },
      Buffer.from('staff|app-wiki|app-crm').toString('base64'),
    ],
  ])('carries %s', async (_, header, value) => {
    expect(await sent(header, { claims })).toBe(value)
  })

  // Whoever may make a group could otherwise be in another one by its name.
  test.each([
    ['left out', { type: 'regex', pattern: '^[^,]+$' }, 'staff'],
    ['encoded', { type: 'base64' }, 'c3RhZmY=,eCxhZG1pbnM='],
    ['joined by another text', { type: 'join', separator: ';' }, 'staff;x,admins'],
  ])('does not make two groups of one with a comma that is %s', async (_, transform, value) => {
    const header = { claim: 'groups', transforms: [transform] }
    expect(await sent(header, { groups: ['staff', 'x,admins'] })).toBe(value)
  })

  test('carries names of people as UTF-8', async () => {
    expect(await sent({ claim: 'displayName' }, { displayName: 'Jörg Łoś' })).toBe('Jörg Łoś')
  })

  test.each([
    ['the user has no such claim', { claim: 'mail' }],
    [
      'nothing passes the filter',
      { claim: 'groups', transforms: [{ type: 'groupFilter', groups: ['x'] }] },
    ],
    ['the name is one of JavaScript', { claim: 'constructor' }],
  ])('is left out when %s', async (_, header) => {
    expect(await sent(header)).toBeUndefined()
  })

  test('that the client sends under the same name is gone, in every spelling', async () => {
    const names = ['X-Remote-User', 'x_remote_user', 'X-REMOTE_USER', 'x-Remote_User']
    const application = withHeaders({ name: 'X-Remote-User', claim: 'mail' })
    const fields = await seen(application, { headers: names.flatMap(name => [name, 'admin']) })
    expect(JSON.stringify(fields)).not.toContain('admin')
  })

  test.each([
    ['a line break in a claim', { claim: 'displayName' }, { displayName: 'Alice\r\nX-Admin: 1' }],
    [
      'more than an application takes',
      { claim: 'groups' },
      { groups: Array(200).fill('g'.repeat(200)) },
    ],
    [
      'a pattern that never ends',
      { claim: 'displayName', transforms: [{ type: 'regex', pattern: '^(a+)+$' }] },
      { displayName: `${'a'.repeat(40)}!` },
    ],
  ])('is not sent, nor is the request, for %s', async (_, header, user) => {
    await expect(sent(header, user)).rejects.toMatchObject({
      code: 'sign_on_failed',
      isStarted: false,
      message: expect.stringMatching(/^claim_unusable: /),
    })
  })
})

describe('an assertion', () => {
  test('is what policy has put into the lease, under the name that is set', async () => {
    const claims = { assertion: 'aaa.bbb.ccc' }
    const spoofed = ['sallyport_assertion', 'x.y.z', 'X-Jwt', 'x.y.z']
    const usual = await seen(withAssertion(), { claims, headers: spoofed })
    expect(usual).toContainEqual(['Sallyport-Assertion', 'aaa.bbb.ccc'])
    expect(JSON.stringify(usual)).toContain('X-Jwt')
    const named = await seen(withAssertion({ headerName: 'X-Jwt' }), { claims, headers: spoofed })
    expect(named.filter(([name]) => name === 'X-Jwt')).toEqual([['X-Jwt', 'aaa.bbb.ccc']])
  })

  test('that is not there keeps the request from the application', async () => {
    await expect(signed.ask(withAssertion())).rejects.toMatchObject({
      code: 'sign_on_failed',
      message: expect.stringMatching(/^assertion_missing: /),
    })
  })

  test('and headers go along with each other', async () => {
    const application = settings({
      singleSignOnMode: 'aadHeaderBased',
      headerSignOnSettings: { headers: [{ name: 'X-User', claim: 'displayName' }] },
      assertionSignOnSettings: {},
    })
    const fields = await seen(application, { claims: { assertion: 'a.b.c' } })
    expect(fields).toContainEqual(['X-User', 'Alice Adams'])
    expect(fields).toContainEqual(['Sallyport-Assertion', 'a.b.c'])
  })
})

describe('nobody is signed on', () => {
  test('without a user: the request goes nowhere', async () => {
    const application = withHeaders({ name: 'X-User', claim: 'displayName' })
    await expect(signed.ask(application, { claims: { user: null } })).rejects.toMatchObject({
      code: 'sign_on_failed',
    })
  })

  test('by Kerberos where the connector has no keytab: another connector may have one', async () => {
    const application = settings({
      singleSignOnMode: 'onPremisesKerberos',
      kerberosSignOnSettings: { kerberosServicePrincipalName: 'HTTP/wiki.example' },
    })
    await expect(signed.ask(application)).rejects.toMatchObject({
      code: 'sign_on_unavailable',
      isStarted: false,
      message: expect.stringMatching(/^not_configured: .*SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH/),
    })
    expect(signed.problems().join()).toContain('wiki: not_configured')
  })

  test('when the mode is none: the client keeps what it sent', async () => {
    const fields = await seen(settings({ singleSignOnMode: 'none' }), {
      headers: ['Authorization', 'Basic eDp5'],
    })
    expect(fields).toContainEqual(['Authorization', 'Basic eDp5'])
  })
})

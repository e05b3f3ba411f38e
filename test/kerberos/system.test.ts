/**
 * Kerberos sign-on through the whole system: a user signs in at the gateway, and an application with integrated Windows
 * authentication in the private network knows them. What goes wrong there is told to administrators, by name; users see
 * a page that names nothing.
 */

import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { WebSocket } from 'ws'
import { keytabOf, setDisabled } from '../harness/active-directory.ts'
import { administer, readConnector } from '../harness/admin.ts'
import { accessEvents, readAudit, readAuditTexts } from '../harness/audit-trail.ts'
import { Client, type Whole } from '../harness/client.ts'
import { type Domain, realm, spn } from '../harness/domain.ts'
import { type KdcLine, startKdcLine } from '../harness/kdc-line.ts'
import type { Echo } from '../harness/origin.ts'
import { alice, bob } from '../harness/person.ts'
import { runProgram } from '../harness/programs.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

const domain = inject('domain') as Domain
const carol = 'carol@sallyport.example'

let system: TestSystem
let line: KdcLine
const clients = new Map<string, Client>()

const kerberos = (servicePrincipalName: string) => ({
  singleSignOnMode: 'onPremisesKerberos',
  kerberosSignOnSettings: {
    kerberosServicePrincipalName: servicePrincipalName,
    kerberosSignOnMappingAttributeType: 'userPrincipalUsername',
  },
})

const environment = (keytab: string, port: number) => ({
  SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH: keytab,
  SALLYPORT_CONNECTOR_KERBEROS_REALM: realm.toLowerCase(),
  SALLYPORT_CONNECTOR_KERBEROS_KDCS: `127.0.0.1:${port}`,
})

beforeAll(async () => {
  if (!domain) return
  line = await startKdcLine(domain.kdcPort)
  const keytab = keytabOf(domain.folder, 'svc-connector')
  system = await startSystem({
    environment: environment(keytab, line.port),
    publish: ['intranet', 'other'].map(name => signedInApplication(name, domain.applicationUrl)),
  })
  const targets = { intranet: spn, other: 'HTTP/other.ad.sallyport.test' }
  for (const [name, target] of Object.entries(targets))
    await administer(system, 'PATCH', `/applications/${name}/onPremisesPublishing`, {
      singleSignOnSettings: kerberos(target),
    })
})
afterAll(async () => {
  for (const client of clients.values()) client[Symbol.dispose]()
  await system?.[Symbol.asyncDispose]()
  await line?.[Symbol.asyncDispose]()
})

async function clientOf(user: string, application = 'intranet'): Promise<Client> {
  const key = `${user} ${application}`
  const known = clients.get(key)
  if (known) return known
  const visitor = await signInTo(system, application, user).catch(() => undefined)
  if (!visitor) throw new Error(`${user} cannot sign in to ${application}`)
  const client = new Client(system.gatewayUrls[0] as string, visitor)
  clients.set(key, client)
  return client
}

async function ask(user: string, path = '/echo', application = 'intranet'): Promise<Whole> {
  return (await clientOf(user, application)).send(path)
}

/** The audit event of an answer that Sallyport gave itself. */
async function eventOf(answer: Whole) {
  const id = answer.header('sallyport-request-id')
  const auditor = await system.connect('auditor')
  await expect
    .poll(async () => accessEvents(await readAudit(auditor)).map(event => event.requestId))
    .toContain(id)
  return accessEvents(await readAudit(auditor)).find(event => event.requestId === id)
}

const knownAs = (answer: Whole) => answer.header('x-remote-user')

describe.skipIf(!domain)('Kerberos sign-on', () => {
  test('works for a user as soon as the directory has them enabled, and names them until then', async () => {
    await setDisabled(domain.folder, realm, 'bob', true)
    const refused = await ask(bob)
    expect(refused.status).toBe(502)
    expect(await eventOf(refused)).toMatchObject({
      user: bob,
      fault: 'sign_on_failed',
      faultDetail: expect.stringMatching(/^user_disabled: .*disabled, locked or expired/),
    })
    await setDisabled(domain.folder, realm, 'bob', false)
    const answer = await ask(bob)
    expect([answer.status, knownAs(answer)]).toEqual([200, `bob@${realm}`])
  })

  test('mixes up nobody in 1,000 interleaved requests of two users', async () => {
    const users = [alice, bob]
    for (const user of users) await clientOf(user)
    const wrong: unknown[] = []
    let left = 1_000
    const lane = async (lane: number) => {
      while (left-- > 0) {
        const user = users[(left + lane) % 2] as string
        const answer = await ask(user)
        const expected = `${user.split('@')[0]}@${realm}`
        if (answer.status !== 200 || knownAs(answer) !== expected)
          wrong.push([user, answer.status, knownAs(answer)])
      }
    }
    await Promise.all(Array.from({ length: 16 }, (_, number) => lane(number)))
    expect(wrong).toEqual([])
  })

  test('carries bodies, and lets neither the client sign on nor the application ask it to', async () => {
    const client = await clientOf(alice)
    const headers = [['Authorization', 'Negotiate YIIforged']] as const
    const answer = await client.send('/echo', {
      method: 'POST',
      body: Buffer.from('hello'),
      headers,
    })
    const { bytes, headers: seen } = answer.json() as unknown as Echo
    expect(bytes).toBe(5)
    expect(JSON.stringify(seen)).not.toContain('forged')
    expect(answer.all('www-authenticate')).toEqual([])
  })

  test('also signs on WebSockets, each as its user', async () => {
    for (const user of [alice, bob]) {
      const { headers } = await signInTo(system, 'intranet', user)
      const url = `${(system.gatewayUrls[0] as string).replace('http', 'ws')}/ws/headers`
      const ws = new WebSocket(url, { headers: { ...headers }, handshakeTimeout: 10_000 })
      const [message] = await once(ws, 'message')
      const fields: string[] = JSON.parse(String(message))
      const at = fields.findIndex(name => name.toLowerCase() === 'x-remote-user')
      expect(fields[at + 1]).toBe(`${user.split('@')[0]}@${realm}`)
      ws.close()
      await once(ws, 'close')
    }
  })
})

describe.skipIf(!domain)('what is wrong stands in the audit event, and on no page', () => {
  const secret = /delegat|kerberos|ticket|kdc|spn|keytab|svc-/i

  test('an application that the account may not sign users on to', async () => {
    const client = await clientOf(alice, 'other')
    const refused = await client.send('/echo', { headers: [['Accept', 'text/html']] })
    expect(refused.status).toBe(502)
    expect(refused.text).toContain(refused.header('sallyport-request-id'))
    expect(refused.text).not.toMatch(secret)
    expect(await eventOf(refused)).toMatchObject({
      fault: 'sign_on_failed',
      faultDetail: expect.stringMatching(/^delegation_denied: .*msDS-AllowedToDelegateTo/),
    })
    await expect
      .poll(async () => (await readConnector(system, 'connector-1')).problems.join('\n'))
      .toMatch(/^other: delegation_denied: /m)
    expect(await system.logs()).toMatch(/"reason":"delegation_denied"/)
  })

  test('sallyport doctor names it too, and who gets through', async () => {
    const doctor = (...words: string[]) =>
      runProgram(process.execPath, ['sallyport.ts', 'doctor', ...words], {
        environment: {
          SALLYPORT_ADMIN_URL: system.admin.url,
          SALLYPORT_ADMIN_TOKEN: system.admin.token,
        },
      })
    const good = await doctor('intranet', '--user', alice)
    expect(good.output).toMatch(/ok +sign-on +onPremisesKerberos for alice@sallyport\.example/)
    expect(good.code).toBe(0)
    const bad = await doctor('other', '--user', alice)
    expect(bad.output).toMatch(/FAILED +sign-on +delegation_denied: /)
    expect(bad.output).toContain('msDS-AllowedToDelegateTo')
    expect(bad.code).toBe(1)
  })

  test('a user who may not be delegated', async () => {
    const refused = await ask(carol)
    expect(await eventOf(refused)).toMatchObject({
      faultDetail: expect.stringMatching(/^delegation_denied: .*sensitive/),
    })
  })

  test('no KDC: users with tickets go on, others wait until it is back', async () => {
    expect((await ask(alice)).status).toBe(200)
    await line.cut()
    const refused = await ask(alice, '/echo', 'other')
    expect(refused.status).toBe(504)
    expect(refused.text).not.toMatch(secret)
    expect(await eventOf(refused)).toMatchObject({
      fault: 'sign_on_unavailable',
      faultDetail: expect.stringMatching(/^kdc_unreachable: .*TCP port 88/),
    })
    expect((await ask(alice)).status).toBe(200)
    await line.mend()
    await expect.poll(async () => (await ask(alice, '/echo', 'other')).status).toBe(502)
    expect((await ask(alice)).status).toBe(200)
  })

  test('a keytab of an older password: told at the start, and another connector answers', async () => {
    const keytab = await readFile(keytabOf(domain.folder, 'svc-connector'))
    for (let at = 40; at < keytab.length - 5; at++)
      if (keytab[at] === 0x12 && keytab[at + 2] === 0x20) keytab[at + 5]! ^= 0xff
    const older = join(domain.folder, 'older-system.keytab')
    await writeFile(older, keytab, { mode: 0o600 })
    const second = await system.add('connector', environment(older, domain.kdcPort))
    await expect
      .poll(async () => (await readConnector(system, second.name)).problems.join('\n'))
      .toMatch(/^Kerberos: connector_key_rejected: .*Export the keytab again/m)
    const answers = await Promise.all(Array.from({ length: 60 }, () => ask(alice)))
    expect(answers.map(({ status }) => status)).toEqual(Array(60).fill(200))
    await system.stop(system.services.of('connector')[0]!)
    const refused = await ask(alice)
    expect(refused.status).toBe(504)
    expect(await eventOf(refused)).toMatchObject({
      faultDetail: expect.stringMatching(/^connector_key_rejected: /),
    })
    await system.add('connector')
    await expect.poll(async () => (await ask(alice)).status).toBe(200)
  })
})

/** Keys of a keytab: AES-256 and AES-128 (encryption types 18 and 17), 32 and 16 octets. */
function keysOf(keytab: Buffer): Buffer[] {
  const keys: Buffer[] = []
  for (const [type, length] of [
    [18, 32],
    [17, 16],
  ] as const) {
    const before = Buffer.from([0, type, 0, length])
    for (let at = keytab.indexOf(before); at >= 0; at = keytab.indexOf(before, at + 1))
      keys.push(keytab.subarray(at + 4, at + 4 + length))
  }
  return keys
}

async function filesBelow(folder: string): Promise<Buffer[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile())
  return Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name))))
}

test.skipIf(!domain)('keys and tickets are nowhere in buckets, logs and audit', async () => {
  const keytab = await readFile(keytabOf(domain.folder, 'svc-connector'))
  const tokens = await Promise.all(
    Array.from({ length: 5 }, async () => {
      const { headers } = (await ask(bob)).json() as unknown as Echo
      const [, value = ''] = headers.find(([name]) => name === 'Authorization') ?? []
      return Buffer.from(value.replace('Negotiate ', ''), 'base64')
    }),
  )
  expect(tokens.map(token => token.length > 1_000)).not.toContain(false)
  // What is alike in all tokens is the envelope; the ticket itself is in the middle.
  const tickets = tokens.map(token => token.subarray(300, 360))
  const keys = keysOf(keytab)
  expect(keys.length).toBeGreaterThanOrEqual(2)
  const auditor = await system.connect('auditor')
  const haystack = [
    ...(await filesBelow(system.dataDirectory)),
    Buffer.from(await system.logs()),
    Buffer.from((await readAuditTexts(auditor)).join('\n')),
  ]
  const has = (needle: Buffer | string) => haystack.some(file => file.includes(needle))
  // So that the search is known to find what is there.
  expect(has('bob@sallyport.example')).toBe(true)
  expect(has('sign_on_failed')).toBe(true)
  for (const secret of [...keys, ...tickets]) {
    const spellings = [secret, secret.toString('hex'), secret.toString('base64').slice(4, -4)]
    expect(spellings.filter(has)).toEqual([])
  }
})

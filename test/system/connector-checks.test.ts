/**
 * What a connector sees to by itself, whatever the rest of the system says: the owner of its site, who its origins are
 * and where they stand, and whether it was the registry that told it of them.
 */

import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { freePort } from '#infra/embedded/ports.ts'
import { subjects } from '#infra/subjects.ts'
import { administer, readConnector } from '../harness/admin.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { Client } from '../harness/client.ts'
import { followAudit, type LiveEvent, liveAccess } from '../harness/live-audit.ts'
import { resolving } from '../harness/name-resolution.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

const folder = await mkdtemp(join(tmpdir(), 'sallyport-checks-'))
const vetoPath = join(folder, 'veto.json')
let origin: Origin
let certificate: TestCertificate
let secure: Server
let system: TestSystem
let visitor: Visitor
let client: Client
let audit: readonly LiveEvent[]

beforeAll(async () => {
  await veto()
  origin = await startOrigin()
  certificate = await createCertificate(['DNS:wiki.internal'])
  secure = createServer(certificate, (_req, res) => res.end('over TLS')).listen(0, '127.0.0.1')
  await once(secure, 'listening')
  system = await startSystem({
    publish: [signedInApplication('app', origin.url)],
    environment: {
      SALLYPORT_CONNECTOR_VETO_PATH: vetoPath,
      ...resolving({ 'rebound.internal': '169.254.169.254' }),
    },
  })
  visitor = await signInTo(system, 'app')
  client = new Client(system.gatewayUrls[0] as string, visitor)
  audit = await followAudit(system)
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  secure.close().closeAllConnections()
  await certificate[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})
beforeEach(() => veto())

/** The rules of the site's owner from now on. */
const veto = (...rules: object[]) => writeFile(vetoPath, JSON.stringify({ rules }))
const status = async (path: string, method = 'GET') => (await client.send(path, { method })).status
const recorded = (path: string) => liveAccess(audit).findLast(event => event.path === path)
const connector = () => readConnector(system, 'connector-1')

const publish = (id: string, internalUrl: string, more: object = {}) =>
  administer(system, 'POST', '/applications', {
    id,
    displayName: id,
    appRoleAssignmentRequired: false,
    onPremisesPublishing: {
      externalUrl: `http://app.sallyport.localhost:${system.port}/${id}/`,
      internalUrl,
      ...more,
    },
  })

describe("the site owner's veto", () => {
  test('refuses what policy has granted before the application hears of it, and audit has both', async () => {
    await veto(
      { name: 'no admin', effect: 'deny', paths: ['/admin'] },
      { name: 'look only', effect: 'readOnly', users: [visitor.user] },
    )
    await expect.poll(() => status('/admin/users')).toBe(403)
    expect(origin.latest('/admin')).toBeUndefined()
    const refused = await client.send('/echo', { method: 'POST', body: Buffer.from('x') })
    expect(refused.status).toBe(403)
    expect(refused.json()).toMatchObject({ code: 'site_veto' })
    expect(refused.text).not.toContain('look only')
    expect(await status('/bytes/1')).toBe(200)
    await expect
      .poll(() => recorded('/echo'))
      .toMatchObject({
        outcome: 'denied',
        status: 403,
        fault: 'site_veto',
        faultDetail: 'the site owner\'s rule "look only"',
        decision: { outcome: 'grant' },
        connector: 'connector-1',
      })
  })

  test('refuses what COPY and MOVE would put into a place that it keeps closed', async () => {
    await veto({ name: 'no admin', effect: 'deny', paths: ['/admin'] })
    const copy = async (to: string) =>
      (await client.send('/file', { method: 'COPY', headers: [['Destination', to]] })).status
    const places = [`${origin.url}/admin/users`, `${visitor.url}ADMIN%2Fusers`, '/elsewhere']
    await expect.poll(() => Promise.all(places.map(copy))).toEqual([403, 403, 404])
  })

  test('tells people who has decided', async () => {
    await veto({ name: 'closed', effect: 'deny' })
    await expect.poll(() => status('/')).toBe(403)
    const page = await client.send('/', { headers: [['accept', 'text/html']] })
    expect(page.header('content-type')).toContain('text/html')
    expect(page.text).toContain('The owner of the site does not allow this.')
  })

  test('is not lifted by an administrator', async () => {
    await veto({ name: 'closed', effect: 'deny', applications: ['app'] })
    const externalAuthenticationType = 'passthru'
    const path = '/applications/app/onPremisesPublishing'
    await administer(system, 'PATCH', path, { externalAuthenticationType })
    const anybody = new Client(client.gateway.href, {
      headers: { host: visitor.headers.host as string },
    })
    await expect.poll(async () => (await anybody.send('/bytes/1')).json().code).toBe('site_veto')
    anybody[Symbol.dispose]()
    await administer(system, 'PATCH', path, { externalAuthenticationType: 'aadPreAuthentication' })
  })

  test('ends an open WebSocket when a rule begins to apply', async () => {
    await expect.poll(() => status('/bytes/1')).toBe(200)
    const ws = new WebSocket(`${client.gateway.href.replace('http', 'ws')}ws`, {
      headers: visitor.headers,
    })
    await once(ws, 'open')
    await veto({ name: 'look only', effect: 'readOnly' })
    const [code] = await once(ws, 'close')
    expect(code).toBe(4403)
    await expect.poll(() => origin.upgraded).toBe(0)
    await expect.poll(() => recorded('/ws')).toMatchObject({ fault: 'site_veto' })
  })

  test('refuses everything when its file is damaged, which the connector says', async () => {
    await writeFile(vetoPath, '{"rules": [')
    await expect.poll(() => status('/bytes/1')).toBe(403)
    await expect
      .poll(async () => (await connector()).problems)
      .toEqual([expect.stringContaining('veto file cannot be used')])
    await veto()
    await expect.poll(() => status('/bytes/1')).toBe(200)
  })
})

describe('an origin that is not who it should be', () => {
  const pin = 'ab'.repeat(32)

  test('is told to operators in full, and to users not at all', async () => {
    const internalUrl = `https://localhost:${(secure.address() as AddressInfo).port}/`
    const originCertificateAuthorities = certificate.cert
    await publish('tls', internalUrl, {
      originCertificateAuthorities,
      originCertificatePins: [pin],
    })
    const code = async () => (await client.send('/tls/x')).json().code
    await expect.poll(code).toBe('origin_certificate_invalid')
    expect((await client.send('/tls/x')).text).not.toMatch(/wiki\.internal|name|localhost:/)
    await expect
      .poll(() => recorded('/tls/x'))
      .toMatchObject({
        fault: 'origin_tls_wrong_name',
        faultDetail: expect.stringContaining('wiki.internal'),
      })
    await expect
      .poll(async () => (await connector()).notReady)
      .toEqual([{ applicationId: 'tls', reason: expect.stringContaining('wiki.internal') }])
    const publishing = '/applications/tls/onPremisesPublishing'
    await administer(system, 'PATCH', publishing, { originServerName: 'wiki.internal' })
    await expect
      .poll(() => code().then(() => recorded('/tls/x')?.fault))
      .toBe('origin_tls_wrong_pin')
    expect(recorded('/tls/x')?.faultDetail).toContain(pin)
    await administer(system, 'PATCH', publishing, { originCertificatePins: null })
    await expect.poll(async () => (await client.send('/tls/x')).text).toBe('over TLS')
    await expect.poll(async () => (await connector()).notReady).toEqual([])
  })
})

describe('an origin that does not answer', () => {
  test('is not looked for any more once no application leads there', async () => {
    const port = await freePort()
    await publish('corrected', `http://127.0.0.1:${port}/`)
    const code = async () => (await client.send('/corrected/bytes/1')).json().code
    await expect.poll(code).toBe('origin_unreachable')
    await administer(system, 'PATCH', '/applications/corrected/onPremisesPublishing', {
      internalUrl: origin.url,
    })
    await expect.poll(async () => (await client.send('/corrected/bytes/1')).status).toBe(200)
    let looked = 0
    const later = createTcpServer(socket => {
      looked++
      socket.destroy()
    })
    await once(later.listen(port, '127.0.0.1'), 'listening')
    await sleep(1_500)
    later.close()
    expect(looked).toBe(0)
  })
})

describe('an internal URL that leads where no application is', () => {
  test('is refused when it is entered', async () => {
    await expect(publish('metadata', 'http://169.254.169.254/latest/')).rejects.toThrow(
      'cloud metadata',
    )
  })

  test('is refused by the connector when only a name leads there', async () => {
    await publish('rebound', 'http://rebound.internal/')
    const code = async () => (await client.send('/rebound/x')).json().code
    await expect.poll(code).toBe('connector_refused')
    await expect
      .poll(() => recorded('/rebound/x'))
      .toMatchObject({
        fault: 'origin_address_refused',
        faultDetail: expect.stringContaining('169.254.169.254'),
      })
  })
})

test('a list that the registry has not signed changes nothing, and the connector says so', async () => {
  const bus = await system.connect('registry')
  const removed = ['app']
  const said = { kind: 'changes', since: 0, version: 1_000_000, changed: [], removed }
  bus.publishJson(subjects.applicationsOf('default'), { group: 'default', said })
  await expect
    .poll(async () => (await connector()).problems)
    .toEqual([expect.stringContaining('not signed')])
  expect(await status('/bytes/1')).toBe(200)
})

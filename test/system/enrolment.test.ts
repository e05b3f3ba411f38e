/**
 * A connector host from nothing: a token from the command line, enrolment, a certificate over the real bus with TLS, and
 * what becomes of both later. Everything runs as the commands that an operator would type.
 */

import { spawnSync } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Authority, keepAuthority } from '#infra/authority.ts'
import { pinOf } from '#infra/certificates.ts'
import { createTokenKey, decodeToken, encodeToken } from '#infra/connector-token.ts'
import { Connector } from '#infra/contracts/connector.ts'
import { tokenPrefix } from '#infra/contracts/enrolment.ts'
import { exitConfiguration, exitRemoved } from '#infra/lifecycle.ts'
import { createLogger } from '#infra/log.ts'
import { createConnectorCertificate } from '#infra/pki.ts'
import { buckets } from '#infra/subjects.ts'
import { IdentityFolder } from '../../connector/identity/folder.ts'
import { openStore } from '../../registry/store.ts'
import { administer, createGroup, moveToGroup, removeConnector } from '../harness/admin.ts'
import { readAudit } from '../harness/audit-trail.ts'
import { runCommand } from '../harness/commands.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { drive, failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'
import { runCommand as runClient } from '../registry/cli.ts'

const connectorsPath = '/onPremisesPublishingProfiles/applicationProxy/connectors'
const dayMs = 86_400_000

let origin: CountingOrigin
let system: TestSystem
let authority: Authority
let visitor: Visitor
let folder: string

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({ connectors: 0, publish: [signedInApplication('wiki', origin.url)] })
  await createGroup(system, 'paris')
  await moveToGroup(system, 'wiki', 'paris')
  visitor = await signInTo(system, 'wiki')
  authority = await keepAuthority(system.parts.authority)
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})
beforeEach(async () => {
  const own = await mkdtemp(join(tmpdir(), 'sallyport-host-'))
  folder = own
  return () => rm(own, { recursive: true, force: true })
})

const administrator = () => ({
  SALLYPORT_ADMIN_URL: system.admin.url,
  SALLYPORT_ADMIN_TOKEN: system.admin.token,
})

/** As an administrator types it: what it prints is the token alone, with a line break at the end. */
async function connectorToken(...words: string[]): Promise<string> {
  const run = await runClient(['connector-token', '--group', 'paris', ...words], administrator())
  expect(run.status, run.stderr).toBe(0)
  return run.stdout
}

const identity = () => new IdentityFolder(join(folder, 'identity'))

/** The host knows nothing but where its identity stands. */
function connector(words: readonly string[], environment: Record<string, string> = {}) {
  return runCommand(['connector', ...words], {
    SALLYPORT_CONNECTOR_IDENTITY_PATH: join(folder, 'identity'),
    SALLYPORT_CONNECTOR_DRAIN_SECONDS: '1',
    ...environment,
  })
}

async function tokenFile(token: string): Promise<string> {
  const path = join(folder, 'token')
  await writeFile(path, token)
  return path
}

async function serves(): Promise<void> {
  const replies = await drive({
    gateways: () => system.gatewayUrls,
    headers: visitor.headers,
    count: 10,
    request: () => ({ method: 'GET', path: '/' }),
  })
  expect(failures(replies)).toEqual([])
}

async function eventOf(connectorId: string): Promise<unknown> {
  const bus = await system.connect('auditor')
  const events = await readAudit(bus)
  return events.find(event => event.category === 'connector' && event.connector === connectorId)
}

test('a configuration that cannot be used is refused before the token is used', async () => {
  const words = ['--enroll-with-token-from', await tokenFile(await connectorToken())]
  const careless = connector(words, {
    SALLYPORT_CONNECTOR_WORKERS: 'many',
    SALLYPORT_CONNECTOR_VETO_PAHT: '/etc/veto.json',
  })
  expect(await careless.exited).toBe(exitConfiguration)
  expect(careless.errors).toContain('did you mean SALLYPORT_CONNECTOR_VETO_PATH?')
  expect(careless.errors).toMatch(
    /SALLYPORT_CONNECTOR_WORKERS: must be .*auto\nThe token was not used/,
  )
  const elsewhere = connector(words, { SALLYPORT_BUS_URL_FILE: '/run/secrets/bus-url' })
  expect(await elsewhere.exited).toBe(exitConfiguration)
  expect(elsewhere.errors).toMatch(/SALLYPORT_BUS_URL_FILE .* so the token was not used/)
  const astray = connector(words, { SALLYPORT_CONNECTOR_GROUP: 'lyon' })
  expect(await astray.exited).toBe(exitConfiguration)
  expect(astray.errors).toMatch(/_GROUP: is lyon, and the token is for the group paris; leave/)
  expect(await identity().read()).toBeUndefined()
})

test('a host is enrolled with a token out of a file, serves, and needs no second token', async () => {
  const text = await connectorToken()
  expect(text).toMatch(/^sallyport-connector-[\w-]+\n$/)
  const words = ['--enroll-with-token-from', await tokenFile(text)]
  const first = connector(words, { SALLYPORT_CONNECTOR_ID: 'paris-host' })
  expect(await first.ready).toMatchObject({ connectorId: 'paris-host', group: 'paris' })
  await serves()
  for (const name of await readdir(identity().path)) {
    const path = join(identity().path, name)
    expect((await stat(path)).mode & 0o777, name).toBe(0o600)
    const content = await readFile(path, 'utf8')
    expect(content).not.toContain(system.admin.token)
    expect(content).not.toContain(tokenPrefix)
  }
  first.process.kill('SIGTERM')
  expect(await first.exited).toBe(0)
  // The option may stand in a service's unit for good, also when the file is long gone.
  await rm(join(folder, 'token'))
  const second = connector(words)
  expect(await second.ready).toMatchObject({ connectorId: 'paris-host', group: 'paris' })
  await serves()
  expect(first.errors + second.errors).not.toContain(text.trim())
})

test('a token may come by the environment, and several workers are enrolled once', async () => {
  const command = connector(['--enroll-with-token-from', 'env'], {
    SALLYPORT_CONNECTOR_TOKEN: await connectorToken(),
    SALLYPORT_CONNECTOR_WORKERS: '2',
  })
  expect(await command.ready).toMatchObject({ group: 'paris', workers: 2 })
  await serves()
})

test('a token that may not be used is refused with its reason and a status that is not zero, and that is audited', async () => {
  const used = await connectorToken()
  const expired = await connectorToken('--lifetime', '1s')
  const good = decodeToken(await connectorToken())
  const first = connector(['--enroll-with-token-from', await tokenFile(used)])
  await first.ready
  const { exp } = decodeToken(expired)
  await expect.poll(() => Date.now() / 1_000 > exp, { timeout: 5_000 }).toBe(true)
  const refused: [id: string, token: string, said: string, reason?: string][] = [
    ['used', used, 'The token has been used already.', 'token_used'],
    ['expired', expired, 'The token has expired.', 'token_expired'],
    [
      'foreign',
      encodeToken({ ...good, id: 'A'.repeat(22) }),
      'not made by this installation',
      'token_unknown',
    ],
    [
      'forged',
      encodeToken({ ...good, key: createTokenKey().seed }),
      'The token is damaged or forged.',
      'token_invalid',
    ],
    ['damaged', `${encodeToken(good)}x`, 'The token is damaged or forged.'],
    ['empty', '\n', 'is empty'],
    ['other-authority', encodeToken({ ...good, pin: 'A'.repeat(43) }), 'does not end at the auth'],
  ]
  await Promise.all(
    refused.map(async ([id, token, said, reason]) => {
      const path = join(folder, id)
      await writeFile(`${path}.token`, token)
      const command = connector(['--enroll-with-token-from', `${path}.token`], {
        SALLYPORT_CONNECTOR_IDENTITY_PATH: path,
        SALLYPORT_CONNECTOR_ID: id,
      })
      expect(await command.exited, command.errors).toBe(exitConfiguration)
      expect(command.errors).toContain(said)
      expect(await new IdentityFolder(path).read()).toBeUndefined()
      if (reason !== undefined)
        await expect.poll(() => eventOf(id)).toMatchObject({ outcome: 'refused', reason })
    }),
  )
})

test('a token in the arguments is refused, explained and not repeated', async () => {
  const token = (await connectorToken()).trim()
  const wrong = [
    ['--enroll-with-token-from', token],
    ['--enroll-with-token-from', ` ${token}`],
    ['--token', token],
  ]
  await Promise.all(
    wrong.map(async words => {
      const command = connector(words)
      expect(await command.exited).toBe(2)
      expect(command.errors).toContain('can be read by every user of this machine')
      expect(command.errors).not.toContain(token)
    }),
  )
  expect(existsSync(identity().path)).toBe(false)
})

test('a token may come by standard input', async () => {
  const { path } = identity()
  const words = ['sallyport.ts', 'connector', '--enroll-with-token-from', '-']
  const said = spawnSync(process.execPath, words, {
    // Cut off on its way: what is wrong with it proves that it was read.
    input: `${(await connectorToken()).slice(0, -20)}\r\n`,
    env: { SALLYPORT_CONNECTOR_IDENTITY_PATH: path },
    encoding: 'utf8',
  })
  expect(said.status).toBe(exitConfiguration)
  expect(said.stderr).toContain('this is not a token of a connector')
})

test('a host that is not enrolled says how it would be', async () => {
  const command = connector([])
  expect(await command.exited).toBe(exitConfiguration)
  expect(command.errors).toContain('This host is not enrolled')
})

// Nobody may make a folder there, not even root.
test.skipIf(process.platform !== 'linux')(
  'where the identity cannot be kept that is said, and starting again is of no use',
  async () => {
    const token = await connectorToken()
    const from = ['--enroll-with-token-from', await tokenFile(token)]
    const command = connector(from, { SALLYPORT_CONNECTOR_IDENTITY_PATH: '/sys/sallyport' })
    expect(await command.exited).toBe(exitConfiguration)
    expect(command.errors).toMatch(/cannot be kept \(E.*SALLYPORT_CONNECTOR_IDENTITY_PATH$/m)
  },
)

test('a host whose connector was removed ends for good, and can be enrolled anew', async () => {
  const enrol = async () => {
    const file = await tokenFile(await connectorToken())
    return connector(['--enroll-with-token-from', file], { SALLYPORT_CONNECTOR_ID: 'come-back' })
  }
  const first = await enrol()
  await first.ready
  await removeConnector(system, 'come-back')
  expect(await first.exited, first.errors).toBe(exitRemoved)
  const before = await identity().read()
  // Its old identity is worth nothing any more.
  const again = connector([])
  expect(await again.exited, again.errors).toBe(exitRemoved)
  expect(again.errors).toContain('The connector has been removed.')
  const second = await enrol()
  expect(await second.ready).toMatchObject({ connectorId: 'come-back' })
  expect((await identity().read())?.certificate.serialNumber).not.toBe(
    before?.certificate.serialNumber,
  )
  await serves()
})

/** Gives an enrolled host a certificate of another age, as if it had been made then. */
async function age(
  connectorId: string,
  { beganDaysAgo, days }: { beganDaysAgo: number; days: number },
) {
  const known = await identity().read()
  if (!known) throw new Error('not enrolled')
  const { connectors, root, trustDomain } = authority
  const certificate = await createConnectorCertificate(connectors, {
    connectorId,
    trustDomain,
    publicKey: createPublicKey(await identity().nextKey()),
    days,
    nowMs: Date.now() - beganDaysAgo * dayMs,
  })
  const chain = [certificate, connectors.certificate, root]
  await identity().accept({ ...known, chain, root })
  const bus = await system.connect('registry')
  const log = createLogger('test', 'silent')
  await using store = await openStore(bus, { bucket: buckets.connectors, schema: Connector, log })
  const notAfter = certificate.validToDate.toISOString()
  const { serialNumber } = certificate
  const listed = { serialNumber, spki: pinOf(certificate), notAfter }
  await expect
    .poll(() => {
      const record = store.get(connectorId)
      const aged = { ...(record?.value as Connector), certificates: [listed] }
      return store.replace(connectorId, aged, record?.revision)
    })
    .toBe(true)
  return serialNumber
}

const serial = async () => (await identity().read())?.certificate.serialNumber

test('a certificate is renewed over the bus without a lost request; an expired one when an administrator allows it', async () => {
  const file = await tokenFile(await connectorToken())
  const environment = { SALLYPORT_CONNECTOR_ID: 'aging' }
  const young = connector(['--enroll-with-token-from', file], environment)
  await young.ready
  young.process.kill('SIGTERM')
  expect(await young.exited).toBe(0)

  const old = await age('aging', { beganDaysAgo: 21, days: 30 })
  const renewing = connector([])
  await renewing.ready
  await using load = startDriving({
    gateways: () => system.gatewayUrls,
    headers: visitor.headers,
    request: () => ({ method: 'GET', path: '/' }),
  })
  await expect.poll(serial).not.toBe(old)
  await load.untilAnswered(50)
  expect(failures(await load.stop())).toEqual([])
  expect(await administer(system, 'GET', `${connectorsPath}/aging`)).toMatchObject({
    certificates: [{}, { serialNumber: old }],
  })
  renewing.process.kill('SIGTERM')
  expect(await renewing.exited).toBe(0)

  const over = await age('aging', { beganDaysAgo: 60, days: 30 })
  const waiting = connector([])
  await waiting.said(/sallyport renew-connector ID/)
  expect(waiting.errors).toContain('our certificate has expired')
  const consent = await runClient(['renew-connector', 'aging'], administrator())
  expect(consent.status, consent.stderr).toBe(0)
  await expect.poll(serial, { timeout: 40_000 }).not.toBe(over)
  expect(await waiting.ready).toMatchObject({ connectorId: 'aging' })
  await waiting.said(/"msg":"serving"/)
  await serves()
})

// The clock of the host, and of the TLS library in it: libfaketime changes both.
const library = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1'

test.skipIf(!existsSync(library))(
  'a host whose clock is wrong by an hour is told so and serves; one that is wrong by a day is refused by name',
  async () => {
    const host = async (id: string, offset: string) => {
      const path = join(folder, id)
      await writeFile(`${path}.token`, await connectorToken())
      return connector(['--enroll-with-token-from', `${path}.token`], {
        SALLYPORT_CONNECTOR_IDENTITY_PATH: path,
        SALLYPORT_CONNECTOR_ID: id,
        LD_PRELOAD: library,
        FAKETIME: offset,
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      })
    }
    const [early, late] = [await host('early', '+1h'), await host('late', '-1h')]
    await Promise.all([early.ready, late.ready])
    expect(early.errors).toContain("the clock of this host is 60 min ahead of the registry's")
    expect(late.errors).toContain("the clock of this host is 60 min behind the registry's")
    await serves()
    const wrong = await host('wrong', '-24h')
    expect(await wrong.exited).toBe(exitConfiguration)
    expect(wrong.errors).toContain("The clock of the connector's host is wrong")
  },
)

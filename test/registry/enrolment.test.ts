/** Enrolment as the registry decides on it: who gets a certificate, and every way in which somebody does not. */

import { fork } from 'node:child_process'
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { z } from 'zod'
import { openAudit } from '#infra/audit.ts'
import type { Bus } from '#infra/bus.ts'
import { checkChain, connectorIn, pinnedRoot, pinOf, readChain } from '#infra/certificates.ts'
import { createTokenKey, decodeToken, encodeToken, signWithToken } from '#infra/connector-token.ts'
import { Connector, ConnectorGroup, memberIdOf } from '#infra/contracts/connector.ts'
import {
  type ConnectorStatement,
  EnrolmentToken,
  type EnrolRequest,
  Issued,
  RevocationListReply,
  Standing,
  type TokenContent,
} from '#infra/contracts/enrolment.ts'
import { InsistentCalls } from '#infra/insistent-calls.ts'
import { createLogger } from '#infra/log.ts'
import {
  createConnectorCertificate,
  createKey,
  createSigningRequest,
  readSigningRequest,
} from '#infra/pki.ts'
import { readRevocationList } from '#infra/revocation-list.ts'
import { signRequest } from '#infra/signed-request.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { type ConnectorChange, ConnectorRecords } from '../../registry/connector-records.ts'
import type { EnrolmentContext } from '../../registry/enrolment/context.ts'
import { enrol as enrolAt } from '../../registry/enrolment/enrol.ts'
import { renew } from '../../registry/enrolment/renew.ts'
import { RenewalLimit } from '../../registry/enrolment/renewal-limit.ts'
import { openExpiringEntries } from '../../registry/expiring-entries.ts'
import { openStore } from '../../registry/store.ts'
import {
  adminClient,
  authority,
  connectorsPath,
  groupsPath,
  listen,
  type Received,
  registryEnvironment,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'
import { sampleStatus } from './sample-status.ts'

const profile = '/onPremisesPublishingProfiles/applicationProxy'
const tokensPath = `${profile}/connectorEnrolmentTokens`
const dayMs = 86_400_000
const busUrl = 'wss://bus.example.com'

const enrolling = {
  SALLYPORT_REGISTRY_ENROLMENT_URL: 'https://portal.example.com/',
  SALLYPORT_REGISTRY_CONNECTOR_BUS_URLS: busUrl,
}

let registry: TestRegistry
let gateway: Bus
let events: Received[]

beforeAll(async () => {
  registry = await startTestRegistry(enrolling)
  gateway = await registry.nats.connect('gateway')
  events = await listen(registry.nats, 'auditor', 'sallyport.audit.connector.>')
  await registry.send('POST', groupsPath, { id: 'paris', name: 'Paris' })
})

afterAll(() => registry[Symbol.asyncDispose]())

async function makeToken(body: object = { connectorGroupId: 'paris' }): Promise<TokenContent> {
  const { status, body: made } = await registry.send('POST', tokensPath, body)
  expect(status).toBe(201)
  return decodeToken(made.token)
}

interface Enrolling {
  token: TokenContent
  key?: KeyObject
  more?: Partial<EnrolRequest>
}

async function enrol(enrolling: Enrolling): Promise<Issued> {
  return await ask(subjects.enrolRequest, Issued, await requestOf(enrolling))
}

async function requestOf({ token, key = createKey(), more = {} }: Enrolling) {
  const signingRequest = await createSigningRequest(key)
  const { der } = await readSigningRequest(signingRequest)
  return {
    tokenId: token.id,
    signingRequest,
    signature: signWithToken(token.key, der),
    clockMs: Date.now(),
    machineName: 'host.paris.example',
    version: '1.2.3',
    ...more,
  }
}

function ask<Reply extends z.ZodType>(subject: string, reply: Reply, body: object) {
  const request = { ...body, clientAddress: '192.0.2.7' }
  return gateway.call(subject, request, { reply, timeoutMs: 5_000, unavailable: 'no_connector' })
}

/** The code of the fault that comes in place of an answer. */
async function refusal(answer: Promise<unknown>): Promise<string> {
  return await answer.then(
    () => 'taken',
    error => error.code,
  )
}

interface Signing {
  key: KeyObject
  certificate: X509Certificate
  statement?: ConnectorStatement
}

const now = () => ({ purpose: 'status' as const, clockMs: Date.now() })

function status({ statement = now(), ...signer }: Signing): Promise<Standing> {
  return ask(subjects.standingRequest, Standing, { request: signRequest(signer, statement) })
}

async function renewThroughGateway(
  signer: Signing,
  { key = createKey(), clockMs = Date.now() } = {},
): Promise<Issued> {
  const statement = { purpose: 'renew', clockMs, signingRequest: await createSigningRequest(key) }
  const request = signRequest(signer, statement as ConnectorStatement)
  return await ask(subjects.readmitRequest, Issued, { request })
}

async function renewOnBus(connectorId: string, key = createKey()): Promise<Issued> {
  const signingRequest = await createSigningRequest(key)
  const bus = await registry.nats.connect('registry')
  return await bus.call(
    subjects.renewRequest(connectorId),
    { signingRequest },
    { reply: Issued, timeoutMs: 5_000, unavailable: 'no_connector' },
  )
}

async function enrolled(more: Partial<EnrolRequest> = {}) {
  const key = createKey()
  const issued = await enrol({ token: await makeToken(), key, more })
  const certificate = new X509Certificate(issued.certificate)
  return { key, issued, certificate, connectorId: issued.connectorId }
}

async function recordOf(id: string) {
  return (await registry.send('GET', `${connectorsPath}/${id}`)).body
}

/** Puts a connector there whose only certificate ended so many days ago. */
async function expired(connectorId: string, daysAgo: number, more: Partial<Connector> = {}) {
  const { connectors, trustDomain } = await authority()
  const key = createKey()
  const certificate = await createConnectorCertificate(connectors, {
    connectorId,
    trustDomain,
    publicKey: createPublicKey(key),
    days: 0.2,
    nowMs: Date.now() - (daysAgo + 0.2) * dayMs,
  })
  const notAfter = certificate.validToDate.toISOString()
  const { serialNumber } = certificate
  const record = Connector.parse({
    id: connectorId,
    connectorGroupId: 'paris',
    certificates: [{ serialNumber, spki: pinOf(certificate), notAfter }],
    machineName: 'old.example',
    version: '1',
    status: 'inactive',
    lastSeenDateTime: new Date().toISOString(),
    ...more,
  })
  const bus = await registry.nats.connect('registry')
  const log = createLogger('test', 'silent')
  await using store = await openStore(bus, { bucket: buckets.connectors, schema: Connector, log })
  expect(await store.replace(connectorId, record, undefined)).toBe(true)
  return { key, certificate, connectorId }
}

describe('a token', () => {
  it('says where to enrol, for which group, until when, and which authority to expect', async () => {
    const token = await makeToken({ connectorGroupId: 'paris', lifetimeInSeconds: 600 })
    expect(token).toMatchObject({ url: 'https://portal.example.com/', group: 'paris' })
    expect(token.pin).toBe((await authority()).pin)
    expect(token.exp * 1_000 - Date.now()).toBeGreaterThan(590_000)
    expect(token.exp * 1_000 - Date.now()).toBeLessThanOrEqual(600_000)
  })

  it('is for the group "default" and an hour unless something else is asked for', async () => {
    const token = await makeToken({})
    expect(token.group).toBe('default')
    expect(token.exp * 1_000 - Date.now()).toBeGreaterThan(3_590_000)
    expect(token.exp * 1_000 - Date.now()).toBeLessThanOrEqual(3_600_000)
  })

  it.each([
    ['a lifetime of more than an hour', { lifetimeInSeconds: 3_601 }, 'lifetimeInSeconds'],
    ['no lifetime at all', { lifetimeInSeconds: 0 }, 'lifetimeInSeconds'],
    ['a group that does not exist', { connectorGroupId: 'atlantis' }, 'connectorGroupId'],
    ['a property that nobody knows', { uses: 2 }, 'uses'],
  ])('is not made for %s', async (_, body, property) => {
    const answer = await registry.send('POST', tokensPath, body)
    expect(answer.status).toBe(400)
    expect(answer.body.errors[0].property).toBe(property)
  })

  it('is shown once: what the registry keeps of it enrols nobody', async () => {
    const token = await makeToken()
    const stored = await registry.nats.connect('registry')
    const log = createLogger('test', 'silent')
    const { EnrolmentToken: schema } = await import('#infra/contracts/enrolment.ts')
    await using store = await openStore(stored, { bucket: buckets.enrolmentTokens, schema, log })
    const kept = JSON.stringify(store.get(token.id)?.value)
    expect(kept).toContain('paris')
    expect(kept).not.toContain(token.key)
  })
})

describe('enrolling', () => {
  it('gives a certificate for the connector’s own key, up to the pinned root, for 30 days', async () => {
    const key = createKey()
    const token = await makeToken()
    const issued = await enrol({ token, key })
    const chain = readChain(issued.certificate)
    const root = pinnedRoot(chain, token.pin)
    checkChain({ chain, anchor: root, purpose: 'client', nowMs: Date.now() })
    const [certificate] = chain as [X509Certificate]
    expect(createPublicKey(key).equals(certificate.publicKey)).toBe(true)
    const { trustDomain } = await authority()
    expect(connectorIn(certificate, trustDomain)).toBe(issued.connectorId)
    const days = (certificate.validToDate.getTime() - Date.now()) / dayMs
    expect(days).toBeGreaterThan(29.9)
    expect(days).toBeLessThan(30.1)
    expect(issued).toMatchObject({ connectorGroupId: 'paris', busUrls: [busUrl] })
    expect(issued.connectorId).toMatch(/^host-paris-example-[0-9a-f]{8}$/)
    expect(Math.abs(issued.time - Date.now())).toBeLessThan(5_000)
  })

  it('is told to auditors, and makes a connector that has not been seen yet', async () => {
    const { connectorId, certificate } = await enrolled({ connectorId: 'paris-told' })
    expect(connectorId).toBe('paris-told')
    expect(await recordOf('paris-told')).toMatchObject({
      connectorGroupId: 'paris',
      status: 'inactive',
      machineName: 'host.paris.example',
      certificates: [{ serialNumber: certificate.serialNumber }],
    })
    await expect
      .poll(() => events.find(event => event.connector === 'paris-told'))
      .toMatchObject({
        outcome: 'enrolled',
        connectorGroup: 'paris',
        clientAddress: '192.0.2.7',
        machineName: 'host.paris.example',
      })
  })

  it('is refused with a token that was used, and that is told', async () => {
    const token = await makeToken()
    await enrol({ token })
    expect(await refusal(enrol({ token, more: { connectorId: 'second' } }))).toBe('token_used')
    await expect
      .poll(() => events.find(event => event.connector === 'second'))
      .toMatchObject({ outcome: 'refused', reason: 'token_used', connectorGroup: 'paris' })
  })

  it('gives one of two who come at once with one token a certificate', async () => {
    const token = await makeToken()
    const codes = await Promise.all(
      Array.from({ length: 6 }, () => refusal(enrol({ token, key: createKey() }))),
    )
    expect(codes.toSorted()).toEqual(['taken', ...Array(5).fill('token_used')].toSorted())
  })

  it('may be repeated by the same connector with the same key, when the answer was lost', async () => {
    const token = await makeToken()
    const key = createKey()
    const first = await enrol({ token, key })
    const second = await enrol({ token, key })
    expect(second.connectorId).toBe(first.connectorId)
    expect((await recordOf(first.connectorId)).certificates).toHaveLength(1)
  })

  it('is refused with a token that has expired', async () => {
    const token = await makeToken({ connectorGroupId: 'paris', lifetimeInSeconds: 1 })
    await expect.poll(() => Date.now() / 1_000 > token.exp, { timeout: 3_000 }).toBe(true)
    const more = { connectorId: 'too-late' }
    expect(await refusal(enrol({ token, more }))).toBe('token_expired')
    await expect
      .poll(() => events.find(event => event.connector === 'too-late'))
      .toMatchObject({ outcome: 'refused', reason: 'token_expired' })
    expect((await recordOf('too-late')).status).toBe(404)
  })

  it('is refused with a token of another installation', async () => {
    const token = { ...(await makeToken()), id: 'A'.repeat(22) }
    const more = { connectorId: 'foreign' }
    expect(await refusal(enrol({ token, more }))).toBe('token_unknown')
    await expect
      .poll(() => events.find(event => event.connector === 'foreign'))
      .toMatchObject({ outcome: 'refused', reason: 'token_unknown' })
  })

  it('is refused with a token that was forged, and leaves the real one good', async () => {
    const token = await makeToken()
    const forged = { ...token, key: createTokenKey().seed }
    const more = { connectorId: 'forger' }
    expect(await refusal(enrol({ token: forged, more }))).toBe('token_invalid')
    await expect
      .poll(() => events.find(event => event.connector === 'forger'))
      .toMatchObject({ outcome: 'refused', reason: 'token_invalid' })
    expect(await refusal(enrol({ token }))).toBe('taken')
  })

  it('is refused when the token’s key signed another request: nobody in between can put in a key', async () => {
    const token = await makeToken()
    const theirs = await createSigningRequest(createKey())
    const more = { signingRequest: theirs }
    expect(await refusal(enrol({ token, more }))).toBe('token_invalid')
  })

  it('gives a token no other group than its own, whatever is asked for', async () => {
    const token = await makeToken({})
    const issued = await enrol({ token: { ...token, group: 'paris' } })
    expect(issued.connectorGroupId).toBe('default')
  })

  it('is refused for the id of another connector, and leaves the token good', async () => {
    await enrolled({ connectorId: 'taken-id' })
    const token = await makeToken()
    const more = { connectorId: 'taken-id' }
    expect(await refusal(enrol({ token, more }))).toBe('connector_id_taken')
    expect(await refusal(enrol({ token }))).toBe('taken')
  })

  it('takes the id of one that has no certificate, from when connectors shared a user of the bus', async () => {
    const connector = await registry.nats.connect('connector')
    const status = sampleStatus({ connectorId: 'shared-user', groupId: 'default' })
    connector.publishJson(subjects.connectorStatus('default', memberIdOf(status)), status)
    const group = async () => (await recordOf('shared-user')).connectorGroupId
    await expect.poll(group).toBe('default')
    await enrolled({ connectorId: 'shared-user' })
    expect(await group()).toBe('paris')
    const more = { connectorId: 'shared-user' }
    expect(await refusal(enrol({ token: await makeToken(), more }))).toBe('connector_id_taken')
  })

  it('is refused when the group is gone meanwhile', async () => {
    await registry.send('POST', groupsPath, { id: 'passing', name: 'Passing' })
    const token = await makeToken({ connectorGroupId: 'passing' })
    expect((await registry.send('DELETE', `${groupsPath}/passing`)).status).toBe(204)
    expect(await refusal(enrol({ token }))).toBe('connector_group_gone')
  })

  it('is refused, and leaves no connector, when the group is deleted while the certificate is made', async () => {
    await registry.send('POST', groupsPath, { id: 'fleeting', name: 'Fleeting' })
    const token = await makeToken({ connectorGroupId: 'fleeting' })
    await using stack = new AsyncDisposableStack()
    const context = await ownRegistry(stack, async () => {
      expect((await registry.send('DELETE', `${groupsPath}/fleeting`)).status).toBe(204)
    })
    const request = await requestOf({ token, more: { connectorId: 'homeless' } })
    const answer = enrolAt(context, { ...request, clientAddress: '192.0.2.7' })
    expect(await refusal(answer)).toBe('connector_group_gone')
    await expect.poll(() => recordOf('homeless')).toMatchObject({ code: 'resource_not_found' })
  })

  it('goes on at another registry when one stands still, and nobody is enrolled twice', async () => {
    const program = fileURLToPath(new URL('../../registry/main.ts', import.meta.url))
    const env = registryEnvironment(registry.nats, enrolling)
    const halted = fork(program, { env, execArgv: [] })
    onTestFinished(() => void halted.kill('SIGKILL'))
    const [{ ready }] = await once(halted, 'message')
    using calls = new InsistentCalls(gateway, 'gateway')
    const ids = Array.from({ length: 6 }, (_, number) => `elsewhere-${number}`)
    const requests = await Promise.all(
      ids.map(async connectorId => requestOf({ token: await makeToken(), more: { connectorId } })),
    )
    halted.kill('SIGSTOP')
    const options = { reply: Issued, timeoutMs: 5_000, unavailable: 'no_connector' } as const
    const enrolAnywhere = (request: object) =>
      calls.ask(subjects.enrolRequest, { ...request, clientAddress: '192.0.2.7' }, options)
    await Promise.all(requests.map(enrolAnywhere))
    halted.kill('SIGCONT')
    // What it knows of them it has read behind the questions.
    const back = adminClient({ details: ready })
    const known = async (id: string) => (await back.send('GET', `${connectorsPath}/${id}`)).status
    await expect.poll(() => Promise.all(ids.map(known))).toEqual(ids.map(() => 200))
    const told = () =>
      events
        .filter(({ connector, outcome }) => ids.includes(connector) && outcome === 'enrolled')
        .map(({ connector }) => connector)
    await expect.poll(() => told().length).toBeGreaterThanOrEqual(ids.length)
    halted.kill('SIGTERM')
    // By then it has told everything that it had to tell.
    await once(halted, 'exit')
    expect(told().sort()).toEqual(ids)
  })

  it.each([
    ['an hour', 3_600_000, 'taken'],
    ['minus an hour', -3_600_000, 'taken'],
    ['two hours', 7_200_000, 'clock_wrong'],
    ['minus two hours', -7_200_000, 'clock_wrong'],
  ])('by a host whose clock is wrong by %s: %s', async (_, errorMs, expected) => {
    const token = await makeToken()
    const more = { clockMs: Date.now() + errorMs }
    expect(await refusal(enrol({ token, more }))).toBe(expected)
    // Nothing was used up by being refused.
    if (expected !== 'taken') expect(await refusal(enrol({ token }))).toBe('taken')
  })

  it.each([
    ['no signing request', { signingRequest: 'nonsense' }],
    ['an id with a dot', { connectorId: 'a.b' }],
    ['an id with capital letters', { connectorId: 'Paris' }],
    ['a signature of another length', { signature: 'abc' }],
  ])('is refused for %s', async (_, more) => {
    expect(await refusal(enrol({ token: await makeToken(), more }))).toBe('bad_request')
  })

  it('is not for connectors themselves: the bus lets only gateways ask', async () => {
    const { permissions, connectorPermissions } = await import('#infra/permissions.ts')
    const identity = { connectorId: 'a', memberId: 'a', groupId: 'paris' }
    const asked = [subjects.enrolRequest, subjects.standingRequest, subjects.readmitRequest]
    for (const subject of asked) {
      expect(permissions.gateway.publish).toContain(subject)
      expect(permissions.connector.publish).not.toContain(subject)
      expect(connectorPermissions(identity).publish).not.toContain(subject)
    }
    expect(connectorPermissions(identity).publish).toContain(subjects.renewRequest('a'))
  })
})

describe('renewing on the bus', () => {
  it('adds a certificate, and honours the one before until its end', async () => {
    const { connectorId, certificate } = await enrolled()
    const issued = await renewOnBus(connectorId)
    const next = new X509Certificate(issued.certificate)
    const { certificates } = await recordOf(connectorId)
    expect(certificates.map((one: { serialNumber: string }) => one.serialNumber)).toEqual([
      next.serialNumber,
      certificate.serialNumber,
    ])
    await expect
      .poll(() => events.filter(event => event.connector === connectorId).map(e => e.outcome))
      .toContain('renewed')
  })

  it('drops certificates that have expired, and keeps a few at most', async () => {
    const { connectorId } = await expired('paris-many', 3)
    for (let count = 0; count < 6; count++) await renewOnBus(connectorId)
    const { certificates } = await recordOf(connectorId)
    expect(certificates).toHaveLength(4)
    for (const { notAfter } of certificates)
      expect(Date.parse(notAfter)).toBeGreaterThan(Date.now())
  })

  it('may not be done without end by one connector', async () => {
    const { connectorId } = await enrolled()
    const codes: string[] = []
    for (let count = 0; count < 12; count++) codes.push(await refusal(renewOnBus(connectorId)))
    expect(codes.slice(0, 10)).toEqual(Array(10).fill('taken'))
    expect(codes.slice(10)).toEqual(Array(2).fill('too_many_requests'))
  })

  it('is refused to a connector that was disabled or removed', async () => {
    const { connectorId } = await enrolled()
    const path = `${connectorsPath}/${connectorId}`
    await registry.send('PATCH', path, { isEnabled: false })
    expect(await refusal(renewOnBus(connectorId))).toBe('connector_disabled')
    await registry.send('DELETE', path)
    expect(await refusal(renewOnBus(connectorId))).toBe('connector_removed')
    expect(await refusal(renewOnBus('nobody'))).toBe('connector_removed')
  })

  it('is refused to a host that was removed meanwhile, also when another one has its id by then', async () => {
    const { connectorId } = await enrolled({ connectorId: 'paris-replaced' })
    const key = createKey()
    const renewal = renewWhile(connectorId, key, async () => {
      await registry.send('DELETE', `${connectorsPath}/${connectorId}`)
      await enrolled({ connectorId })
    })
    expect(await refusal(renewal)).toBe('connector_removed')
    const { certificates } = await recordOf(connectorId)
    expect(certificates).toHaveLength(1)
    expect(certificates).not.toContainEqual(
      expect.objectContaining({ spki: pinOf({ publicKey: createPublicKey(key) }) }),
    )
  })
})

/** What enrols and renews at a registry of its own, to which something happens before it writes a record. */
async function ownRegistry(stack: AsyncDisposableStack, happens: () => Promise<unknown>) {
  const bus = await registry.nats.connect('registry')
  const log = createLogger('test', 'silent')
  const records = stack.use(
    await openStore(bus, { bucket: buckets.connectors, schema: Connector, log }),
  )
  const groups = stack.use(
    await openStore(bus, { bucket: buckets.connectorGroups, schema: ConnectorGroup, log }),
  )
  const tokens = { bucket: buckets.enrolmentTokens, schema: EnrolmentToken, log }
  const audit = stack.use(openAudit(bus, { service: 'registry', log }))
  const written = stack.use(new ConnectorRecords({ bus, store: records, audit, log }))
  return {
    authority: await authority(),
    audit,
    log,
    records,
    groups,
    tokens: await openExpiringEntries(bus, tokens),
    renewals: new RenewalLimit(),
    waiting: { check: () => undefined },
    connectorBusUrls: [busUrl],
    connectorCertificateDays: 30,
    connectors: {
      change: async (id: string, change: ConnectorChange) => {
        await happens()
        await records.sync()
        return await written.change(id, change)
      },
      remove: (id: string) => written.remove(id),
    },
  } as Partial<EnrolmentContext> as EnrolmentContext
}

async function renewWhile(connectorId: string, key: KeyObject, happens: () => Promise<void>) {
  await using stack = new AsyncDisposableStack()
  const context = await ownRegistry(stack, happens)
  const signingRequest = await createSigningRequest(key)
  return await renew(context, { signingRequest }, subjects.renewRequest(connectorId))
}

describe('asking through the gateway', () => {
  it('says where a connector stands, with the registry’s time', async () => {
    const signer = await enrolled()
    const standing = await status(signer)
    expect(standing).toMatchObject({
      connectorId: signer.connectorId,
      connectorGroupId: 'paris',
      busUrls: [busUrl],
      mustRenew: false,
    })
    expect(Math.abs(standing.time - Date.now())).toBeLessThan(5_000)
  })

  it('says that a connector was disabled, and that it was removed', async () => {
    const signer = await enrolled()
    const path = `${connectorsPath}/${signer.connectorId}`
    await registry.send('PATCH', path, { isEnabled: false })
    expect(await refusal(status(signer))).toBe('connector_disabled')
    await registry.send('DELETE', path)
    expect(await refusal(status(signer))).toBe('connector_removed')
    expect(await refusal(renewThroughGateway(signer))).toBe('connector_removed')
  })

  it('does not honour the old certificate of an id that was enrolled anew', async () => {
    const before = await enrolled({ connectorId: 'paris-again' })
    await registry.send('DELETE', `${connectorsPath}/paris-again`)
    const after = await enrolled({ connectorId: 'paris-again' })
    expect(await refusal(status(after))).toBe('taken')
    expect(await refusal(status(before))).toBe('certificate_revoked')
    expect(await refusal(renewThroughGateway(before))).toBe('certificate_revoked')
  })

  it('is refused with a certificate of another authority, or with another’s key', async () => {
    const signer = await enrolled()
    expect(await refusal(status({ ...signer, key: createKey() }))).toBe('bad_request')
    const { trustDomain } = await authority()
    const [key, foreign] = [createKey(), createKey()]
    const { createRoot } = await import('#infra/pki.ts')
    const root = await createRoot({ name: 'Sallyport connectors', key: foreign, days: 9 })
    const certificate = await createConnectorCertificate(root, {
      connectorId: signer.connectorId,
      trustDomain,
      publicKey: createPublicKey(key),
      days: 9,
    })
    expect(await refusal(status({ key, certificate }))).toBe('certificate_invalid')
    expect(await refusal(renewThroughGateway({ key, certificate }))).toBe('certificate_invalid')
  })

  it('renews a certificate that is good, too', async () => {
    const signer = await enrolled()
    const issued = await renewThroughGateway(signer)
    expect(issued.connectorId).toBe(signer.connectorId)
  })

  it('does not take a request to renew that was signed long ago, or is not one', async () => {
    const signer = await enrolled()
    const clockMs = Date.now() - 600_000
    expect(await refusal(renewThroughGateway(signer, { clockMs }))).toBe('bad_request')
    const request = signRequest(signer, now())
    expect(await refusal(ask(subjects.readmitRequest, Issued, { request }))).toBe('bad_request')
  })
})

/** One whose record went because it was away for so long. */
async function forgotten(connectorId: string) {
  const signer = await expired(connectorId, 20)
  const bus = await registry.nats.connect('registry')
  const log = createLogger('test', 'silent')
  await using store = await openStore(bus, { bucket: buckets.connectors, schema: Connector, log })
  const { revision } = store.get(connectorId) as { revision: number }
  await store.remove(connectorId, revision)
  await expect.poll(() => refusal(status(signer))).toBe('connector_removed')
  return signer
}

describe('a certificate that has expired', () => {
  const allow = (id: string, body: object = {}) =>
    registry.send('POST', `${connectorsPath}/${id}/allowRenewal`, body)

  it('is renewed with the old key only after an administrator has allowed it, and once', async () => {
    const signer = await expired('paris-late', 60)
    expect(await status(signer)).toMatchObject({ mustRenew: true })
    expect(await refusal(renewThroughGateway(signer))).toBe('certificate_expired')
    await expect
      .poll(() => events.find(event => event.connector === 'paris-late'))
      .toMatchObject({ outcome: 'refused', reason: 'certificate_expired' })
    expect((await allow('paris-late')).status).toBe(201)
    const key = createKey()
    const issued = await renewThroughGateway(signer, { key })
    const next = { key, certificate: new X509Certificate(issued.certificate) }
    expect(await status(next)).toMatchObject({ mustRenew: false })
    // The answer may be lost: the same key again. Another key would be a second renewal.
    expect(await refusal(renewThroughGateway(signer))).toBe('certificate_revoked')
  })

  it('is not renewed more than 90 days after its end, whatever was allowed', async () => {
    const signer = await expired('paris-too-late', 91)
    expect((await allow('paris-too-late')).status).toBe(201)
    expect(await refusal(renewThroughGateway(signer))).toBe('certificate_expired')
    expect(await refusal(status(signer))).toBe('certificate_expired')
  })

  it('brings a connector back that was forgotten, into the group that the administrator names', async () => {
    const signer = await forgotten('paris-forgotten')
    const refused = await allow('paris-forgotten')
    expect(refused.body.errors[0].property).toBe('connectorGroupId')
    expect((await allow('paris-forgotten', { connectorGroupId: 'paris' })).status).toBe(201)
    expect(await status(signer)).toMatchObject({ mustRenew: true, connectorGroupId: 'paris' })
    const issued = await renewThroughGateway(signer)
    expect(issued).toMatchObject({ connectorId: 'paris-forgotten', connectorGroupId: 'paris' })
  })

  it('does not bring a connector into a group that was deleted meanwhile, and may bring it into another', async () => {
    const signer = await forgotten('paris-homeless')
    await registry.send('POST', groupsPath, { name: 'Passing', id: 'passing' })
    await allow('paris-homeless', { connectorGroupId: 'passing' })
    expect((await registry.send('DELETE', `${groupsPath}/passing`)).status).toBe(204)
    expect(await refusal(renewThroughGateway(signer))).toBe('connector_group_gone')
    expect((await registry.send('GET', `${connectorsPath}/paris-homeless`)).status).toBe(404)
    await allow('paris-homeless', { connectorGroupId: 'paris' })
    expect((await renewThroughGateway(signer)).connectorGroupId).toBe('paris')
  })

  it('does not come back when it was removed by an administrator', async () => {
    const signer = await expired('paris-removed', 20)
    await registry.send('DELETE', `${connectorsPath}/paris-removed`)
    const allowed = () => allow('paris-removed', { connectorGroupId: 'paris' })
    // Allowed by a registry that has not heard of the removal so far.
    await expect.poll(async () => (await allowed()).status).toBe(404)
    expect((await allowed()).body.detail).toContain('with a new token')
    expect(await refusal(renewThroughGateway(signer))).toBe('connector_removed')
  })
})

describe('the revocation list', () => {
  it('names the certificates of connectors that were removed, and no others', async () => {
    const [gone, kept] = [await enrolled(), await enrolled()]
    await registry.send('DELETE', `${connectorsPath}/${gone.connectorId}`)
    const read = async () => {
      const asking = { reply: RevocationListReply, timeoutMs: 5_000 }
      const unavailable = { ...asking, unavailable: 'no_connector' as const }
      const { list } = await gateway.call(subjects.revocationListRequest, {}, unavailable)
      const issuer = (await authority()).connectors.certificate
      return await readRevocationList(Buffer.from(list, 'base64'), { issuer, nowMs: Date.now() })
    }
    await expect.poll(async () => (await read()).isRevoked(gone.certificate)).toBe(true)
    expect((await read()).isRevoked(kept.certificate)).toBe(false)
  })
})

it('a registry without an authority makes no tokens, and says what to set', async () => {
  await using plain = await startTestRegistry({ SALLYPORT_REGISTRY_AUTHORITY_PATH: '' })
  const answer = await plain.send('POST', tokensPath, {})
  expect(answer.status).toBe(503)
  expect(answer.body.detail).toContain('SALLYPORT_REGISTRY_AUTHORITY_PATH')
})

it('a token survives being copied with white space around it, and nothing else', async () => {
  const token = await makeToken()
  const text = encodeToken(token)
  expect(decodeToken(`  ${text}\r\n`)).toEqual(token)
  const damaged = ['', '   ', 'hello', text.slice(1), text.slice(0, -9), `${text}x`, `${text}=`]
  for (const one of damaged) expect(() => decodeToken(one), one).toThrow('not a token')
})

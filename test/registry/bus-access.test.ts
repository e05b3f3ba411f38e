/** Who gets on the bus by certificate, and who gets off it: two registries that answer a real nats-server with TLS. */

import { createPublicKey, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type KV, Kvm } from '@nats-io/kv'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { openAudit } from '#infra/audit.ts'
import { type Authority, keepAuthority } from '#infra/authority.ts'
import { type Bus, connectBus, connectionName } from '#infra/bus.ts'
import { dial } from '#infra/bus-connection.ts'
import { pinOf } from '#infra/certificates.ts'
import { readConfig } from '#infra/config.ts'
import { Connector, defaultConnectorGroupId } from '#infra/contracts/connector.ts'
import { type NatsServer, startNatsServer } from '#infra/embedded/nats-server.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger } from '#infra/log.ts'
import { chainPem, createConnectorCertificate, createKey, keyPem } from '#infra/pki.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { admit, type Knowledge } from '../../registry/bus-access/admission.ts'
import { endUnheard, openBusAccess } from '../../registry/bus-access/bus-access.ts'
import { answerCallout } from '../../registry/bus-access/callout.ts'
import { listWaiting } from '../../registry/bus-access/live-connections.ts'
import { RegistryConfig } from '../../registry/config.ts'
import { startRegistry } from '../../registry/registry.ts'
import { openStore, type Store } from '../../registry/store.ts'
import { binary } from '../harness/nats.ts'
import { startWebClient, type WebClient } from '../harness/web-client.ts'

let folder: string
let authority: Authority
let stranger: Authority
let nats: NatsServer
let registries: Service[]
let bus: Bus
let records: KV

const quiet = createLogger('test', 'silent')
const group = defaultConnectorGroupId

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-bus-access-'))
  const authorityPath = join(folder, 'authority')
  authority = await keepAuthority(authorityPath, { busNames: ['localhost', '127.0.0.1'] })
  stranger = await keepAuthority(join(folder, 'stranger'))
  const storeDirectory = join(folder, 'bus')
  nats = await startNatsServer({ storeDirectory, binary, authority: authorityPath })
  registries = await Promise.all([1, 2].map(() => startOne(authorityPath)))
  bus = await connectBus({ ...nats.addressFor('registry'), role: 'registry', log: quiet })
  records = await new Kvm(bus.connection).open(buckets.connectors)
})
afterAll(async () => {
  await bus?.[Symbol.asyncDispose]()
  for (const registry of registries ?? []) await registry[Symbol.asyncDispose]()
  await nats?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

function startOne(authorityPath: string): Promise<Service> {
  return startRegistry(
    readConfig(RegistryConfig, {
      SALLYPORT_BUS_URL: nats.urlFor('registry'),
      SALLYPORT_BUS_CA_PATH: nats.caPath,
      SALLYPORT_LOG_LEVEL: 'silent',
      SALLYPORT_REGISTRY_SYSTEM_BUS_URL: nats.urlFor('system'),
      SALLYPORT_REGISTRY_CALLOUT_BUS_URL: nats.urlFor('callout'),
      SALLYPORT_REGISTRY_AUTHORITY_PATH: authorityPath,
      SALLYPORT_REGISTRY_PORT: '0',
      SALLYPORT_REGISTRY_ADMIN_TOKEN: 'x'.repeat(24),
    }),
  )
}

interface Certified {
  connectorId: string
  by?: Authority
  key?: KeyObject
  /** Days before now on which it was made; it is good for one. */
  ageDays?: number
  /** Of the certificate alone. */
  trustDomain?: string
}

const dayMs = 86_400_000

/** Writes a key and a certificate into the connector's folder, in the place of those before. */
async function certify(certified: Certified) {
  const { connectorId, by = authority, key = createKey(), ageDays = 0 } = certified
  const certificate = await createConnectorCertificate(by.connectors, {
    connectorId,
    trustDomain: certified.trustDomain ?? by.trustDomain,
    publicKey: createPublicKey(key),
    days: 1,
    nowMs: Date.now() - ageDays * dayMs,
  })
  const identity = join(folder, connectorId)
  await mkdir(identity, { recursive: true })
  await writeFile(join(identity, 'key.pem'), keyPem(key))
  const chain = [certificate, by.connectors.certificate, by.root]
  await writeFile(join(identity, 'certificate.pem'), chainPem(chain))
  await writeFile(join(identity, 'authority.pem'), chainPem([authority.root]))
  return {
    serialNumber: certificate.serialNumber,
    spki: pinOf(certificate),
    notAfter: certificate.validToDate.toISOString(),
  }
}

async function record(connectorId: string, more: Partial<Connector>): Promise<void> {
  const whole = Connector.parse({
    id: connectorId,
    connectorGroupId: group,
    machineName: 'test',
    version: '1',
    status: 'inactive',
    lastSeenDateTime: new Date().toISOString(),
    ...more,
  })
  await records.put(connectorId, JSON.stringify(whole))
}

async function come(client: WebClient, connectorId: string, memberId = connectorId): Promise<void> {
  const name = connectionName('connector', memberId)
  await client.connect({ url: nats.web?.url ?? '', folder: join(folder, connectorId), name })
}

/** As a connector does: a registry that is too busy to answer in time is asked again. */
async function arrive(client: WebClient, connectorId: string, memberId = connectorId) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await come(client, connectorId, memberId)
    } catch (error) {
      if (attempt === 5) throw error
    }
  }
}

async function reasonsFor(connectorId: string): Promise<string[]> {
  const events: string[] = []
  const auditor = await connectBus({ ...nats.addressFor('auditor'), role: 'auditor', log: quiet })
  auditor.subscribe(subjects.auditsLike('connector'), {
    callback: ({ data }) => {
      for (const line of data.toString().split('\n')) {
        const event = JSON.parse(line)
        if (event.connector === connectorId) events.push(`${event.outcome} ${event.reason}`)
      }
    },
  })
  await auditor.connection.flush()
  return events
}

test('a connector and each of its workers get in by their certificate, by no other credential', async () => {
  const listed = await certify({ connectorId: 'good' })
  await record('good', { certificates: [listed] })
  await using client = await startWebClient()
  await arrive(client, 'good')
  await arrive(client, 'good', 'good_2')
  expect(await client.subscribe({ subject: subjects.downTo('good_2') })).toEqual([])
  expect(await client.subscribe({ subject: subjects.downTo('good') })).not.toEqual([])
})

describe('refused, and recorded with the reason, is', () => {
  test.each<[string, Certified, Partial<Connector> | undefined, string]>([
    ['a connector that was removed', { connectorId: 'removed' }, undefined, 'connector_removed'],
    ['one that is disabled', { connectorId: 'off' }, { isEnabled: false }, 'connector_disabled'],
    [
      'one whose group is gone',
      { connectorId: 'lost' },
      { connectorGroupId: 'gone' },
      'group_missing',
    ],
    [
      'a certificate that its record does not list',
      { connectorId: 'unlisted' },
      { certificates: [] },
      'certificate_not_listed',
    ],
  ])('%s', async (_, certified, more, reason) => {
    const events = await reasonsFor(certified.connectorId)
    const listed = await certify(certified)
    if (more) await record(certified.connectorId, { certificates: [listed], ...more })
    await using client = await startWebClient()
    await expect(come(client, certified.connectorId)).rejects.toThrow(/refuses our key/)
    for (let again = 0; again < 5; again++)
      await expect(come(client, certified.connectorId)).rejects.toThrow(/refuses our key/)
    await expect.poll(() => new Set(events)).toEqual(new Set([`refused ${reason}`]))
    // Once by each registry, however often it comes back.
    expect(events.length).toBeLessThanOrEqual(registries.length)
  })

  test('a certificate of our authority that names another installation', async () => {
    const listed = await certify({
      connectorId: 'foreign',
      trustDomain: 'sallyport-0123456789abcdef',
    })
    await record('foreign', { certificates: [listed] })
    await using client = await startWebClient()
    await expect(come(client, 'foreign')).rejects.toThrow(/refuses our key/)
  })
})

describe('refused by TLS, without asking anybody, is', () => {
  test.each<[string, Certified]>([
    ['a certificate of another authority', { connectorId: 'strange', by: undefined as never }],
    ['a certificate that has expired', { connectorId: 'expired', ageDays: 3 }],
  ])('%s', async (_, certified) => {
    const isForeign = 'by' in certified
    const made = { ...certified, by: isForeign ? stranger : authority }
    const listed = await certify({ ...made, trustDomain: authority.trustDomain })
    await record(certified.connectorId, { certificates: [listed] })
    await using client = await startWebClient()
    await expect(come(client, certified.connectorId)).rejects.toThrow(/certificate|authority/)
  })

  test('a client without a certificate, whatever key it has', async () => {
    const { host } = new URL(nats.web?.url ?? '')
    const ca = await readFile(nats.caPath ?? '')
    const socket = new WebSocket(`wss://${host}/`, { ca })
    const [error] = await once(socket, 'error')
    expect(String(error)).toMatch(/certificate required/)
  })
})

test('an identity that cannot be read for a while does not end the dialling', async () => {
  const certificates = [await certify({ connectorId: 'unreadable' })]
  await record('unreadable', { certificates })
  await using client = await startWebClient()
  await arrive(client, 'unreadable')
  const identity = join(folder, 'unreadable')
  await rename(identity, `${identity}-away`)
  await record('unreadable', { certificates: [] })
  await expect.poll(async () => (await client.state()).statuses).toContain('disconnect')
  await record('unreadable', { certificates })
  const attempts = async () =>
    (await client.state()).statuses.filter(status => status === 'reconnecting').length
  await expect.poll(attempts, { timeout: 15_000 }).toBeGreaterThan(2)
  await rename(`${identity}-away`, identity)
  await expect
    .poll(async () => (await client.state()).statuses, { timeout: 15_000 })
    .toContain('reconnect')
})

test('a connector dials with the certificate that is stored at that moment', async () => {
  const first = await certify({ connectorId: 'renewed' })
  await record('renewed', { certificates: [first] })
  await using client = await startWebClient()
  await arrive(client, 'renewed')
  const second = await certify({ connectorId: 'renewed' })
  await record('renewed', { certificates: [second, first] })
  // The first one is taken back: its connection ends, and the next dial has the second one.
  await record('renewed', { certificates: [second] })
  await expect
    .poll(async () => (await client.state()).statuses, { timeout: 15_000 })
    .toEqual(expect.arrayContaining(['disconnect', 'reconnect']))
})

test('who was let in by what was known before a change is out again: nobody slips through', async () => {
  const certificates = [await certify({ connectorId: 'racing' })]
  await record('racing', { certificates })
  const before = Connector.parse(JSON.parse((await records.get('racing'))?.string() ?? ''))
  // A registry that is behind: it decides by the record as it was, and its answer takes a while.
  const known: Knowledge = {
    trustDomain: authority.trustDomain,
    connectors: { get: id => (id === 'racing' ? { value: before } : undefined) },
    groups: { get: () => true },
    isRevoked: () => false,
  }
  let isLetIn = 0
  await using behind = await answerCallout({
    ...nats.addressFor('callout'),
    log: quiet,
    decide: async applicant => {
      const decision = admit(applicant, known, Date.now())
      await sleep(100)
      if (decision.kind === 'admitted') isLetIn++
      return decision
    },
  })
  await using client = await startWebClient()
  await record('racing', { certificates, isEnabled: false })
  // The other two refuse it; sooner or later it is the third that is asked.
  while (isLetIn < 2) await come(client, 'racing').catch(() => undefined)
  await client.close()
  await using other = await startWebClient()
  // It may be out again before it is in: then there is nothing to see, and it comes once more.
  for (let isIn = false; !isIn; )
    isIn = await come(other, 'racing').then(
      () => true,
      () => false,
    )
  await expect.poll(async () => (await other.state()).statuses).toContain('disconnect')
  // It comes back by itself, and would be let in now and then, and cut off, for as long as one is behind.
  await behind[Symbol.asyncDispose]()
  await expect.poll(liveConnectors).not.toContain('racing')
  await expect(come(other, 'racing')).rejects.toThrow(/refuses our key/)
})

test('a registry that cannot know for certain who is enrolled cuts nobody off until it can', async () => {
  const listed = await certify({ connectorId: 'unheard-of' })
  await record('unheard-of', { certificates: [listed] })
  await using client = await startWebClient()
  await arrive(client, 'unheard-of')
  await using stack = new AsyncDisposableStack()
  const log = quiet
  const store = stack.use(
    await openStore(bus, { bucket: buckets.connectors, schema: Connector, log }),
  )
  let tries = 0
  let isLate = true
  const connectors = {
    get: (id: string) => (isLate ? undefined : store.get(id)),
    onChange: () => () => undefined,
    async sync() {
      if (++tries < 3) throw new Error('changes do not arrive')
      await store.sync()
      isLate = false
    },
  } as Partial<Store<Connector>> as Store<Connector>
  const groups = { entries: new Map(), get: () => ({}) as never, sync: async () => undefined }
  const system = stack.use(
    await connectBus({ ...nats.addressFor('system'), role: 'system', log: quiet }),
  )
  const { trustDomain } = authority
  const callout = nats.addressFor('callout')
  const judging = { callout, system, connectors, groups, trustDomain, isRevoked: () => false, log }
  stack.use(
    await openBusAccess({ ...judging, audit: openAudit(bus, { service: 'registry', log }) }),
  )
  await expect.poll(() => isLate).toBe(false)
  await system.connection.flush()
  expect((await client.state()).statuses).toEqual([])
})

/** As the server lists them. */
async function liveConnectors(): Promise<string[]> {
  const system = await connectBus({ ...nats.addressFor('system'), role: 'system', log: quiet })
  try {
    const answer = await system.connection.request(
      subjects.listConnections,
      JSON.stringify({ acc: 'SALLYPORT', auth: true }),
      { timeout: 2_000 },
    )
    const { connections } = answer.json<{
      data: { connections: { authorized_user: string }[] }
    }>().data
    return connections.map(one => one.authorized_user.split('@')[0] ?? '')
  } finally {
    await system[Symbol.asyncDispose]()
  }
}

describe('the listener for services', () => {
  test('wants TLS with the right authority, and says so', async () => {
    const options = { name: 'x', inboxPrefix: 'sallyport.inbox.policy.x' }
    const url = nats.urlFor('policy')
    const strange = join(folder, 'stranger', 'root.pem')
    await expect(dial({ ...options, url, caPath: strange })).rejects.toThrow(
      /not from the expected authority/,
    )
    await expect(dial({ ...options, url: 'tls://127.0.0.1:1' })).rejects.toThrow(/refused/)
    await using policy = await connectBus({
      ...nats.addressFor('policy'),
      role: 'policy',
      log: quiet,
    })
    expect(policy.isConnected).toBe(true)
  })

  test('takes the keys of roles and nothing else', async () => {
    const { caPath } = nats
    const options = { name: 'x', inboxPrefix: 'sallyport.inbox.policy.x', caPath }
    const { createSeed } = await import('#infra/nkey.ts')
    const url = `tls://${createSeed('user')}@127.0.0.1:${nats.port}`
    await expect(dial({ ...options, url })).rejects.toThrow(/refuses our key/)
  })
})

describe('while no registry answers', () => {
  test('nobody new gets in, and who is in stays', async () => {
    const listed = await certify({ connectorId: 'alone' })
    await record('alone', { certificates: [listed] })
    await using client = await startWebClient()
    await using other = await startWebClient()
    await arrive(client, 'alone')
    for (const registry of registries.splice(0)) await registry[Symbol.asyncDispose]()
    await expect(come(other, 'alone')).rejects.toThrow()
    expect(await client.state()).toMatchObject({ isClosed: false, statuses: [] })
    await using system = await connectBus({
      ...nats.addressFor('system'),
      role: 'system',
      log: quiet,
    })
    const isWaiting = async () => {
      for await (const _ of listWaiting(system)) return true
      return false
    }
    const coming = expect(come(other, 'alone')).rejects.not.toThrow(/refuses our key/)
    await expect.poll(isWaiting, { interval: 5 }).toBe(true)
    // As a registry does as soon as it answers: this one comes anew, and need not wait for the server to give up.
    const endedAt = performance.now()
    await endUnheard(system)
    await coming
    expect(performance.now() - endedAt).toBeLessThan(5_000)
    expect(await client.state()).toMatchObject({ isClosed: false, statuses: [] })
  })
})

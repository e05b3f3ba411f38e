/** A connector stays where it belongs: connections are replaced, groups change, and nobody notices more than that. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { connectBus } from '#infra/bus.ts'
import { readConfig } from '#infra/config.ts'
import { createLogger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import { Carried } from '../../connector/carried.ts'
import { ConnectorConfig } from '../../connector/config.ts'
import type { Member } from '../../connector/membership.ts'
import { Residence } from '../../connector/residence.ts'
import { openSignOn } from '../../connector/sign-on/sign-on.ts'
import { startRegistry } from '../../registry/registry.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import {
  type AdminClient,
  adminClient,
  authority,
  connectorsPath,
  groupsPath,
  listen,
  registryConfig,
} from '../registry/fixture.ts'

const log = createLogger('test', 'silent')

let nats: TestNats
let registry: AsyncDisposable
let admin: AdminClient

beforeAll(async () => {
  nats = await startTestNats()
  const system = { SALLYPORT_REGISTRY_SYSTEM_BUS_URL: nats.server.urlFor('system') }
  const service = await startRegistry(registryConfig(nats, system))
  registry = service
  admin = adminClient(service)
  for (const name of ['paris', 'lyon']) await admin.send('POST', groupsPath, { name })
})
afterAll(async () => {
  await registry[Symbol.asyncDispose]()
  await nats[Symbol.asyncDispose]()
})

async function reside(connectorId: string, lifetimeMs?: number) {
  await using stack = new AsyncDisposableStack()
  const url = nats.server.urlFor('connector')
  const { root } = await authority()
  const member: Member = {
    config: readConfig(ConnectorConfig, {
      SALLYPORT_BUS_URL: url,
      SALLYPORT_CONNECTOR_ID: connectorId,
      SALLYPORT_CONNECTOR_DRAIN_SECONDS: '1',
    }),
    memberId: connectorId,
    place: undefined,
    startedDateTime: new Date().toISOString(),
    carried: new Carried(),
    root,
    veto: undefined,
    signOn: stack.use(await openSignOn(undefined, log)),
    log,
  }
  const residence = stack.use(
    new Residence({
      member,
      dial: signal => connectBus({ url, role: 'connector', instance: connectorId, log, signal }),
      lifetimeMs: async () => lifetimeMs,
      signal: new AbortController().signal,
    }),
  )
  await residence.begin()
  const owned = stack.move()
  return { residence, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const stateOf = async (id: string) => (await admin.send('GET', `${connectorsPath}/${id}`)).body
const moveTo = (id: string, connectorGroupId: string) =>
  admin.send('PATCH', `${connectorsPath}/${id}`, { connectorGroupId })

test('a connection is replaced before its rights end, and the connector is there all the time', async () => {
  const events = await listen(nats, 'auditor', subjects.auditsLike('connector'))
  const gone = await listen(nats, 'gateway', subjects.connectorsGone)
  {
    await using resident = await reside('renewing', 800)
    const buses = new Set<unknown>()
    await expect
      .poll(() => buses.add(resident.residence.bus).size, { interval: 20 })
      .toBeGreaterThan(3)
    expect(await stateOf('renewing')).toMatchObject({ status: 'active', state: 'serving' })
  }
  await expect.poll(async () => (await stateOf('renewing')).status).toBe('inactive')
  const outcomes = () =>
    events.filter(({ connector }) => connector === 'renewing').map(({ outcome }) => outcome)
  await expect.poll(outcomes).toEqual(['started', 'draining', 'stopped'])
  const reasons = gone.filter(({ connectorId }) => connectorId === 'renewing')
  expect(new Set(reasons.map(({ reason }) => reason))).toEqual(new Set(['stopped', 'disconnected']))
})

test('however fast it is moved about, it ends where it was moved last', async () => {
  await using resident = await reside('restless')
  await expect.poll(async () => (await stateOf('restless')).status).toBe('active')
  for (const group of ['paris', 'lyon', 'default', 'lyon', 'paris', 'lyon']) {
    void moveTo('restless', group)
    await expect.poll(async () => (await stateOf('restless')).connectorGroupId).toBe(group)
  }
  await expect.poll(() => resident.residence.groupId).toBe('lyon')
  await expect
    .poll(async () => await stateOf('restless'))
    .toMatchObject({ connectorGroupId: 'lyon', servedGroupId: 'lyon', status: 'active' })
})

test('one that was moved while it was away begins where it belongs, whatever its configuration says', async () => {
  {
    await using _resident = await reside('traveller')
    await expect.poll(async () => (await stateOf('traveller')).status).toBe('active')
  }
  await moveTo('traveller', 'paris')
  await using resident = await reside('traveller')
  expect(resident.residence.groupId).toBe('paris')
})

test('one that is disabled when it comes waits, and begins when it is enabled', async () => {
  {
    await using _resident = await reside('waiting')
    await expect.poll(async () => (await stateOf('waiting')).status).toBe('active')
  }
  const turn = (isEnabled: boolean) =>
    admin.send('PATCH', `${connectorsPath}/waiting`, { isEnabled })
  await turn(false)
  await using resident = await reside('waiting')
  expect(resident.residence.groupId).toBeUndefined()
  await turn(true)
  await expect.poll(() => resident.residence.groupId).toBe('default')
  await expect.poll(async () => (await stateOf('waiting')).status).toBe('active')
})

import { Kvm } from '@nats-io/kv'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RegisteredApplication } from '#infra/contracts/application.ts'
import { Connector, ConnectorGroup } from '#infra/contracts/connector.ts'
import { createLogger } from '#infra/log.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { openConnectorGroups } from '../../registry/connector-groups.ts'
import { startRegistry } from '../../registry/registry.ts'
import { openStore } from '../../registry/store.ts'
import {
  adminClient,
  groupsPath,
  publish,
  registryConfig,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'
import { sampleStatus } from './sample-status.ts'

let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry()
})
afterAll(() => registry[Symbol.asyncDispose]())

test('the default connector group exists from the start and cannot be deleted', async () => {
  const { body } = await registry.send('GET', groupsPath)
  expect(body.value).toMatchObject([
    { id: 'default', isDefault: true, connectorGroupType: 'applicationProxy' },
  ])
  const answer = await registry.send('DELETE', `${groupsPath}/default`)
  expect(answer.status).toBe(409)
  expect(answer.body.code).toBe('in_use')
})

test('a group gets its id from its name, which can be changed while the id cannot', async () => {
  const created = await registry.send('POST', groupsPath, { name: 'Rive Gauche' })
  expect(created.status).toBe(201)
  expect(created.body.id).toBe('rive-gauche')
  const renamed = await registry.send('PATCH', `${groupsPath}/rive-gauche`, { name: 'Left Bank' })
  expect(renamed).toMatchObject({ status: 200, body: { id: 'rive-gauche', name: 'Left Bank' } })
  const moved = await registry.send('PATCH', `${groupsPath}/rive-gauche`, { id: 'left-bank' })
  expect(moved.status).toBe(400)
  const again = await registry.send('POST', groupsPath, { name: 'Rive gauche' })
  expect(again.status).toBe(409)
  const region = await registry.send('POST', groupsPath, { name: 'Oslo', region: 'eur' })
  expect(region.body.errors).toMatchObject([{ property: 'region' }])
})

test('a group into which another registry has just moved a connector is not deleted, and stays open', async () => {
  const bus = await registry.nats.connect('registry')
  const watching = { log: createLogger('test', 'silent') }
  const groupsOf = { bucket: buckets.connectorGroups, schema: ConnectorGroup, ...watching }
  const applicationsOf = {
    bucket: buckets.applications,
    schema: RegisteredApplication,
    ...watching,
  }
  await using store = await openStore(bus, groupsOf)
  await using applications = await openStore(bus, applicationsOf)
  const entries = new Map<string, Connector>()
  const moved = Connector.parse({
    ...{ id: 'moved', connectorGroupId: 'filling', machineName: 'm', version: '1' },
    ...{ status: 'active', lastSeenDateTime: new Date().toISOString() },
  })
  // As a view that has not seen it yet.
  const connectors = {
    entries,
    get: () => undefined,
    sync: async () => void entries.set('moved', moved),
  }
  const groups = openConnectorGroups({ store, applications, connectors })
  await groups.create({ name: 'Filling' })
  await expect(groups.remove('filling', () => undefined)).rejects.toMatchObject({ code: 'in_use' })
  expect(groups.get('filling').value.isClosing).toBe(false)
})

test('a group with applications is not deleted, and the answer names them', async () => {
  await registry.send('POST', groupsPath, { name: 'paris' })
  await publish(registry, 'wiki', { connectorGroupId: 'paris' })
  const refused = await registry.send('DELETE', `${groupsPath}/paris`)
  expect(refused.status).toBe(409)
  expect(refused.body.detail).toContain('wiki')
  expect((await registry.send('GET', `${groupsPath}/paris/applications`)).body.value).toMatchObject(
    [{ id: 'wiki' }],
  )
  const reference = { '@odata.id': `${registry.url}/v1.0${groupsPath}/default` }
  const moved = await registry.send('PUT', '/applications/wiki/connectorGroup/$ref', reference)
  expect(moved.status).toBe(204)
  expect((await registry.send('GET', '/applications/wiki/connectorGroup')).body.id).toBe('default')
  for (const id of [`${groupsPath}/paris///?a=b`, "connectorGroups('paris')"]) {
    const again = await registry.send('PUT', '/applications/wiki/connectorGroup/$ref', {
      '@odata.id': id,
    })
    expect([id, again.status]).toEqual([id, 204])
    expect((await registry.send('GET', '/applications/wiki/connectorGroup')).body.id).toBe('paris')
  }
  await registry.send('PUT', '/applications/wiki/connectorGroup/$ref', reference)
  expect((await registry.send('DELETE', `${groupsPath}/paris`)).status).toBe(204)
  expect((await registry.send('GET', `${groupsPath}/paris`)).status).toBe(404)
})

test('a reference to a group that does not exist, or to nothing, moves no application', async () => {
  await publish(registry, 'stays')
  const path = '/applications/stays/connectorGroup'
  expect((await registry.send('PUT', path, { id: 'nowhere' })).status).toBe(404)
  const misspelt = ['https://h/%zz', "connectorGroups('%')"].map(id => ({ '@odata.id': id }))
  for (const reference of [{ href: 'x' }, ...misspelt]) {
    const nothing = await registry.send('PUT', `${path}/$ref`, reference)
    expect(nothing.status).toBe(400)
    expect(nothing.body.detail).toContain('@odata.id')
  }
  for (const id of ['nowhere////', '////', '']) {
    const refused = await registry.send('PUT', `${path}/$ref`, { '@odata.id': id })
    expect([id, refused.status]).toEqual([id, 404])
  }
  expect((await registry.send('GET', path)).body.id).toBe('default')
})

test('a group with an active connector is not deleted; inactive ones are forgotten with it', async () => {
  await registry.send('POST', groupsPath, { name: 'lyon' })
  const bus = await registry.nats.connect('connector')
  const say = (state: 'serving' | 'stopped') =>
    bus.publishJson(
      subjects.connectorStatus('lyon', 'lyon-1'),
      sampleStatus({ connectorId: 'lyon-1', groupId: 'lyon', state }),
    )
  const members = async () => (await registry.send('GET', `${groupsPath}/lyon/members`)).body.value
  say('serving')
  await expect.poll(members).toMatchObject([{ id: 'lyon-1', status: 'active' }])
  const refused = await registry.send('DELETE', `${groupsPath}/lyon`)
  expect(refused.status).toBe(409)
  expect(refused.body.detail).toContain('lyon-1')
  say('stopped')
  await expect.poll(members).toMatchObject([{ id: 'lyon-1', status: 'inactive' }])
  expect((await registry.send('DELETE', `${groupsPath}/lyon`)).status).toBe(204)
  const connectors = '/onPremisesPublishingProfiles/applicationProxy/connectors/lyon-1'
  await expect.poll(async () => (await registry.send('GET', connectors)).status).toBe(404)
})

test('however close the deletion of a group and an application for it come, none is left without a group', async () => {
  await using second = await startRegistry(registryConfig(registry.nats))
  const other = adminClient(second)
  const outcomes = new Set<string>()
  for (let round = 0; round < 25; round++) {
    const [group, created, moved] = [`group-${round}`, `created-${round}`, `moved-${round}`]
    await registry.send('POST', groupsPath, { name: group })
    await publish(other, moved)
    const [deleted, ...used] = await Promise.all([
      registry.send('DELETE', `${groupsPath}/${group}`),
      publish(other, created, { connectorGroupId: group }),
      other.send('PATCH', `/applications/${moved}`, { connectorGroupId: group }),
    ])
    const isThere = (await registry.send('GET', `${groupsPath}/${group}`)).status === 200
    expect(isThere).toBe(deleted.status === 409)
    for (const id of [created, moved]) {
      const { body } = await registry.send('GET', `/applications/${id}`)
      if (body.connectorGroupId === group) expect(isThere, `${id} is in ${group}`).toBe(true)
    }
    // A group that could not be deleted takes applications as before.
    if (isThere)
      expect((await publish(registry, group, { connectorGroupId: group })).status).toBe(201)
    outcomes.add([deleted, ...used].map(({ status }) => status).join(' '))
  }
  expect([...outcomes].every(outcome => /^(204 400 400|409 .*20[14].*)$/.test(outcome))).toBe(true)
})

test('a deletion that was interrupted is finished by deleting once more, or taken back by renaming', async () => {
  const bus = await registry.nats.connect('registry')
  const bucket = await new Kvm(bus.connection).open(buckets.connectorGroups)
  for (const name of ['oslo', 'rome']) {
    const { body } = await registry.send('POST', groupsPath, { name })
    await bucket.put(name, JSON.stringify({ ...body, isClosing: true }))
    const refused = await expectRefusal(name)
    expect(refused.body.detail).toContain('is being deleted; if that was interrupted, delete it')
  }
  expect((await registry.send('GET', `${groupsPath}/oslo`)).body).not.toHaveProperty('isClosing')
  expect((await registry.send('DELETE', `${groupsPath}/oslo`)).status).toBe(204)
  await registry.send('PATCH', `${groupsPath}/rome`, { name: 'Roma' })
  expect((await publish(registry, 'forum', { connectorGroupId: 'rome' })).status).toBe(201)
})

/** Nothing can be published in this group. */
async function expectRefusal(connectorGroupId: string) {
  const answer = await publish(registry, `into-${connectorGroupId}`, { connectorGroupId })
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toMatchObject([{ property: 'connectorGroupId' }])
  return answer
}

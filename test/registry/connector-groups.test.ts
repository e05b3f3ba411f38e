import { afterAll, beforeAll, expect, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { groupsPath, publish, startTestRegistry, type TestRegistry } from './fixture.ts'
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
  expect((await registry.send('DELETE', `${groupsPath}/paris`)).status).toBe(204)
  expect((await registry.send('GET', `${groupsPath}/paris`)).status).toBe(404)
})

test('a reference to a group that does not exist, or to nothing, moves no application', async () => {
  await publish(registry, 'stays')
  const path = '/applications/stays/connectorGroup'
  expect((await registry.send('PUT', path, { id: 'nowhere' })).status).toBe(404)
  const nothing = await registry.send('PUT', `${path}/$ref`, { href: 'x' })
  expect(nothing.status).toBe(400)
  expect(nothing.body.detail).toContain('@odata.id')
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

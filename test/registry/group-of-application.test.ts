/** Which connector groups an application may be put into: its own, and one that stands by. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { groupsPath, publish, startTestRegistry, type TestRegistry } from './fixture.ts'

let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry({ SALLYPORT_REGISTRY_DEFAULT_GROUP_SERVES: 'false' })
  for (const name of ['paris', 'lyon', 'rome']) await registry.send('POST', groupsPath, { name })
})
afterAll(() => registry[Symbol.asyncDispose]())

const patch = (id: string, body: object) => registry.send('PATCH', `/applications/${id}`, body)
const read = async (id: string) => (await registry.send('GET', `/applications/${id}`)).body

test('the default group serves nothing: no application is published from it', async () => {
  const refused = await publish(registry, 'nowhere')
  expect(refused.status).toBe(400)
  expect(refused.body.errors).toMatchObject([{ property: 'connectorGroupId' }])
  expect(refused.body.detail).toContain('"default" serves no application: create another one')
  expect((await publish(registry, 'wiki', { connectorGroupId: 'paris' })).status).toBe(201)
  for (const body of [{ connectorGroupId: 'default' }, { standbyConnectorGroupId: 'default' }]) {
    expect((await patch('wiki', body)).status).toBe(400)
  }
  const reference = { id: 'default' }
  const moved = await registry.send('PUT', '/applications/wiki/connectorGroup', reference)
  expect(moved.status).toBe(400)
  expect(await read('wiki')).toMatchObject({ connectorGroupId: 'paris' })
})

test('an application that is not published may wait in the default group, and is published from another', async () => {
  const draft = await registry.send('POST', '/applications', { id: 'draft', displayName: 'Draft' })
  expect(draft).toMatchObject({ status: 201, body: { connectorGroupId: 'default' } })
  const onPremisesPublishing = { internalUrl: 'http://draft.internal/' }
  expect((await patch('draft', { onPremisesPublishing })).status).toBe(400)
  const there = { onPremisesPublishing, connectorGroupId: 'lyon' }
  expect((await patch('draft', there)).status).toBe(204)
})

test('a standby group is set, changed and taken away', async () => {
  const groups = { connectorGroupId: 'paris', standbyConnectorGroupId: 'lyon' }
  expect(await publish(registry, 'shop', groups)).toMatchObject({ status: 201, body: groups })
  await patch('shop', { standbyConnectorGroupId: 'rome' })
  expect(await read('shop')).toMatchObject({ standbyConnectorGroupId: 'rome' })
  await patch('shop', { displayName: 'Shop' })
  expect(await read('shop')).toMatchObject({ standbyConnectorGroupId: 'rome' })
  await patch('shop', { standbyConnectorGroupId: null })
  expect(await read('shop')).toMatchObject({ standbyConnectorGroupId: null })
})

test('a standby group must exist and be another one, and is not deleted while it stands by', async () => {
  await publish(registry, 'mail', { connectorGroupId: 'paris' })
  const unknown = await patch('mail', { standbyConnectorGroupId: 'nowhere' })
  expect(unknown.body.errors).toMatchObject([{ property: 'standbyConnectorGroupId' }])
  expect(unknown.body.detail).toContain('there is no connector group "nowhere"')
  expect((await patch('mail', { standbyConnectorGroupId: 'paris' })).status).toBe(400)
  await registry.send('POST', groupsPath, { name: 'oslo' })
  await patch('mail', { standbyConnectorGroupId: 'oslo' })
  expect((await patch('mail', { connectorGroupId: 'oslo' })).status).toBe(400)
  const refused = await registry.send('DELETE', `${groupsPath}/oslo`)
  expect(refused.status).toBe(409)
  expect(refused.body.detail).toContain('mail')
  await patch('mail', { standbyConnectorGroupId: null })
  expect((await registry.send('DELETE', `${groupsPath}/oslo`)).status).toBe(204)
})

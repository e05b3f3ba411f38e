import { afterAll, beforeAll, expect, test } from 'vitest'
import { publish, startTestRegistry, type TestRegistry } from './fixture.ts'

let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry()
  await publish(registry, 'wiki', { displayName: 'Wiki' })
  await publish(registry, 'mail')
})
afterAll(() => registry[Symbol.asyncDispose]())

const assignedTo = '/servicePrincipals/wiki/appRoleAssignedTo'

test('an assignment made from the application is seen from the user, and taken away there', async () => {
  const made = await registry.send('POST', assignedTo, {
    principalType: 'User',
    principalId: 'anna@example.com',
  })
  expect(made.status).toBe(201)
  expect(made.body).toMatchObject({
    appRoleId: '00000000-0000-0000-0000-000000000000',
    principalType: 'User',
    principalId: 'anna@example.com',
    resourceId: 'wiki',
    resourceDisplayName: 'Wiki',
  })
  const fromUser = '/users/Anna@Example.com/appRoleAssignments'
  expect((await registry.send('GET', fromUser)).body.value).toEqual([made.body])
  expect((await registry.send('DELETE', `${fromUser}/${made.body.id}`)).status).toBe(204)
  expect((await registry.send('GET', assignedTo)).body.value).toEqual([])
})

test('an assignment made from the group is seen from the application', async () => {
  const fromGroup = `/groups/${encodeURIComponent('All Staff')}/appRoleAssignments`
  const made = await registry.send('POST', fromGroup, { resourceId: 'mail' })
  expect(made.status).toBe(201)
  const listed = await registry.send('GET', '/servicePrincipals/mail/appRoleAssignedTo')
  expect(listed.body.value).toMatchObject([{ principalType: 'Group', principalId: 'All Staff' }])
  const remove = `/servicePrincipals/mail/appRoleAssignedTo/${made.body.id}`
  expect((await registry.send('DELETE', remove)).status).toBe(204)
  expect((await registry.send('DELETE', remove)).status).toBe(404)
})

test('nobody is assigned twice, whatever the case of the user principal name', async () => {
  const principal = { principalType: 'User', principalId: 'bob@example.com' }
  await registry.send('POST', assignedTo, principal)
  const again = await registry.send('POST', assignedTo, {
    ...principal,
    principalId: 'BOB@example.com',
  })
  expect(again.status).toBe(409)
  expect(again.body.code).toBe('already_exists')
})

test("a user cannot take away an assignment that is somebody else's", async () => {
  const made = await registry.send('POST', assignedTo, {
    principalType: 'User',
    principalId: 'carol@example.com',
  })
  const path = `/users/mallory@example.com/appRoleAssignments/${made.body.id}`
  expect((await registry.send('DELETE', path)).status).toBe(404)
  const listed = await registry.send('GET', '/users/carol@example.com/appRoleAssignments')
  expect(listed.body.value).toHaveLength(1)
})

test.each([
  ['without a type', { principalId: 'x@example.com' }, 'principalType'],
  [
    'of a service principal',
    { principalId: 'x', principalType: 'ServicePrincipal' },
    'principalType',
  ],
  ['without a principal', { principalType: 'User' }, 'principalId'],
  [
    'of another role than the default one',
    { principalType: 'User', principalId: 'x', appRoleId: '3f2504e0-4f89-41d3-9a0c-0305e82c3301' },
    'appRoleId',
  ],
  [
    'for another application',
    { principalType: 'User', principalId: 'x', resourceId: 'mail' },
    'resourceId',
  ],
])('an assignment %s is refused by name', async (_, body, property) => {
  const answer = await registry.send('POST', assignedTo, body)
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toMatchObject([{ property }])
})

test('the switch that lets every signed-in user in stands on the service principal', async () => {
  const path = '/servicePrincipals/mail'
  expect((await registry.send('GET', path)).body).toMatchObject({
    servicePrincipalType: 'Application',
    appRoleAssignmentRequired: true,
  })
  const answer = await registry.send('PATCH', path, { appRoleAssignmentRequired: false })
  expect(answer.status).toBe(204)
  expect((await registry.send('GET', '/applications/mail')).body.appRoleAssignmentRequired).toBe(
    false,
  )
})

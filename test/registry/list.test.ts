import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import {
  connectorsPath,
  groupsPath,
  publish,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'
import { sampleStatus } from './sample-status.ts'

let registry: TestRegistry

const names = ['Wiki', 'Bob’s Docs', "Bob's Mail", 'archive', 'Wiki']

beforeAll(async () => {
  registry = await startTestRegistry()
  for (const [number, displayName] of names.entries()) {
    await publish(registry, `app-${number}`, { displayName })
  }
  await registry.send('POST', groupsPath, { name: 'Left Bank' })
  const bus = await registry.nats.connect('connector')
  for (const [connectorId, state] of [
    ['seine-1', 'serving'],
    ['seine-2', 'stopped'],
  ] as const) {
    const machineName = `${connectorId}.internal`
    const status = sampleStatus({ connectorId, machineName, state })
    bus.publishJson(subjects.connectorStatus('default', connectorId), status)
  }
  const connectors = async () => (await registry.send('GET', connectorsPath)).body.value
  await vi.waitFor(async () => expect(await connectors()).toHaveLength(2), { timeout: 10_000 })
})
afterAll(() => registry[Symbol.asyncDispose]())

const ask = (path: string, options: Record<string, string>) =>
  registry.send('GET', `${path}?${new URLSearchParams(options)}`)

const idsOf = async (path: string, options: Record<string, string>): Promise<string[]> => {
  const { status, body } = await ask(path, options)
  expect(status, JSON.stringify(body)).toBe(200)
  return body.value.map(({ id }: { id: string }) => id)
}

describe('$filter', () => {
  test.each([
    ['/applications', "displayName eq 'wiki'", ['app-0', 'app-4']],
    ['/applications', "displayName eq 'Bob''s Mail'", ['app-2']],
    ['/applications', "displayName eq 'nobody'", []],
    ['/applications', "id eq 'app-3'", ['app-3']],
    ['/servicePrincipals', "displayName eq 'archive'", ['app-3']],
    [groupsPath, "name eq 'Left Bank'", ['left-bank']],
    [`${groupsPath}/default/applications`, "displayName eq 'archive'", ['app-3']],
    [`${groupsPath}/default/members`, "status eq 'active'", ['seine-1']],
    [connectorsPath, "status eq 'inactive'", ['seine-2']],
    [connectorsPath, "machineName eq 'seine-1.internal'", ['seine-1']],
  ])('of %s, %s, finds %j', async (path, $filter, ids) => {
    expect(await idsOf(path, { $filter })).toEqual(ids)
  })

  test('finds an application by its appId, as its application and as its service principal', async () => {
    const { appId } = (await registry.send('GET', '/applications/app-1')).body
    for (const path of ['/applications', '/servicePrincipals']) {
      expect(await idsOf(path, { $filter: `appId eq '${appId}'` })).toEqual(['app-1'])
    }
  })
})

describe('$orderby', () => {
  test.each([
    ['displayName', ['app-3', 'app-2', 'app-1', 'app-0', 'app-4']],
    ['displayName desc', ['app-4', 'app-0', 'app-1', 'app-2', 'app-3']],
    ['id asc', ['app-0', 'app-1', 'app-2', 'app-3', 'app-4']],
  ])('%s orders all pages together', async ($orderby, ids) => {
    const found: string[] = []
    let path = `/applications?${new URLSearchParams({ $orderby, $top: '2', $select: 'id' })}`
    while (path !== '') {
      const { body } = await registry.send('GET', path)
      for (const item of body.value) {
        expect(Object.keys(item)).toEqual(['@odata.etag', 'id'])
        found.push(item.id)
      }
      path = body['@odata.nextLink']?.slice(`${registry.url}/v1.0`.length) ?? ''
    }
    expect(found).toEqual(ids)
  })
})

test('behind TLS the link to the next page leads there, and not to where the token would be read', async () => {
  const linkWith = async (headers: Record<string, string>) =>
    (await registry.send('GET', '/applications?$top=1', undefined, headers)).body['@odata.nextLink']
  expect(await linkWith({ 'x-forwarded-proto': 'https' })).toMatch(/^https:\/\/127\.0\.0\.1:/)
  expect(await linkWith({ 'x-forwarded-proto': 'gopher' })).toMatch(/^http:\/\//)
})

test('the next page is there, however long the names are that a list is ordered by', async () => {
  for (const id of ['long-1', 'long-2'])
    await publish(registry, id, { displayName: '漢'.repeat(256) })
  const $filter = `displayName eq '${'漢'.repeat(256)}'`
  const first = await ask('/applications', { $filter, $orderby: 'displayName', $top: '1' })
  const link = first.body['@odata.nextLink'].slice(`${registry.url}/v1.0`.length)
  for (const id of ['long-1', 'long-2']) await registry.send('DELETE', `/applications/${id}`)
  expect((await registry.send('GET', link)).body).toEqual({ value: [] })
})

describe('$select', () => {
  test('leaves only what it names, in lists and of one resource', async () => {
    const $select = 'displayName,id'
    const { body } = await ask('/applications/app-0', { $select })
    expect(Object.keys(body).sort()).toEqual(['@odata.etag', 'displayName', 'id'])
    const one = await ask(`${connectorsPath}/seine-1`, { $select: 'machineName' })
    const machineName = 'seine-1.internal'
    expect(one.body).toEqual({ '@odata.etag': expect.any(String), machineName })
    const publishing = await ask('/applications/app-0/onPremisesPublishing', {
      $select: 'internalUrl',
    })
    expect(publishing.body).toEqual({ internalUrl: 'http://app-0.internal/' })
  })
})

describe('$count', () => {
  test('counts what the filter lets through, on all pages', async () => {
    const { body } = await ask('/applications', {
      $count: 'true',
      $top: '1',
      $filter: "displayName eq 'Wiki'",
    })
    expect(body['@odata.count']).toBe(2)
    expect(body.value).toHaveLength(1)
    expect((await ask('/applications', { $count: 'false' })).body).not.toHaveProperty(
      '@odata.count',
    )
  })
})

describe('an option that is not understood is refused by name', () => {
  test.each([
    ['$filter', 'displayName'],
    ['$filter', "displayName ne 'x'"],
    ['$filter', "displayName eq 'x' or id eq 'y'"],
    ['$filter', "displayName eq 'it's'"],
    ['$filter', 'displayName eq null'],
    ['$filter', "startswith(displayName,'W')"],
    ['$filter', "machineName eq 'x'"],
    ['$filter', "constructor eq 'x'"],
    ['$orderby', 'createdDateTime'],
    ['$orderby', 'id sideways'],
    ['$orderby', 'id,displayName'],
    ['$select', 'colour'],
    ['$select', ''],
    ['$select', 'appRoleAssignments'],
    ['$count', 'yes'],
    ['$top', '1.5'],
    ['$skiptoken', 'made-up'],
    ['$skiptoken', 'bnVsbA'],
  ])('%s=%s', async (name, value) => {
    const answer = await ask('/applications', { [name]: value })
    expect(answer.status).toBe(400)
    expect(answer.body.errors).toMatchObject([{ property: name, message: expect.any(String) }])
  })

  test.each(['$expand', '$search', '$skip', 'filter'])('%s', async name => {
    for (const path of ['/applications', '/applications/app-0', '/servicePrincipals']) {
      const answer = await ask(path, { [name]: 'displayName' })
      expect(answer.status).toBe(400)
      expect(answer.body.errors).toEqual([{ property: name, message: 'is not supported here' }])
    }
  })

  test('and the answer says what could be said instead', async () => {
    const answer = await ask(connectorsPath, { $filter: "colour eq 'blue'" })
    expect(answer.body.detail).toContain(
      "NAME eq 'VALUE', where NAME is one of id, machineName, status",
    )
  })
})

test('there is one service principal per application, with its id and appId', async () => {
  const applications = (await registry.send('GET', '/applications')).body.value
  const principals = (await registry.send('GET', '/servicePrincipals')).body.value
  expect(principals).toHaveLength(names.length)
  for (const [number, { id, appId, displayName }] of applications.entries()) {
    const principal = { id, appId, displayName, appRoleAssignmentRequired: true }
    expect(principals[number]).toMatchObject(principal)
    const one = await registry.send('GET', `/servicePrincipals(appId='${appId}')`)
    expect(one.body).toEqual(principals[number])
  }
})

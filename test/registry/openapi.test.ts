import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { subjects } from '#infra/subjects.ts'
import { seedConditionalAccess } from './conditional-access.ts'
import {
  adminToken,
  connectorsPath,
  groupsPath,
  publish,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'
import {
  type Described,
  OpenApiDocument,
  operationsOf,
  type Response,
  resolve,
  violations,
} from './openapi-document.ts'
import { sampleStatus } from './sample-status.ts'

let registry: TestRegistry
let document: OpenApiDocument

beforeAll(async () => {
  registry = await startTestRegistry()
  const response = await fetch(`${registry.url}/openapi.json`)
  document = OpenApiDocument.parse(await response.json())
})
afterAll(() => registry[Symbol.asyncDispose]())

const policiesPath = '/identity/conditionalAccess/policies'
const locationsPath = '/identity/conditionalAccess/namedLocations'

type JsonSchema = Parameters<typeof z.fromJSONSchema>[0]

/** The schema that the document has for an answer. */
function answerSchema({ operation }: Described, status: number, mediaType: string): z.ZodType {
  const given = operation.responses[String(status)] ?? operation.responses.default
  const response = given && resolve<Response>(document, given)
  const schema = response?.content?.[mediaType]?.schema
  if (!schema) throw new Error(`${status} with ${mediaType} is not described`)
  return z.fromJSONSchema(schema as JsonSchema)
}

const described = (method: string, path: string): Described => {
  const found = operationsOf(document).find(each => each.method === method && each.path === path)
  if (!found) throw new Error(`${method} ${path} is not described`)
  return found
}

describe('the description of the API', () => {
  test('is a valid OpenAPI 3.1 document', () => {
    expect(violations(document)).toEqual([])
  })

  test('would be found invalid with a path parameter, a schema, an error or the token missing', () => {
    const path = '/applications/{id}'
    const broken = (change: (operation: Described['operation']) => void) => {
      const copy = structuredClone(document)
      const operation = copy.paths[path]?.get
      if (operation) change(operation)
      return violations(copy).join()
    }
    const strings = { 'application/json': { schema: { type: 'strings' } } }
    expect(broken(operation => operation.parameters.splice(0))).toContain('path parameters differ')
    expect(
      broken(operation => {
        operation.responses['200'] = { description: 'Nothing.' }
      }),
    ).toContain('200 has content, or none')
    expect(
      broken(operation => {
        operation.responses['200'] = { description: 'Strings.', content: strings }
      }),
    ).toContain('Unsupported type: strings')
    expect(broken(operation => delete operation.responses.default)).toContain('never fails')
    expect(
      broken(operation => {
        operation.security = []
      }),
    ).toContain('open to everybody')
  })

  test('names both versions as servers, and no version in its paths', () => {
    expect(document.servers).toEqual([{ url: '/v1.0' }, { url: '/beta' }])
    expect(Object.keys(document.paths).filter(path => /^\/(v1\.0|beta)/.test(path))).toEqual([])
  })

  test('has only what is there: every operation is offered, at both versions', async () => {
    for (const { url } of document.servers) {
      for (const { method, path } of operationsOf(document)) {
        const response = await fetch(`${registry.url}${url}${path.replace(/\{\w+\}/g, 'none')}`, {
          method: method.toUpperCase(),
          headers: { authorization: `Bearer ${adminToken}` },
        })
        const text = await response.text()
        expect(response.status, `${method} ${path}`).not.toBe(405)
        expect(text, `${method} ${path}`).not.toContain('there is nothing at')
      }
    }
  })
})

describe('what it says of answers', () => {
  const filled = {
    '/applications': '/applications',
    '/applications/{id}': '/applications/wiki',
    '/applications/{id}/onPremisesPublishing': '/applications/wiki/onPremisesPublishing',
    '/applications/{id}/connectorGroup': '/applications/wiki/connectorGroup',
    [groupsPath]: groupsPath,
    [`${groupsPath}/{id}`]: `${groupsPath}/default`,
    [`${groupsPath}/{id}/members`]: `${groupsPath}/default/members`,
    [`${groupsPath}/{id}/applications`]: `${groupsPath}/default/applications`,
    [connectorsPath]: connectorsPath,
    [`${connectorsPath}/{id}`]: `${connectorsPath}/c-1`,
    [`${connectorsPath}/{id}/memberOf`]: `${connectorsPath}/c-1/memberOf`,
    '/servicePrincipals': '/servicePrincipals',
    '/servicePrincipals/{id}': '/servicePrincipals/wiki',
    '/servicePrincipals/{id}/appRoleAssignedTo': '/servicePrincipals/wiki/appRoleAssignedTo',
    '/users/{id}/appRoleAssignments': '/users/anna@example.com/appRoleAssignments',
    '/groups/{id}/appRoleAssignments': '/groups/Staff/appRoleAssignments',
    [policiesPath]: policiesPath,
    [`${policiesPath}/{id}`]: `${policiesPath}/p-1`,
    [locationsPath]: locationsPath,
    [`${locationsPath}/{id}`]: `${locationsPath}/l-1`,
    '/identity/conditionalAccess/facts': '/identity/conditionalAccess/facts',
    '/identityProtection/riskyUsers': '/identityProtection/riskyUsers',
    '/auditLogs/explanations/{supportId}': '/auditLogs/explanations/request-1',
  }

  test('holds for everything that can be read', async () => {
    await publish(registry, 'wiki')
    await registry.send('POST', '/applications', { displayName: 'Not Published' })
    for (const [principalType, principalId] of [
      ['User', 'anna@example.com'],
      ['Group', 'Staff'],
    ]) {
      const body = { principalType, principalId }
      await registry.send('POST', '/servicePrincipals/wiki/appRoleAssignedTo', body)
    }
    await seedConditionalAccess(registry)
    const bus = await registry.nats.connect('connector')
    bus.publishJson(subjects.connectorStatus('default', 'c-1'), sampleStatus())
    const isThere = async () => (await registry.send('GET', `${connectorsPath}/c-1`)).status
    await expect.poll(isThere, { timeout: 10_000 }).toBe(200)
    const readable = operationsOf(document).filter(({ method }) => method === 'get')
    expect(readable.map(({ path }) => path).sort()).toEqual(Object.keys(filled).sort())
    for (const [path, actual] of Object.entries(filled)) {
      const { status, body } = await registry.send('GET', actual)
      expect(status, actual).toBe(200)
      const schema = answerSchema(described('get', path), status, 'application/json')
      expect(schema.safeParse(body), actual).toMatchObject({ success: true })
      if (actual.endsWith('s') && 'value' in body) expect(body.value, actual).not.toEqual([])
    }
  })

  test.each([
    ['post', '/applications', '/applications', { id: 'Bad Id' }, 400],
    ['post', '/applications', '/applications', { id: 'fresh' }, 201],
    ['post', '/applications', '/applications', { id: 'fresh' }, 409],
    ['patch', '/applications/{id}', '/applications/nothing', {}, 404],
    ['post', groupsPath, groupsPath, { name: 'Lyon' }, 201],
    ['patch', `${groupsPath}/{id}`, `${groupsPath}/lyon`, { name: 'Vieux Lyon' }, 200],
  ])('holds for %s %s with what it answers', async (method, path, actual, sent, status) => {
    const answer = await registry.send(method.toUpperCase(), actual, sent)
    expect(answer.status).toBe(status)
    const mediaType = status < 400 ? 'application/json' : 'application/problem+json'
    const schema = answerSchema(described(method, path), status, mediaType)
    expect(schema.safeParse(answer.body)).toMatchObject({ success: true })
  })

  test('and of bodies: what it allows is taken, and what it forbids is refused', async () => {
    const { operation } = described('post', '/applications')
    const body = operation.requestBody?.content['application/json']?.schema
    const schema = z.fromJSONSchema(body as JsonSchema)
    const publishing = { internalUrl: 'http://body.internal/' }
    for (const [sent, isGood] of [
      [{ displayName: 'Body' }, true],
      [{ displayName: 'Body 2', onPremisesPublishing: publishing }, true],
      [{ displayName: 'Body 3', onPremisesPublishing: null }, true],
      [{ displayName: 'Body 4', onPremisesPublishing: {} }, false],
      [{ displayName: 'Body 5', colour: 'blue' }, false],
      [{ displayName: 5 }, false],
    ] as const) {
      expect(schema.safeParse(sent).success, JSON.stringify(sent)).toBe(isGood)
      const { status } = await registry.send('POST', '/applications', sent)
      expect(status, JSON.stringify(sent)).toBe(isGood ? 201 : 400)
    }
  })
})

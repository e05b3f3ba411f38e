import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { startRegistry } from '../../registry/registry.ts'
import {
  type Answer,
  adminClient,
  listen,
  publish,
  registryConfig,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'

let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry()
})
afterAll(() => registry[Symbol.asyncDispose]())

const problems = ({ body }: Answer) =>
  Object.fromEntries(
    body.errors.map((each: { property: string; message: string }) => [each.property, each.message]),
  )

describe('publishing', () => {
  test('an application needs no more than a name and an internal URL', async () => {
    const { status, headers, body } = await registry.send('POST', '/applications', {
      displayName: 'Café Wiki (Paris)',
      onPremisesPublishing: { internalUrl: 'http://wiki.internal:3000/start' },
    })
    expect(status).toBe(201)
    expect(headers.get('location')).toBe('/v1.0/applications/cafe-wiki-paris')
    expect(body).toMatchObject({
      id: 'cafe-wiki-paris',
      displayName: 'Café Wiki (Paris)',
      appRoleAssignmentRequired: true,
      connectorGroupId: 'default',
      onPremisesPublishing: {
        internalUrl: 'http://wiki.internal:3000/start/',
        externalUrl: 'http://cafe-wiki-paris.sallyport.localhost:8080/',
        externalAuthenticationType: 'aadPreAuthentication',
        applicationServerTimeout: 'default',
      },
    })
  })

  test('two applications cannot have the same id', async () => {
    await publish(registry, 'twice')
    const again = await publish(registry, 'twice')
    expect(again.status).toBe(409)
    expect(again.body.detail).toContain('"twice"')
  })

  test('two applications cannot have the same host and path, and the answer names the other', async () => {
    const externalUrl = 'https://shop.example.com/store/'
    const internalUrl = 'http://shop.internal/'
    await publish(registry, 'shop', { onPremisesPublishing: { internalUrl, externalUrl } })
    const same = { internalUrl, externalUrl: 'http://SHOP.example.com:8080/store' }
    const other = await publish(registry, 'shop-two', { onPremisesPublishing: same })
    expect(other.status).toBe(409)
    expect(other.body.code).toBe('already_exists')
    expect(problems(other)['onPremisesPublishing.externalUrl']).toContain('"shop"')
    const deeper = { internalUrl, externalUrl: 'https://shop.example.com/store/admin/' }
    expect((await publish(registry, 'shop-admin', { onPremisesPublishing: deeper })).status).toBe(
      201,
    )
  })

  test("an application cannot take the portal's host", async () => {
    const answer = await publish(registry, 'portal')
    expect(answer.status).toBe(400)
    expect(problems(answer)['onPremisesPublishing.externalUrl']).toContain('portal')
  })

  test.each([
    ['https://own.example.com/.sallyport', 'belongs to the gateway'],
    ['https://own.example.com/.sallyport/health/', 'belongs to the gateway'],
    ['https://odd.example.com/%00/', 'two ways'],
    ['https://odd.example.com/a%5Cb/', 'two ways'],
    ['https://odd.example.com/a%2f..%2fb/', 'two ways'],
  ])('%s, which no request would reach, is refused', async (externalUrl, why) => {
    const urls = { internalUrl: 'http://odd.internal/', externalUrl }
    const answer = await publish(registry, 'odd', { onPremisesPublishing: urls })
    expect(answer.status).toBe(400)
    expect(problems(answer)['onPremisesPublishing.externalUrl']).toContain(why)
  })

  test('a path that only looks like one of the gateway can be published', async () => {
    const urls = {
      internalUrl: 'http://near.internal/',
      externalUrl: 'https://near.example.com/.sallyport-wiki/',
    }
    const answer = await publish(registry, 'near', { onPremisesPublishing: urls })
    expect(answer.status).toBe(201)
  })

  test('a connector group that does not exist is refused', async () => {
    const answer = await publish(registry, 'lost', { connectorGroupId: 'nowhere' })
    expect(answer.status).toBe(400)
    expect(problems(answer).connectorGroupId).toBe('there is no connector group "nowhere"')
  })

  test('every bad property is named, with what is wrong with it', async () => {
    const answer = await registry.send('POST', '/applications', {
      displayName: '',
      colour: 'blue',
      onPremisesPublishing: {
        externalUrl: 'https://user:secret@x.example.com/',
        applicationServerTimeout: 'forever',
        isTurbo: true,
      },
    })
    expect(answer.status).toBe(400)
    expect(problems(answer)).toMatchObject({
      displayName: expect.any(String),
      colour: 'is not a property that can be set here',
      'onPremisesPublishing.internalUrl': 'is required',
      'onPremisesPublishing.externalUrl': 'must have no query, fragment, user or password',
      'onPremisesPublishing.applicationServerTimeout': expect.stringContaining('"long"'),
      'onPremisesPublishing.isTurbo': 'is not a property that can be set here',
    })
  })

  test('without a base URL an external URL has to be given', async () => {
    await using plain = await startTestRegistry({ SALLYPORT_REGISTRY_EXTERNAL_BASE_URL: '' })
    const answer = await publish(plain, 'bare')
    expect(answer.status).toBe(400)
    expect(problems(answer)['onPremisesPublishing.externalUrl']).toContain(
      'SALLYPORT_REGISTRY_EXTERNAL_BASE_URL',
    )
  })
})

describe('properties of Graph that are not enforced', () => {
  const harmless = {
    alternateUrl: null,
    applicationType: 'enterpriseapp',
    isAccessibleViaZTNAClient: false,
    isContinuousAccessEvaluationEnabled: false,
    isDnsResolutionEnabled: false,
    isOnPremPublishingEnabled: true,
    isStateSessionEnabled: false,
    isTranslateLinksInBodyEnabled: false,
    segmentsConfiguration: {
      '@odata.type': '#microsoft.graph.webSegmentConfiguration',
      applicationSegments: [],
    },
    singleSignOnSettings: { singleSignOnMode: 'none', kerberosSignOnSettings: null },
    trafficRoutingMethod: 'none',
    useAlternateUrlForTranslationAndRedirect: false,
    verifiedCustomDomainKeyCredential: null,
    wafAllowedHeaders: null,
    wafIpRanges: [],
  }

  test('load while they ask for nothing', async () => {
    const internalUrl = 'http://exported.internal/'
    const answer = await publish(registry, 'exported', {
      onPremisesPublishing: { ...harmless, internalUrl },
    })
    expect(answer.body.errors ?? []).toEqual([])
    expect(answer.status).toBe(201)
    expect(answer.body.onPremisesPublishing).not.toHaveProperty('trafficRoutingMethod')
  })

  test.each([
    ['alternateUrl', 'https://other.example.com/'],
    ['isStateSessionEnabled', true],
    ['isOnPremPublishingEnabled', false],
    ['isTranslateLinksInBodyEnabled', true],
    ['segmentsConfiguration', { applicationSegments: [{ externalUrl: 'https://a.example.com/' }] }],
    ['wafIpRanges', [{ cidrAddress: '10.0.0.0/8' }]],
    ['trafficRoutingMethod', 'performance'],
  ])('%s is refused by name when it says something', async (name, value) => {
    const path = '/applications/exported/onPremisesPublishing'
    const answer = await registry.send('PATCH', path, { [name]: value })
    expect(answer.status).toBe(400)
    expect(problems(answer)[name]).toContain('not enforced by Sallyport yet')
  })
})

describe('changing', () => {
  test('a change merges, and null brings the default back', async () => {
    await publish(registry, 'merged')
    const path = '/applications/merged/onPremisesPublishing'
    const long = await registry.send('PATCH', path, { applicationServerTimeout: 'long' })
    expect(long.status).toBe(204)
    await registry.send('PATCH', path, { isPersistentCookieEnabled: true })
    expect((await registry.send('GET', path)).body).toMatchObject({
      internalUrl: 'http://merged.internal/',
      applicationServerTimeout: 'long',
      isPersistentCookieEnabled: true,
    })
    const reset = { onPremisesPublishing: { applicationServerTimeout: null } }
    const prefer = { prefer: 'return=representation' }
    const answer = await registry.send('PATCH', '/applications/merged', reset, prefer)
    expect(answer.status).toBe(200)
    expect(answer.body.onPremisesPublishing).toMatchObject({
      applicationServerTimeout: 'default',
      isPersistentCookieEnabled: true,
    })
  })

  test('what was read can be sent back as it is, and changes nothing', async () => {
    await publish(registry, 'mirrored')
    const read = await registry.send('GET', '/applications/mirrored')
    const sent = await registry.send('PATCH', '/applications/mirrored', read.body)
    expect(sent.status).toBe(204)
    expect(sent.headers.get('etag')).toBe(read.headers.get('etag'))
  })

  test.each(['id', 'appId', 'uniqueName', 'createdDateTime'])(
    '%s cannot be changed',
    async name => {
      await publish(registry, 'fixed')
      const { body } = await registry.send('GET', '/applications/fixed')
      const others: Record<string, string> = {
        id: 'other',
        appId: '3f2504e0-4f89-41d3-9a0c-0305e82c3301',
        uniqueName: 'other',
        createdDateTime: '2020-01-01T00:00:00.000Z',
      }
      // What is said beside it may be as it is.
      for (const more of [{}, { id: 'fixed' }]) {
        const patch = { ...more, [name]: others[name] }
        const answer = await registry.send('PATCH', '/applications/fixed', patch)
        expect(answer.status).toBe(400)
        expect(problems(answer)).toEqual({ [name]: 'cannot be changed' })
      }
      expect((await registry.send('GET', '/applications/fixed')).body).toEqual(body)
    },
  )

  test('a uniqueName is not taken beside an id that it does not name', async () => {
    const answer = await publish(registry, 'two-names', { uniqueName: 'Another' })
    expect({ status: answer.status, names: Object.keys(problems(answer)) }).toEqual({
      status: 400,
      names: ['uniqueName'],
    })
    expect((await publish(registry, 'two-names', { uniqueName: 'Two Names' })).status).toBe(201)
  })

  test('a change made for an older state is refused with 412 and changes nothing', async () => {
    const created = await publish(registry, 'contested')
    const etag = created.headers.get('etag') ?? ''
    const first = await registry.send(
      'PATCH',
      '/applications/contested',
      { displayName: 'First' },
      { 'if-match': etag },
    )
    expect(first.status).toBe(204)
    const second = await registry.send(
      'PATCH',
      '/applications/contested',
      { displayName: 'Second' },
      { 'if-match': etag },
    )
    expect(second.status).toBe(412)
    expect(second.body.code).toBe('precondition_failed')
    const late = await registry.send('DELETE', '/applications/contested', undefined, {
      'if-match': etag,
    })
    expect(late.status).toBe(412)
    const present = await registry.send('GET', '/applications/contested')
    expect(present.body.displayName).toBe('First')
    expect(first.headers.get('etag')).toBe(present.headers.get('etag'))
  })

  test('an application is found by its appId too, and in the key form of OData', async () => {
    const { body } = await publish(registry, 'keyed')
    expect((await registry.send('GET', `/applications/${body.appId}`)).body.id).toBe('keyed')
    const byKey = await registry.send('GET', `/applications(appId='${body.appId}')`)
    expect(byKey.body.id).toBe('keyed')
    expect((await registry.send('GET', `/applications('keyed')`)).body.id).toBe('keyed')
    const shouted = body.appId.toUpperCase()
    expect((await registry.send('GET', `/applications/${shouted}`)).body.id).toBe('keyed')
    const other = await publish(registry, 'keyed-too', { appId: shouted })
    expect(other.status).toBe(409)
    expect(problems(other)).toEqual({ appId: 'belongs to the application "keyed"' })
  })

  test('what was deleted is gone, and its address is free again', async () => {
    await publish(registry, 'brief')
    expect((await registry.send('DELETE', '/applications/brief')).status).toBe(204)
    expect((await registry.send('GET', '/applications/brief')).status).toBe(404)
    expect((await registry.send('DELETE', '/applications/brief')).status).toBe(404)
    expect((await publish(registry, 'brief')).status).toBe(201)
  })
})

describe('several registries on one bus', () => {
  test('an address goes to one application only, however many ask for it at once', async () => {
    await using second = await startRegistry(registryConfig(registry.nats))
    const admins = [registry, adminClient(second)]
    const externalUrl = 'https://wanted.example.com/'
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, number) => {
        const id = `wants-${number}`
        const internalUrl = `http://${id}.internal/`
        const admin = admins[number % 2] ?? registry
        return publish(admin, id, { onPremisesPublishing: { internalUrl, externalUrl } })
      }),
    )
    const statuses = answers.map(({ status }) => status).sort()
    expect(statuses).toEqual([201, ...Array(11).fill(409)])
  })

  test('changes that do not contradict each other all happen', async () => {
    await using second = await startRegistry(registryConfig(registry.nats))
    const admins = [registry, adminClient(second)]
    await publish(registry, 'busy')
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, number) =>
        (admins[number % 2] ?? registry).send('POST', '/servicePrincipals/busy/appRoleAssignedTo', {
          principalType: 'User',
          principalId: `user${number}@example.com`,
        }),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(201))
    // What the other registry has written is here as soon as its watch has told it.
    const listed = () => registry.send('GET', '/servicePrincipals/busy/appRoleAssignedTo')
    await expect.poll(async () => (await listed()).body.value).toHaveLength(20)
  })
})

test('every change is audited with actor and property names, without values; so is every refused one', async () => {
  const events = await listen(registry.nats, 'auditor', subjects.auditsLike('admin'))
  await publish(registry, 'watched')
  await registry.send('PATCH', '/applications/watched/onPremisesPublishing', {
    internalUrl: 'http://moved.internal/',
  })
  await registry.send('PATCH', '/applications/watched', { displayName: 'watched' })
  await registry.send('PATCH', '/applications/watched', { appRoleAssignmentRequired: 'no' })
  await registry.send('DELETE', '/applications/watched')
  await expect.poll(() => events).toHaveLength(4)
  expect(events).toMatchObject([
    {
      outcome: 'created',
      resource: 'applications/watched',
      actor: 'administrator',
      changed: ['id', 'onPremisesPublishing'],
    },
    { outcome: 'updated', application: 'watched', changed: ['onPremisesPublishing.internalUrl'] },
    {
      outcome: 'refused',
      application: 'watched',
      changed: ['appRoleAssignmentRequired'],
      revision: null,
    },
    { outcome: 'deleted', application: 'watched' },
  ])
  expect(JSON.stringify(events)).not.toContain('moved.internal')
})

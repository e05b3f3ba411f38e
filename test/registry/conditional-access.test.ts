/**
 * Conditional access in the admin API: an Entra export loads unchanged; every property that Graph's schema has either is
 * enforced, or loads while it says nothing and is refused by its name when it does.
 */

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { RegisteredApplication } from '#infra/contracts/application.ts'
import { AuditEvent } from '#infra/contracts/audit.ts'
import { Revocation, revocationKey } from '#infra/contracts/policy.ts'
import { createLogger } from '#infra/log.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { remarksOn } from '../../registry/conditional-access/remarks.ts'
import entra from '../policy/fixtures/entra-export.json' with { type: 'json' }
import locations from '../policy/fixtures/entra-locations.json' with { type: 'json' }
import { keepSignals } from './conditional-access.ts'
import { type Answer, listen, startTestRegistry, type TestRegistry } from './fixture.ts'

const policies = '/identity/conditionalAccess/policies'
const namedLocations = '/identity/conditionalAccess/namedLocations'

let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry()
})
afterAll(() => registry[Symbol.asyncDispose]())

const minimal = {
  displayName: 'A policy',
  state: 'enabled',
  conditions: {
    users: { includeUsers: ['All'] },
    applications: { includeApplications: ['All'] },
    clientAppTypes: ['all'],
  },
  grantControls: { operator: 'OR', builtInControls: ['mfa'] },
}

/** The minimal policy with one value at a path. */
function withValue(path: string, value: unknown): object {
  const names = path.split('.')
  const set = (target: object, [name = '', ...rest]: string[]): object => ({
    ...target,
    [name]: rest.length === 0 ? value : set(Object(Reflect.get(target, name)), rest),
  })
  return set(structuredClone(minimal), names)
}

async function create(body: object, path = policies): Promise<Answer> {
  const answer = await registry.send('POST', path, body)
  if (answer.status === 201) {
    onTestFinished(async () => void (await registry.send('DELETE', `${path}/${answer.body.id}`)))
  }
  return answer
}

function expectRefused({ status, body }: Answer, property: string, message: RegExp): void {
  expect({ status, ...body.errors[0] }).toEqual({
    status: 400,
    property,
    message: expect.stringMatching(message),
  })
}

describe('an Entra export', () => {
  test('loads unchanged, and comes back with what it said', async () => {
    for (const location of locations.value) {
      const { status, body } = await create(location, namedLocations)
      expect(status).toBe(201)
      expect(body).toMatchObject({ id: location.id, '@odata.type': location['@odata.type'] })
    }
    for (const policy of entra.value) {
      const { status, body } = await create(policy)
      expect({ status, errors: body.errors }).toEqual({ status: 201, errors: undefined })
      const { displayName, state, grantControls } = policy
      const { applications, users } = policy.conditions
      expect(body).toMatchObject({ id: policy.id, displayName, state })
      expect(body.grantControls.builtInControls).toEqual(grantControls.builtInControls)
      expect(body.conditions.applications).toMatchObject({
        includeApplications: applications.includeApplications,
      })
      expect(body.conditions.users.includeUsers).toEqual(users.includeUsers)
      // What was answered can be sent again: nothing in it is ours alone.
      const again = await registry.send('PATCH', `${policies}/${policy.id}`, body)
      expect(again.status).toBe(204)
    }
    const listed = await registry.send('GET', `${policies}?$select=displayName,state`)
    expect(listed.body.value).toHaveLength(entra.value.length)
  })
})

describe('a property that Graph knows and we do not enforce', () => {
  const isEnabled = { isEnabled: true }
  const says: [string, unknown][] = [
    ['deletedDateTime', '2026-01-01T00:00:00Z'],
    ['partialEnablementStrategy', 'x'],
    ['conditions.agentIdRiskLevels', 'high'],
    ['conditions.clientApplications', { includeServicePrincipals: ['x'] }],
    ['conditions.clients', { includeClients: ['x'] }],
    ['conditions.insiderRiskLevels', 'elevated'],
    ['conditions.servicePrincipalRiskLevels', ['high']],
    ['conditions.signInRiskDetections', { includeRiskDetections: ['x'] }],
    ['conditions.applications.includeUserActions', ['urn:user:registerdevice']],
    ['conditions.applications.includeAuthenticationContextClassReferences', ['c1']],
    ['conditions.applications.applicationFilter', { mode: 'include', rule: 'x' }],
    ['conditions.applications.networkAccess', { trafficProfiles: 'internet' }],
    ['conditions.applications.globalSecureAccess', { trafficProfiles: 'internet' }],
    ['grantControls.customAuthenticationFactors', ['x']],
    ['grantControls.termsOfUse', ['ce580154-086a-40fd-91df-8a60abac81a0']],
    ['sessionControls.applicationEnforcedRestrictions', isEnabled],
    ['sessionControls.cloudAppSecurity', { ...isEnabled, cloudAppSecurityType: 'monitorOnly' }],
    ['sessionControls.secureSignInSession', isEnabled],
    ['sessionControls.networkAccessSecurity', isEnabled],
    ['sessionControls.globalSecureAccessFilteringProfile', { ...isEnabled, profileId: 'x' }],
  ]

  test.each(says)('%s is refused by name when it says something', async (path, value) => {
    expectRefused(await create(withValue(path, value)), path, /not enforced by Sallyport yet/)
  })

  test.each(says.map(([path]) => [path]))('%s loads while it is empty', async path => {
    for (const nothing of [null, [], {}, undefined]) {
      expect((await create(withValue(path, nothing))).status).toBe(201)
    }
  })

  test.each([
    ['grantControls.builtInControls.0', 'grantControls.builtInControls', ['approvedApplication']],
    ['grantControls.builtInControls.0', 'grantControls.builtInControls', ['compliantApplication']],
    ['grantControls.builtInControls.0', 'grantControls.builtInControls', ['passwordChange']],
    ['conditions.clientAppTypes.0', 'conditions.clientAppTypes', ['modern']],
    [
      'sessionControls.signInFrequency.authenticationType',
      'sessionControls.signInFrequency',
      {
        ...isEnabled,
        frequencyInterval: 'everyTime',
        authenticationType: 'secondaryAuthentication',
      },
    ],
    [
      'sessionControls.continuousAccessEvaluation.mode',
      'sessionControls.continuousAccessEvaluation',
      { mode: 'disabled' },
    ],
  ])('so is a word of Graph: %s of %s %j', async (property, path, value) => {
    expectRefused(await create(withValue(path, value)), property, /not enforced by Sallyport yet/)
  })

  test('guests cannot be told apart by kind or tenant, so a policy for some of them is refused', async () => {
    const place = 'conditions.users.includeGuestsOrExternalUsers'
    const some = { guestOrExternalUserTypes: 'b2bCollaborationGuest' }
    expectRefused(await create(withValue(place, some)), `${place}.guestOrExternalUserTypes`, /tell/)
    const tenants = {
      guestOrExternalUserTypes: '',
      externalTenants: { membershipKind: 'enumerated', members: ['x'] },
    }
    expectRefused(await create(withValue(place, tenants)), `${place}.externalTenants`, /tenant/)
  })
})

describe('what cannot be meant', () => {
  test.each([
    '',
    'conditions',
    'conditions.users',
    'conditions.applications',
    'conditions.platforms',
    'conditions.locations',
    'conditions.devices',
    'conditions.times',
    'conditions.facts',
    'conditions.httpMethods',
    'grantControls',
    'sessionControls',
    'sessionControls.signInFrequency',
  ])('an unknown property within "%s" is named', async place => {
    const path = [place, 'isFrobnicated'].filter(part => part !== '').join('.')
    const { status, body } = await create(withValue(path, true))
    expect(status).toBe(400)
    expect(body.errors.map((error: { property: string }) => error.property)).toContain(path)
  })

  test.each([
    ['displayName', '', 'displayName'],
    ['state', 'on', 'state'],
    ['conditions.clientAppTypes', ['telepathy'], 'conditions.clientAppTypes.0'],
    ['conditions.signInRiskLevels', ['severe'], 'conditions.signInRiskLevels.0'],
    [
      'conditions.platforms',
      { includePlatforms: ['beos'] },
      'conditions.platforms.includePlatforms.0',
    ],
    [
      'conditions.locations',
      { includeLocations: ['nowhere'] },
      'conditions.locations.includeLocations',
    ],
    [
      'conditions.devices',
      { deviceFilter: { mode: 'include', rule: 'device.x -eq "1"' } },
      'conditions.devices.deviceFilter.rule',
    ],
    [
      'conditions.times',
      { includeDays: { startTime: '25:00' } },
      'conditions.times.includeDays.startTime',
    ],
    [
      'conditions.times',
      { includeDays: { timeZone: 'Mars/Olympus' } },
      'conditions.times.includeDays.timeZone',
    ],
    [
      'conditions.times',
      { includeDays: { timeZone: '+99:99' } },
      'conditions.times.includeDays.timeZone',
    ],
    [
      'conditions.times',
      {
        includeRange: { startDateTime: '2026-02-30T00:00', endDateTime: '2026-03-05T00:00' },
      },
      'conditions.times.includeRange.startDateTime',
    ],
    [
      'conditions.times',
      {
        includeRange: { startDateTime: '2026-03-05T00:00', endDateTime: '2026-03-05T00:00:00' },
      },
      'conditions.times.includeRange.endDateTime',
    ],
    [
      'conditions.httpMethods',
      { includeMethods: ['safe'] },
      'conditions.httpMethods.includeMethods.0',
    ],
    [
      'conditions.httpMethods',
      { includeMethods: ['POST'] },
      'conditions.httpMethods.includeMethods.0',
    ],
    ['grantControls', { operator: 'XOR', builtInControls: ['mfa'] }, 'grantControls.operator'],
    [
      'grantControls',
      { operator: 'AND', builtInControls: ['block', 'mfa'] },
      'grantControls.builtInControls',
    ],
    ['grantControls', { operator: 'OR', builtInControls: [] }, 'grantControls'],
    [
      'grantControls.authenticationStrength',
      { id: 'unknown' },
      'grantControls.authenticationStrength.allowedCombinations',
    ],
    [
      'grantControls.authenticationStrength',
      { id: 'constructor' },
      'grantControls.authenticationStrength.allowedCombinations',
    ],
    [
      'grantControls.authenticationStrength',
      { allowedCombinations: ['password,telepathy'] },
      'grantControls.authenticationStrength.allowedCombinations.0',
    ],
    [
      'sessionControls.signInFrequency',
      { isEnabled: true, value: 4 },
      'sessionControls.signInFrequency.value',
    ],
    [
      'sessionControls.signInFrequency',
      { isEnabled: true, value: 24, type: 'hours' },
      'sessionControls.signInFrequency.value',
    ],
    ['id', 'a b', 'id'],
  ])('%s %j is refused, naming %s', async (path, value, property) => {
    const { status, body } = await create(withValue(path, value))
    expect({ status, property: body.errors[0]?.property }).toEqual({ status: 400, property })
  })

  test('more users than a policy may name are said to be too many', async () => {
    const includeUsers = Array.from({ length: 5_001 }, (_, number) => `${number}`)
    const answer = await create(withValue('conditions.users', { includeUsers }))
    expectRefused(answer, 'conditions.users.includeUsers', /at most 5000 names/)
  })

  test('a cookie that outlives the browser for some methods alone is refused', async () => {
    const methods = withValue('conditions.httpMethods', { includeMethods: ['unsafe'] })
    const persistentBrowser = { mode: 'never', isEnabled: true }
    const answer = await create({ ...methods, sessionControls: { persistentBrowser } })
    expectRefused(answer, 'sessionControls.persistentBrowser', /set at sign-in/)
  })

  test.each([
    [{ displayName: 'x', ipRanges: [{ cidrAddress: '192.0.2.0/33' }] }, 'ipRanges.0.cidrAddress'],
    [{ displayName: 'x', ipRanges: [] }, 'ipRanges'],
    [{ displayName: 'x', countriesAndRegions: ['France'] }, 'countriesAndRegions.0'],
    [
      { displayName: 'x', countriesAndRegions: ['FR'], countryLookupMethod: 'authenticatorAppGps' },
      'countryLookupMethod',
    ],
    [{ displayName: 'x', countriesAndRegions: ['FR'], isTrusted: true }, 'isTrusted'],
    [
      { displayName: 'x', '@odata.type': '#microsoft.graph.compliantNetworkNamedLocation' },
      '@odata.type',
    ],
    [{ displayName: 'x' }, '@odata.type'],
    [{ displayName: 'x', '@odata.type': { toString: 1 }, ipRanges: [] }, '@odata.type'],
    [{ id: 'AllTrusted', displayName: 'x', countriesAndRegions: ['FR'] }, 'id'],
  ])('a named location %j is refused, naming %s', async (body, property) => {
    const answer = await create(body, namedLocations)
    expect({ status: answer.status, property: answer.body.errors[0]?.property }).toEqual({
      status: 400,
      property,
    })
  })
})

describe('a policy', () => {
  test('is changed property by property: objects merge, lists are replaced, null clears', async () => {
    const { body: created, headers } = await create(minimal)
    const url = `${policies}/${created.id}`
    const patch = (body: object, more = {}) => registry.send('PATCH', url, body, more)
    expect((await patch({ conditions: { signInRiskLevels: ['high'] } })).status).toBe(204)
    expect((await patch({ conditions: { platforms: { includePlatforms: ['iOS'] } } })).status).toBe(
      204,
    )
    const shown = { prefer: 'return=representation' }
    const { body } = await patch(
      { conditions: { platforms: null, clientAppTypes: ['browser'] } },
      shown,
    )
    expect(body.conditions).toMatchObject({
      users: { includeUsers: ['All'] },
      signInRiskLevels: ['high'],
      platforms: null,
      clientAppTypes: ['browser'],
    })
    expect(body.modifiedDateTime).not.toBeNull()
    const stale = await patch({ state: 'disabled' }, { 'if-match': headers.get('etag') ?? '' })
    expect(stale.status).toBe(412)
    expect((await patch({ conditions: { users: { includeUser: ['x'] } } })).status).toBe(400)
    expect((await patch({ id: 'other' })).status).toBe(400)
    expect((await registry.send('DELETE', url)).status).toBe(204)
    expect((await registry.send('GET', url)).status).toBe(404)
  })

  test('cannot take the id of another one', async () => {
    await create({ ...minimal, id: 'mine' })
    expect((await create({ ...minimal, id: 'mine' })).status).toBe(409)
  })

  test('keeps the named locations that it uses', async () => {
    const { body: location } = await create(
      { displayName: 'Office', ipRanges: [{ cidrAddress: '192.0.2.0/24' }] },
      namedLocations,
    )
    const { body: policy } = await create(
      withValue('conditions.locations', {
        includeLocations: ['All'],
        excludeLocations: [location.id],
      }),
    )
    const remove = () => registry.send('DELETE', `${namedLocations}/${location.id}`)
    expect((await remove()).status).toBe(409)
    await registry.send('DELETE', `${policies}/${policy.id}`)
    expect((await remove()).status).toBe(204)
  })

  test('is recorded when it changes: names of properties, no values', async () => {
    const events = await listen(registry.nats, 'auditor', subjects.audits)
    const { body } = await create({ ...minimal, id: 'recorded' })
    await registry.send('PATCH', `${policies}/recorded`, { state: 'disabled' })
    expect(body.id).toBe('recorded')
    // What the tests before it have changed may be told only now.
    const ofIt = () => events.filter(({ resource }) => `${resource}`.endsWith('/recorded'))
    await expect
      .poll(() => ofIt().map(({ outcome, resource, changed }) => [outcome, resource, changed]))
      .toEqual([
        ['created', 'conditionalAccess/policies/recorded', expect.arrayContaining(['conditions'])],
        ['updated', 'conditionalAccess/policies/recorded', ['state']],
      ])
  })
})

test('revoking the sessions of a user is published, and kept for whoever was not listening', async () => {
  const heard = await listen(registry.nats, 'gateway', subjects.revocations)
  const told = await listen(registry.nats, 'auditor', subjects.auditsLike('policy'))
  const { status, body } = await registry.send(
    'POST',
    '/users/Ada@Example.com/revokeSignInSessions',
  )
  expect({ status, body }).toEqual({ status: 200, body: { value: true } })
  await expect.poll(() => heard).toMatchObject([{ kind: 'user', id: 'ada@example.com' }])
  await expect
    .poll(() => told.map(event => AuditEvent.parse(event)))
    .toMatchObject([{ category: 'policy', outcome: 'revoked', user: 'ada@example.com' }])
  const bus = await registry.nats.connect('gateway')
  const log = createLogger('test', 'silent')
  const bucket = buckets.revocations
  await using tombstones = await watchBucket(bus, { bucket, schema: Revocation, log })
  await expect
    .poll(() => tombstones.entries.has(revocationKey('user', 'ada@example.com')))
    .toBe(true)
})

test('a fact is kept, and the audit says which one was changed', async () => {
  await keepSignals(registry)
  const events = await listen(registry.nats, 'auditor', subjects.auditsLike('admin'))
  const path = '/identity/conditionalAccess/facts/compliant'
  const about = { scope: 'user', about: 'ada@example.com' }
  for (const body of [{ value: true }, { value: true, ...about }])
    expect((await registry.send('PUT', path, body)).status).toBe(204)
  const gone = await registry.send('DELETE', `${path}?${new URLSearchParams(about)}`)
  expect(gone.status).toBe(204)
  const ofFacts = () => events.filter(({ resource }) => `${resource}`.endsWith('/compliant'))
  await expect
    .poll(() => ofFacts().map(({ outcome, resource }) => [outcome, resource]))
    .toEqual([
      ['updated', 'facts/compliant'],
      ['updated', 'facts/user/ada@example.com/compliant'],
      ['deleted', 'facts/user/ada@example.com/compliant'],
    ])
})

test.each([
  [{ scope: 'user' }, /required with scope user/],
  [{ about: 'ada@example.com' }, /empty with everything/],
  [{ scope: 'user', about: '漢'.repeat(512) }, /too long/],
])('a fact %j is refused, naming what it is about', async (reference, message) => {
  const path = '/identity/conditionalAccess/facts/frozen'
  expectRefused(await registry.send('PUT', path, { value: true, ...reference }), 'about', message)
  const query = new URLSearchParams(reference as Record<string, string>)
  expectRefused(await registry.send('DELETE', `${path}?${query}`), 'about', message)
})

test('what needs policy says so while there is none', async () => {
  const { status, body } = await registry.send('POST', '/identity/conditionalAccess/evaluate', {
    signInIdentity: { userId: 'ada@example.com' },
    signInContext: { includeApplications: ['wiki'] },
    signInConditions: {},
  })
  expect({ status, code: body.code }).toEqual({ status: 503, code: 'policy_unavailable' })
})

test('a what-if says what policies do not: who is assigned, who need not sign in, what nobody reaches', () => {
  const urls = { externalUrl: 'http://wiki.example/', internalUrl: 'http://wiki.internal/' }
  const application = (publishing: object | null, ...assigned: [string, string][]) =>
    RegisteredApplication.parse({
      id: 'wiki',
      appId: '7f3a7c5e-3a5e-4d1c-9b1a-0c5d1f2e3a4b',
      displayName: 'Wiki',
      createdDateTime: '2026-01-01T00:00:00Z',
      onPremisesPublishing: publishing && { ...urls, ...publishing },
      appRoleAssignments: assigned.map(([principalType, principalId]) => ({
        id: principalId,
        principalType,
        principalId,
        createdDateTime: '2026-01-01T00:00:00Z',
      })),
    })
  const remarks = (asked: RegisteredApplication, groups?: string[]) =>
    remarksOn(asked, { userId: 'ada@example.com', groups }).join()
  const forStaff = application({}, ['Group', 'staff'])
  expect(remarks(application({}, ['User', 'Ada@example.com']))).toBe('')
  expect(remarks(forStaff, ['staff'])).toBe('')
  expect(remarks(forStaff)).toMatch(/^Unless ada@example\.com is a member of staff/)
  for (const outside of [remarks(forStaff, ['sales']), remarks(application({}))])
    expect(outside).toMatch(/^ada@example\.com is not assigned to "wiki"/)
  expect(remarks(application(null))).toContain('is not published')
  const open = application({ externalAuthenticationType: 'passthru' })
  expect(remarks(open)).toContain('lets everybody in without signing in')
})

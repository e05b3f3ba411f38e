import { Kvm } from '@nats-io/kv'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PublishedEntry } from '#infra/contracts/application.ts'
import { Revocation, revocationKey } from '#infra/contracts/policy.ts'
import { createLogger } from '#infra/log.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import {
  type Answer,
  changesIn,
  groupsPath,
  listen,
  listOf,
  publish,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'

const log = createLogger('test', 'silent')
const patient = { timeout: 10_000 }

let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry()
  await registry.send('POST', groupsPath, { name: 'paris' })
})
afterAll(() => registry[Symbol.asyncDispose]())

const problems = ({ body }: Answer) =>
  Object.fromEntries(
    body.errors.map((each: { property: string; message: string }) => [each.property, each.message]),
  )

const register = (displayName: string) => registry.send('POST', '/applications', { displayName })

const publishingOf = (id: string) => `/applications/${id}/onPremisesPublishing`

/** What a gateway has of the applications. */
const gatewayView = async () =>
  watchBucket(await registry.nats.connect('gateway'), {
    bucket: buckets.applications,
    schema: PublishedEntry,
    log,
  })

/** What connectors of a group are told. */
const connectorView = async (group: string) => {
  const connector = await registry.nats.connect('connector')
  return () => listOf(connector, group)
}

const idsIn = (applications: readonly { id: string }[]) => applications.map(({ id }) => id)

describe('an application that is not published yet', () => {
  test('needs no more than a name, is listed, and can be assigned, moved and given back', async () => {
    const created = await register('Register')
    expect(created.status).toBe(201)
    expect(created.body).toMatchObject({ id: 'register', onPremisesPublishing: null })
    const principal = { principalType: 'User', principalId: 'anna@example.com' }
    const assignedTo = '/servicePrincipals/register/appRoleAssignedTo'
    expect((await registry.send('POST', assignedTo, principal)).status).toBe(201)
    const group = '/applications/register/connectorGroup'
    expect((await registry.send('PUT', group, { id: 'paris' })).status).toBe(204)
    const { body } = await registry.send('GET', '/applications/register')
    expect(body).toMatchObject({ connectorGroupId: 'paris', onPremisesPublishing: null })
    expect((await registry.send('GET', '/applications')).body.value).toContainEqual(body)
    const same = await registry.send('PATCH', '/applications/register', body)
    expect([same.status, same.headers.get('etag')]).toEqual([204, body['@odata.etag']])
  })

  test('has no onPremisesPublishing, and the answer says how it gets one', async () => {
    await register('Nowhere')
    const answer = await registry.send('GET', publishingOf('nowhere'))
    expect(answer.status).toBe(404)
    expect(answer.body).toMatchObject({ code: 'resource_not_found' })
    expect(answer.body.detail).toContain('"nowhere" is not published yet')
    expect(answer.body.detail).toContain('internalUrl')
  })

  test('is unknown to gateways and connectors', async () => {
    await using applications = await gatewayView()
    const ask = await connectorView('default')
    await register('Hidden')
    await publish(registry, 'seen')
    await expect.poll(() => [...applications.entries.keys()], patient).toContain('seen')
    expect(applications.entries.has('hidden')).toBe(false)
    expect(idsIn((await ask()).applications)).toContain('seen')
    expect(idsIn((await ask()).applications)).not.toContain('hidden')
  })

  test.each([
    ['the application', (id: string) => `/applications/${id}`, true],
    ['its onPremisesPublishing', publishingOf, false],
  ])('is published within a second by a change of %s', async (what, pathOf, isNested) => {
    const id = `late-${what.length}`
    await using applications = await gatewayView()
    const told = await listen(registry.nats, 'connector', subjects.applicationsOf('paris'))
    await register(id)
    await registry.send('PUT', `/applications/${id}/connectorGroup`, { id: 'paris' })
    const publishing = { internalUrl: 'http://late.internal/', externalUrl: `https://${id}.test/` }
    const body = isNested ? { onPremisesPublishing: publishing } : publishing
    const startedMs = performance.now()
    expect((await registry.send('PATCH', pathOf(id), body)).status).toBe(204)
    await expect.poll(() => applications.entries.get(id), { interval: 5 }).toBeDefined()
    await expect.poll(() => told, { interval: 5 }).toHaveLength(1)
    expect(performance.now() - startedMs).toBeLessThan(1_000)
    expect(applications.entries.get(id)?.onPremisesPublishing).toMatchObject(publishing)
    expect(idsIn((await changesIn(told[0])).changed)).toContain(id)
    const read = await registry.send('GET', publishingOf(id))
    expect(read).toMatchObject({ status: 200, body: publishing })
  })

  test('gets the default external URL when it is published without one, and needs an internal URL', async () => {
    await register('Plain')
    const without = await registry.send('PATCH', publishingOf('plain'), {
      isPersistentCookieEnabled: true,
    })
    expect(without.status).toBe(400)
    expect(problems(without)).toEqual({ 'onPremisesPublishing.internalUrl': 'is required' })
    const prefer = { prefer: 'return=representation' }
    const internalUrl = 'http://plain.internal/'
    const made = await registry.send('PATCH', publishingOf('plain'), { internalUrl }, prefer)
    expect(made.body).toMatchObject({
      internalUrl,
      externalUrl: 'http://plain.sallyport.localhost:8080/',
    })
  })

  test('holds no address', async () => {
    await publish(registry, 'holder')
    const address = (await registry.send('GET', publishingOf('holder'))).body.externalUrl
    await registry.send('PATCH', '/applications/holder', { onPremisesPublishing: null })
    const publishing = { internalUrl: 'http://other.internal/', externalUrl: address }
    const other = await publish(registry, 'other', { onPremisesPublishing: publishing })
    expect(other.status).toBe(201)
    const back = await registry.send('PATCH', publishingOf('holder'), {
      internalUrl: 'http://holder.internal/',
    })
    expect(back.status).toBe(409)
    expect(problems(back)['onPremisesPublishing.externalUrl']).toContain('"other"')
  })
})

describe('an application whose publishing ends', () => {
  const tombstone = async (id: string) => {
    const bus = await registry.nats.connect('gateway')
    const bucket = await new Kvm(bus.connection).open(buckets.revocations)
    const entry = await bucket.get(revocationKey('application', id))
    return entry?.operation === 'PUT' ? Revocation.parse(entry.json()) : undefined
  }

  test('stays, with everything but its publishing', async () => {
    const { body: before } = await publish(registry, 'kept', { displayName: 'Kept' })
    const principal = { principalType: 'Group', principalId: 'Staff' }
    await registry.send('POST', '/servicePrincipals/kept/appRoleAssignedTo', principal)
    await using applications = await gatewayView()
    const ended = await registry.send('PATCH', '/applications/kept', { onPremisesPublishing: null })
    expect(ended.status).toBe(204)
    const { body: after } = await registry.send('GET', '/applications/kept')
    expect(after).toEqual({
      ...before,
      '@odata.etag': ended.headers.get('etag'),
      onPremisesPublishing: null,
    })
    const assigned = await registry.send('GET', '/servicePrincipals/kept/appRoleAssignedTo')
    expect(assigned.body.value).toMatchObject([principal])
    await expect.poll(() => applications.entries.has('kept'), patient).toBe(false)
    expect((await registry.send('GET', publishingOf('kept'))).status).toBe(404)
  })

  test.each([
    ['deleted', 'application-deleted', 'DELETE', undefined],
    ['no longer published', 'publishing-ended', 'PATCH', { onPremisesPublishing: null }],
  ])(
    'is revoked when it is %s: for gateways and connectors now, for others later',
    async (_, reason, method, body) => {
      const id = `ends-by-${method.toLowerCase()}`
      await publish(registry, id)
      const subject = subjects.revoke('application', id)
      const heard = [
        await listen(registry.nats, 'gateway', subject),
        await listen(registry.nats, 'connector', subject),
      ]
      await registry.send(method, `/applications/${id}`, body)
      const revocation = { kind: 'application', id, reason, revision: expect.any(Number) }
      await expect.poll(() => heard, patient).toMatchObject([[revocation], [revocation]])
      await expect.poll(() => tombstone(id), patient).toMatchObject(revocation)
    },
  )

  test('is revoked in the revision that ended it: what is published afterwards has a later one', async () => {
    const ended: number[] = []
    for (let round = 0; round < 2; round++) {
      const { headers } = await publish(registry, 'again')
      const published = Number(headers.get('etag')?.replace(/\D/g, ''))
      expect(published).toBeGreaterThan(ended.at(-1) ?? 0)
      const before = ended.at(-1)
      await registry.send('DELETE', '/applications/again')
      await expect
        .poll(async () => (await tombstone('again'))?.revision, patient)
        .toBeGreaterThan(before ?? published)
      ended.push((await tombstone('again'))?.revision ?? 0)
    }
  })

  test('is not revoked when it was not published', async () => {
    const heard = await listen(registry.nats, 'gateway', subjects.revocations)
    await register('Quiet')
    await registry.send('PATCH', '/applications/quiet', { onPremisesPublishing: null })
    await registry.send('DELETE', '/applications/quiet')
    await publish(registry, 'loud')
    await registry.send('PATCH', publishingOf('loud'), { internalUrl: 'http://moved.internal/' })
    await registry.send('DELETE', '/applications/loud')
    await expect.poll(() => heard, patient).toMatchObject([{ id: 'loud' }])
  })

  test('is not ended by a switch that is not enforced, and the answer names the one that is', async () => {
    await publish(registry, 'switched')
    const off = { isOnPremPublishingEnabled: false }
    const answer = await registry.send('PATCH', publishingOf('switched'), off)
    expect(answer.status).toBe(400)
    expect(problems(answer).isOnPremPublishingEnabled).toContain('onPremisesPublishing')
  })
})

test('a cookie without Secure is refused by name, however it is asked for', async () => {
  const insecure = { isSecureCookieEnabled: false }
  await publish(registry, 'cookies')
  const message = 'must be true: the access cookie is always Secure'
  const below = await registry.send('PATCH', publishingOf('cookies'), insecure)
  expect([below.status, problems(below)]).toEqual([400, { isSecureCookieEnabled: message }])
  const nested = [
    await registry.send('PATCH', '/applications/cookies', { onPremisesPublishing: insecure }),
    await publish(registry, 'cookies-2', {
      onPremisesPublishing: { internalUrl: 'http://cookies.internal/', ...insecure },
    }),
  ]
  for (const answer of nested) {
    expect(answer.status).toBe(400)
    expect(problems(answer)).toEqual({ 'onPremisesPublishing.isSecureCookieEnabled': message })
  }
  const reset = await registry.send('PATCH', publishingOf('cookies'), {
    isSecureCookieEnabled: null,
  })
  expect(reset.status).toBe(204)
})

import { Kvm } from '@nats-io/kv'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import {
  type Application,
  ApplicationChanges,
  ApplicationsStatement,
} from '#infra/contracts/application.ts'
import { LeaseKeySet } from '#infra/contracts/policy.ts'
import { verifyStatement } from '#infra/statement.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { configureApplications, configuredGroup } from '../bench/cases/configured-applications.ts'
import {
  askFor,
  authority,
  groupsPath,
  listen,
  listOf,
  publish,
  startTestRegistry,
  statementsOf,
  type TestRegistry,
} from './fixture.ts'

const { root } = await authority()
let registry: TestRegistry
let connector: Bus

beforeAll(async () => {
  registry = await startTestRegistry()
  connector = await registry.nats.connect('connector')
  await registry.send('POST', groupsPath, { name: 'paris' })
})
afterAll(() => registry[Symbol.asyncDispose]())

const ask = (group: string) => listOf(connector, group)

const idsOf = ({ applications }: { applications: readonly Application[] }) =>
  applications.map(({ id }) => id).sort()

/** What was pushed, as far as it is signed. */
const pushed = (push: string) =>
  ApplicationChanges.parse(
    ApplicationsStatement.parse(verifyStatement(root, 'applications', push)).said,
  )

const changesIn = (changes: unknown) => {
  const { changed, removed, ...versions } = ApplicationChanges.parse(changes)
  return { ...versions, changed: idsOf({ applications: changed }), removed }
}

test("a connector that asks gets its group's applications and no others", async () => {
  await publish(registry, 'wiki')
  await publish(registry, 'louvre', { connectorGroupId: 'paris' })
  expect(idsOf(await ask('paris'))).toEqual(['louvre'])
  expect(idsOf(await ask('default'))).toContain('wiki')
  expect(idsOf(await ask('nowhere'))).toEqual([])
})

test('connectors are not told who may use an application', async () => {
  await registry.send('POST', '/servicePrincipals/louvre/appRoleAssignedTo', {
    principalType: 'User',
    principalId: 'anna@example.com',
  })
  expect(JSON.stringify(await ask('paris'))).not.toContain('anna')
})

test('a change reaches the connectors of the group within a quarter of a second, with a higher version', async () => {
  const pushes = await listen(registry.nats, 'connector', subjects.applicationsOf('default'))
  const { version } = await ask('default')
  const startedMs = performance.now()
  await registry.send('PATCH', '/applications/wiki/onPremisesPublishing', {
    internalUrl: 'http://moved.internal/',
  })
  await expect.poll(() => pushes, { interval: 5 }).toHaveLength(1)
  expect(performance.now() - startedMs).toBeLessThan(250)
  const told = pushed(pushes[0])
  expect(told.version).toBeGreaterThan(version)
  expect(told.since).toBeLessThanOrEqual(version)
  expect(told.changed.map(({ onPremisesPublishing }) => onPremisesPublishing.internalUrl)).toEqual([
    'http://moved.internal/',
  ])
})

test('a change of one group is no news to another, whose connectors have missed nothing by it', async () => {
  const { version } = await ask('paris')
  await publish(registry, 'elsewhere')
  expect(await askFor(connector, 'paris', { since: version })).toMatchObject({
    changed: [],
    removed: [],
  })
  const pushes = await listen(registry.nats, 'connector', subjects.applicationsOf('paris'))
  await publish(registry, 'orsay', { connectorGroupId: 'paris' })
  await expect.poll(() => pushes).toHaveLength(1)
  expect(changesIn(pushed(pushes[0]))).toMatchObject({ changed: ['orsay'], removed: [] })
  expect(changesIn(pushed(pushes[0])).since).toBeLessThanOrEqual(version)
})

test('an application that moves leaves its old group and joins the new one', async () => {
  await publish(registry, 'nomad')
  const old = await listen(registry.nats, 'connector', subjects.applicationsOf('default'))
  const next = await listen(registry.nats, 'connector', subjects.applicationsOf('paris'))
  await registry.send('PUT', '/applications/nomad/connectorGroup', { id: 'paris' })
  await expect.poll(() => [old.length, next.length]).toEqual([1, 1])
  expect(changesIn(pushed(old[0]))).toMatchObject({ changed: [], removed: ['nomad'] })
  expect(changesIn(pushed(next[0]))).toMatchObject({ changed: ['nomad'], removed: [] })
  expect(idsOf(await ask('default'))).not.toContain('nomad')
  expect(idsOf(await ask('paris'))).toContain('nomad')
})

test('a deleted application leaves its group', async () => {
  await publish(registry, 'doomed')
  const pushes = await listen(registry.nats, 'connector', subjects.applicationsOf('default'))
  await registry.send('DELETE', '/applications/doomed')
  await expect.poll(() => pushes).toHaveLength(1)
  expect(changesIn(pushed(pushes[0]))).toMatchObject({ changed: [], removed: ['doomed'] })
  expect(idsOf(await ask('default'))).not.toContain('doomed')
})

test('a connector that missed changes is told them when it asks', async () => {
  await publish(registry, 'missed')
  const { version } = await ask('default')
  await publish(registry, 'new')
  await registry.send('DELETE', '/applications/missed')
  const told = await askFor(connector, 'default', { since: version })
  expect(changesIn(told)).toMatchObject({ since: version, changed: ['new'], removed: ['missed'] })
})

test('a group may have more applications than a message holds: they come in pages', async () => {
  const long = 'p'.repeat(60_000)
  for (let number = 0; number < 20; number++) {
    const internalUrl = `http://large.internal/${long}`
    const answer = await publish(registry, `large-${number}`, {
      onPremisesPublishing: { internalUrl },
      connectorGroupId: 'paris',
    })
    expect(answer.status).toBe(201)
  }
  const list = await ask('paris')
  expect(idsOf(list).filter(id => id.startsWith('large-'))).toHaveLength(20)
  expect(JSON.stringify(list).length).toBeGreaterThan(2 ** 20)
  const page = await askFor(connector, 'paris', {})
  expect(JSON.stringify(page).length).toBeLessThan(300_000)
  expect(page).toMatchObject({ kind: 'page', isLast: false })
})

test('thousands that come at once are told in bounded messages, and a list that is read meanwhile is whole', async () => {
  const group = configuredGroup(0)
  const sizes: number[] = []
  connector.subscribe(subjects.applicationsOf(group), {
    callback: ({ data }) => sizes.push(data.length),
  })
  const writing = configureApplications(await registry.nats.connect('registry'), 2_000, 2_000)
  await expect.poll(() => sizes.length, { interval: 5 }).toBeGreaterThan(1)
  const meanwhile = await ask(group)
  await writing
  await expect.poll(async () => (await ask(group)).applications.length).toBe(2_000)
  // Signed, four characters are three octets.
  expect(Math.max(...sizes)).toBeLessThan(400_000)
  // What is told in all is what has changed, not the list with every change.
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(5_300_000)
  const { version, applications } = meanwhile
  const ofThen = (await ask(group)).applications.length - applications.length
  expect(await newSince(group, version)).toHaveLength(ofThen)
})

/** Ids of all that has changed in a group since a version. */
async function newSince(group: string, version: number): Promise<string[]> {
  const ids = new Set<string>()
  for (let since = version; ; ) {
    const told = await askFor(connector, group, { since })
    if (told.kind === 'page') throw new Error('it is not remembered any more')
    for (const { id } of told.changed) ids.add(id)
    if (told.changed.length === 0) return [...ids]
    since = told.version
  }
}

test('lease keys are given on request and pushed when they change', async () => {
  const pushes = await listen(registry.nats, 'connector', subjects.keys)
  const policy = await registry.nats.connect('policy')
  const kv = await new Kvm(policy.connection).open(buckets.leaseKeys)
  const key = { kty: 'OKP', crv: 'Ed25519', x: 'abc', kid: 'k1', use: 'sig', alg: 'EdDSA' }
  await kv.put('k1', JSON.stringify(key))
  await expect.poll(() => pushes).toHaveLength(1)
  const keysIn = (push: string) => LeaseKeySet.parse(verifyStatement(root, 'leaseKeys', push)).keys
  expect(keysIn(pushes[0])).toEqual([key])
  const statements = await statementsOf(connector)
  const question = { type: 'leaseKeys', said: LeaseKeySet, request: {} } as const
  const given = await statements.ask(subjects.keysRequest, question)
  expect(given.keys).toEqual([key])
  expect(Math.abs(given.nowMs - Date.now())).toBeLessThan(5_000)
  await kv.delete('k1')
  await expect.poll(() => pushes).toHaveLength(2)
  expect(keysIn(pushes[1])).toEqual([])
})

import { Kvm } from '@nats-io/kv'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import { ApplicationList } from '#infra/contracts/application.ts'
import { LeaseKeySet } from '#infra/contracts/policy.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { groupsPath, listen, publish, startTestRegistry, type TestRegistry } from './fixture.ts'

let registry: TestRegistry
let connector: Bus

beforeAll(async () => {
  registry = await startTestRegistry()
  connector = await registry.nats.connect('connector')
  await registry.send('POST', groupsPath, { name: 'paris' })
})
afterAll(() => registry[Symbol.asyncDispose]())

const ask = (group: string) =>
  connector.call(
    subjects.applicationsRequest(group),
    {},
    {
      reply: ApplicationList,
      timeoutMs: 2_000,
      unavailable: 'bus_unavailable',
    },
  )

const idsOf = ({ applications }: ApplicationList) => applications.map(({ id }) => id).sort()

test("a connector that asks gets its group's applications and no others", async () => {
  await publish(registry, 'wiki')
  await publish(registry, 'louvre', { connectorGroupId: 'paris' })
  expect(idsOf(await ask('paris'))).toEqual(['louvre'])
  expect(idsOf(await ask('default'))).toContain('wiki')
  expect(idsOf(await ask('nowhere'))).toEqual([])
  expect(Math.abs((await ask('paris')).nowMs - Date.now())).toBeLessThan(5_000)
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
  const list = ApplicationList.parse(pushes[0])
  expect(list.version).toBeGreaterThan(version)
  expect(list.applications.find(({ id }) => id === 'wiki')?.onPremisesPublishing.internalUrl).toBe(
    'http://moved.internal/',
  )
})

test('an application that moves leaves the list of its old group and joins that of the new one', async () => {
  await publish(registry, 'nomad')
  const old = await listen(registry.nats, 'connector', subjects.applicationsOf('default'))
  const next = await listen(registry.nats, 'connector', subjects.applicationsOf('paris'))
  await registry.send('PUT', '/applications/nomad/connectorGroup', { id: 'paris' })
  await expect.poll(() => [old.length, next.length]).toEqual([1, 1])
  expect(idsOf(ApplicationList.parse(old[0]))).not.toContain('nomad')
  expect(idsOf(ApplicationList.parse(next[0]))).toContain('nomad')
})

test('a deleted application leaves the list', async () => {
  await publish(registry, 'doomed')
  const pushes = await listen(registry.nats, 'connector', subjects.applicationsOf('default'))
  await registry.send('DELETE', '/applications/doomed')
  await expect.poll(() => pushes).toHaveLength(1)
  expect(idsOf(ApplicationList.parse(pushes[0]))).not.toContain('doomed')
})

test('a group cannot get more applications than one message to its connectors holds', async () => {
  const answers = []
  for (let number = 0; number < 20; number++) {
    const long = 'p'.repeat(60_000)
    answers.push(
      await publish(registry, `large-${number}`, {
        onPremisesPublishing: { internalUrl: `http://large.internal/${long}` },
      }),
    )
  }
  const refused = answers.filter(({ status }) => status !== 201)
  expect(refused.length).toBeGreaterThan(0)
  expect(refused[0]?.body.errors).toMatchObject([{ property: 'connectorGroupId' }])
  expect((await ask('default')).applications.length).toBeGreaterThan(10)
})

test('lease keys are given on request and pushed when they change', async () => {
  const pushes = await listen(registry.nats, 'connector', subjects.keys)
  const policy = await registry.nats.connect('policy')
  const kv = await new Kvm(policy.connection).open(buckets.leaseKeys)
  const key = { kty: 'OKP', crv: 'Ed25519', x: 'abc', kid: 'k1', use: 'sig', alg: 'EdDSA' }
  await kv.put('k1', JSON.stringify(key))
  await expect.poll(() => pushes).toHaveLength(1)
  expect(LeaseKeySet.parse(pushes[0]).keys).toEqual([key])
  const given = await connector.call(
    subjects.keysRequest,
    {},
    {
      reply: LeaseKeySet,
      timeoutMs: 2_000,
      unavailable: 'bus_unavailable',
    },
  )
  expect(given.keys).toEqual([key])
  await kv.delete('k1')
  await expect.poll(() => pushes).toHaveLength(2)
  expect(z.object({ keys: z.array(z.unknown()) }).parse(pushes[1]).keys).toEqual([])
})

/** What a connector knows of its group's applications: all of them or none, and every change within a second. */

import { jetstream } from '@nats-io/jetstream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { createLogger } from '#infra/log.ts'
import { bucketEntry, buckets } from '#infra/subjects.ts'
import { createClock } from '../../connector/clock.ts'
import { type Directory, openDirectory } from '../../connector/directory.ts'
import { startRegistry } from '../../registry/registry.ts'
import { configureApplications, configuredGroup } from '../bench/cases/configured-applications.ts'
import { application } from '../harness/application.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { adminClient, publish, registryConfig, statementsOf } from '../registry/fixture.ts'

const count = 5_000
const group = configuredGroup(0)
const soon = { interval: 5, timeout: 1_000 }

let nats: TestNats
let writer: Bus

beforeAll(async () => {
  nats = await startTestNats()
  await using _registry = await startRegistry(registryConfig(nats))
  writer = await nats.connect('registry')
  await configureApplications(writer, count, count)
})
afterAll(() => nats[Symbol.asyncDispose]())

/** A directory, and how many applications it had whenever it changed. */
async function open() {
  const log = createLogger('test', 'silent')
  const sizes: number[] = []
  let opened: Directory | undefined
  const bus = await nats.connect('connector')
  const directory = await openDirectory({
    bus,
    log,
    groupId: group,
    statements: await statementsOf(bus),
    clock: createClock(() => undefined),
    onApplications: () => opened && sizes.push(opened.applications.size),
    onKeys: () => undefined,
  })
  opened = directory
  return { directory, sizes, [Symbol.dispose]: () => directory[Symbol.dispose]() }
}

const write = async (id: string, text: string) => {
  await jetstream(writer.connection).publish(bucketEntry(buckets.applications, id), text)
}

describe('a group of several MiB of applications', () => {
  test('is known whole, and a change or an end within a second', async () => {
    await using registry = await startRegistry(registryConfig(nats))
    using opened = await open()
    const { applications } = opened.directory
    expect(applications.size).toBe(count)
    const admin = adminClient(registry)
    expect((await publish(admin, 'new', { connectorGroupId: group })).status).toBe(201)
    await expect.poll(() => applications.has('new'), soon).toBe(true)
    const publishing = '/applications/new/onPremisesPublishing'
    await admin.send('PATCH', publishing, { internalUrl: 'http://moved.internal/' })
    await expect
      .poll(() => applications.get('new')?.onPremisesPublishing.internalUrl, soon)
      .toBe('http://moved.internal/')
    await admin.send('DELETE', '/applications/new')
    await expect.poll(() => applications.has('new')).toBe(false)
    expect(applications.size).toBe(count)
  })

  test('is known with the time since when each is as it is, also when only its users have changed', async () => {
    await using registry = await startRegistry(registryConfig(nats))
    const admin = adminClient(registry)
    await publish(admin, 'dated', { connectorGroupId: group })
    using opened = await open()
    const { directory } = opened
    const get = (id: string) => directory.applications.get(id) as Application
    const since = (id: string) => directory.knownSince(get(id)) ?? Number.NaN
    await expect.poll(() => directory.applications.has('dated'), soon).toBe(true)
    const [before, ofOther] = [since('dated'), since('grown-1')]
    expect(before).toBeLessThanOrEqual(performance.now())
    await admin.send('PATCH', '/applications/dated', { appRoleAssignmentRequired: false })
    await expect.poll(() => since('dated'), soon).toBeGreaterThan(before)
    const changed = since('dated')
    const grace = { principalType: 'User', principalId: 'grace@example.com' }
    const assigned = await admin.send('POST', '/servicePrincipals/dated/appRoleAssignedTo', grace)
    expect(assigned.status).toBe(201)
    await expect.poll(() => since('dated'), soon).toBeGreaterThan(changed)
    expect(since('grown-1')).toBe(ofOther)
    const leaving = get('dated')
    await admin.send('DELETE', '/applications/dated')
    // Served for a moment longer, and by no lease that has ended.
    await expect.poll(() => directory.knownSince(leaving), soon).toBeUndefined()
  })

  test('is never known in part: what changed while registry was away is there at once and whole', async () => {
    const first = await startRegistry(registryConfig(nats))
    using opened = await open()
    const { directory } = opened
    await first[Symbol.asyncDispose]()
    const silent = application('silent', 'https://silent.test/', { connectorGroupId: group })
    await write('silent', JSON.stringify(silent))
    await write('grown-7', 'cannot be read, and is left out')
    await using registry = await startRegistry(registryConfig(nats))
    await publish(adminClient(registry), 'told', { connectorGroupId: group })
    await expect.poll(() => directory.applications.has('told')).toBe(true)
    expect(directory.applications.has('silent')).toBe(true)
    await expect.poll(() => directory.applications.has('grown-7')).toBe(false)
    expect(directory.applications.size).toBe(count + 1)
    expect(Math.min(...opened.sizes)).toBeGreaterThanOrEqual(count)
  })
})

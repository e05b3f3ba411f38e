/**
 * A connector group whose applications are several times larger than the largest message of the bus: its connectors
 * start, serve, and hear of a change as those of a small group do.
 */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { configureApplications, configuredGroup } from '../bench/cases/configured-applications.ts'
import { administer, moveToGroup } from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

const count = 5_000
const group = configuredGroup(0)

let first: CountingOrigin
let second: CountingOrigin
let system: TestSystem

beforeAll(async () => {
  first = await startCountingOrigin()
  second = await startCountingOrigin()
  const open = { name: 'open', displayName: 'Open', internalUrl: first.url }
  system = await startSystem({ publish: [{ ...open, access: 'passthrough' }] })
  await configureApplications(await system.connect('registry'), count, count)
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await first[Symbol.asyncDispose]()
  await second[Symbol.asyncDispose]()
})

const statusOf = async () => {
  const host = `open.sallyport.localhost:${system.port}`
  using client = new Client(system.gatewayUrls[0] ?? '', { headers: { host } })
  return (await client.send('/')).status
}

test('a connector starts and serves in a group of thousands of applications, and a change arrives within a second', async () => {
  const connector = { SALLYPORT_CONNECTOR_ID: 'of-many', SALLYPORT_CONNECTOR_GROUP: group }
  await system.add('connector', connector)
  await moveToGroup(system, 'open', group)
  await expect.poll(statusOf, { interval: 20, timeout: 1_000 }).toBe(200)
  const before = second.arrived
  const publishing = '/applications/open/onPremisesPublishing'
  await administer(system, 'PATCH', publishing, { internalUrl: second.url })
  const reached = async () => (await statusOf()) === 200 && second.arrived > before
  await expect.poll(reached, { interval: 20, timeout: 1_000 }).toBe(true)
  const logs = await system.logs()
  expect(logs).not.toContain('waiting for registry')
  expect(logs).not.toContain('could not be published')
})

test('a second connector is ready as well, and serves when the first one ends', async () => {
  const [running] = system.services.of('connector').slice(-1)
  await system.add('connector', {
    SALLYPORT_CONNECTOR_ID: 'of-many-2',
    SALLYPORT_CONNECTOR_GROUP: group,
  })
  if (running) await system.stop(running)
  expect(await statusOf()).toBe(200)
})

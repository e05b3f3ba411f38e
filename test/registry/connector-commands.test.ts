/** The administrator's commands for connectors, as processes. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import type { ConnectorStatus } from '#infra/contracts/connector.ts'
import { subjects } from '#infra/subjects.ts'
import { ago, bytes } from '../../registry/cli/quantities.ts'
import { runCommand } from './cli.ts'
import { adminToken, connectorsPath, startTestRegistry, type TestRegistry } from './fixture.ts'
import { sampleStatus } from './sample-status.ts'

let registry: TestRegistry
let bus: Bus

beforeAll(async () => {
  registry = await startTestRegistry()
  bus = await registry.nats.connect('connector')
})
afterAll(() => registry[Symbol.asyncDispose]())

const run = (...args: string[]) =>
  runCommand(args, { SALLYPORT_ADMIN_URL: registry.url, SALLYPORT_ADMIN_TOKEN: adminToken })

async function there(connectorId: string, more: Partial<ConnectorStatus> = {}): Promise<void> {
  const status = sampleStatus({ connectorId, ...more })
  bus.publishJson(subjects.connectorStatus(status.groupId, connectorId), status)
  const known = async () => (await registry.send('GET', `${connectorsPath}/${connectorId}`)).status
  await expect.poll(known).toBe(200)
}

test('the list says for programs who is there, in which group, and when it was last seen', async () => {
  await there('seine-1')
  const { status, stdout } = await run('connectors', '--json')
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toContainEqual(
    expect.objectContaining({
      id: 'seine-1',
      group: 'default',
      status: 'active',
      version: '0.1.0',
      machineName: 'machine.internal',
      lastSeen: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    }),
  )
})

test('one connector is shown with its health and what it has carried', async () => {
  const lastByteDateTime = new Date(Date.now() - 3 * 3_600_000).toISOString()
  const wiki = { applicationId: 'wiki', exchanges: 7, bytes: 3_000_000, lastByteDateTime }
  await there('seine-2', {
    carriedBytes: 3_000_000,
    lastByteDateTime,
    carried: [wiki],
    notReady: [{ applicationId: 'shop', reason: 'connect ECONNREFUSED 10.0.0.5:80' }],
  })
  const { stdout } = await run('show-connector', 'seine-2')
  expect(stdout).toContain('machine          machine.internal (10.0.0.7)')
  expect(stdout).toMatch(/status +active, 1 not ready, last seen \d+ s ago/)
  expect(stdout).toMatch(/served +17 exchanges, 2\.9 MiB/)
  expect(stdout).toMatch(/^wiki +ready +7 +2\.9 MiB +3 h ago$/m)
  expect(stdout).toMatch(/^shop +not ready: connect ECONNREFUSED 10\.0\.0\.5:80 +- +- +-$/m)
  const unknown = await run('show-connector', 'nobody')
  expect(unknown).toMatchObject({ status: 1, stdout: '' })
  expect(unknown.stderr).toContain('there is no connector "nobody"')
})

test('a connector is moved to a group that there is', async () => {
  await there('seine-3')
  await run('create-group', 'paris')
  expect((await run('move-connector', 'seine-3')).status).toBe(2)
  const moved = await run('move-connector', 'seine-3', '--group', 'paris')
  expect(moved).toMatchObject({ status: 0, stdout: 'connector seine-3 belongs to paris now\n' })
  expect((await run('connectors')).stdout).toMatch(
    /^seine-3 +paris +active, still in default +3\/128 +- +0\.1\.0 +machine\.internal +\d+ s ago$/m,
  )
  const nowhere = await run('move-connector', 'seine-3', '--group', 'nowhere')
  expect(nowhere).toMatchObject({ status: 1 })
  expect(nowhere.stderr).toContain('there is no connector group "nowhere"')
})

test('a connector is disabled, enabled and removed', async () => {
  await there('seine-4')
  expect((await run('disable-connector', 'seine-4')).stdout).toBe('connector seine-4 is disabled\n')
  expect((await run('connectors')).stdout).toMatch(/^seine-4 +default +disabled /m)
  expect((await run('enable-connector', 'seine-4')).stdout).toBe('connector seine-4 is enabled\n')
  expect((await run('remove-connector', 'seine-4')).stdout).toContain('seine-4 is removed')
  expect((await run('remove-connector', 'seine-4')).status).toBe(1)
  expect((await run('connectors')).stdout).not.toContain('seine-4')
})

test('an application gets a standby group, and keeps it when it is published again', async () => {
  await run('create-group', 'lyon')
  const published = await run(
    ...['publish', 'wiki=http://wiki.internal/', '--group', 'paris', '--standby-group', 'lyon'],
  )
  expect(published.stdout).toContain('standby group    lyon')
  expect((await run('publish', 'wiki=http://wiki.internal/')).stdout).toContain('lyon')
})

test('an application loses its standby group when that is said', async () => {
  await run('create-group', 'nice')
  const standby = ['--group', 'paris', '--standby-group', 'nice']
  const published = await run('publish', 'blog=http://blog.internal/', ...standby)
  expect(published.stdout).toContain('standby group    nice')
  const without = await run('publish', 'blog=http://blog.internal/', '--no-standby-group')
  expect(without.stdout).not.toContain('standby')
})

test.each([
  [5, '5 s ago'],
  [119, '119 s ago'],
  [600, '10 min ago'],
  [3 * 3_600, '3 h ago'],
  [10 * 86_400, '10 days ago'],
  [-5, '0 s ago'],
])('%i seconds are %s', (seconds, text) => {
  const nowMs = Date.now()
  expect(ago(new Date(nowMs - seconds * 1_000).toISOString(), nowMs)).toBe(text)
})

test.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_024, '1.0 KiB'],
  [5 * 2 ** 30, '5.0 GiB'],
])('%i bytes are %s', (amount, text) => {
  expect(bytes(amount)).toBe(text)
})

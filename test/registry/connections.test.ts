/** What the registry makes of the server's own events: who has lost its connection, and who only seems to have. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { connectionName } from '#infra/bus.ts'
import { dial } from '#infra/bus-connection.ts'
import { type ConnectorStatus, memberIdOf } from '#infra/contracts/connector.ts'
import type { Service } from '#infra/lifecycle.ts'
import { subjects } from '#infra/subjects.ts'
import { startRegistry } from '../../registry/registry.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import {
  adminClient,
  connectorsPath,
  listen,
  type Received,
  registryConfig,
  registryEnvironment,
} from './fixture.ts'
import { sampleStatus } from './sample-status.ts'

let nats: TestNats
let registry: Service
let gone: Received[]

beforeAll(async () => {
  nats = await startTestNats()
  registry = await startRegistry(
    registryConfig(nats, { SALLYPORT_REGISTRY_SYSTEM_BUS_URL: systemBusUrl() }),
  )
  gone = await listen(nats, 'gateway', subjects.connectorsGone)
})
afterAll(async () => {
  await registry[Symbol.asyncDispose]()
  await nats[Symbol.asyncDispose]()
})

const systemBusUrl = () => nats.server.urlFor('system')
const statusOf = async (id: string) =>
  (await adminClient(registry).send('GET', `${connectorsPath}/${id}`)).body.status
const isGone = (id: string) => gone.some(({ connectorId }) => connectorId === id)

/** A connector that has reported. */
async function connector(connectorId: string, more: Partial<ConnectorStatus> = {}) {
  const status = sampleStatus({ connectorId, ...more })
  const bus = await nats.connect('connector', memberIdOf(status))
  bus.publishJson(subjects.connectorStatus(status.groupId, memberIdOf(status)), status)
  await expect.poll(() => statusOf(connectorId)).toBe('active')
  return bus
}

/** Anything that has ended on the bus before this resolves has been told to the registry. */
async function untilTold(): Promise<void> {
  const marker = `marker-${crypto.randomUUID().slice(0, 8)}`
  const bus = await nats.connect('connector', marker)
  await bus.connection.close()
  await expect.poll(() => isGone(marker)).toBe(true)
}

test('gateways hear at once that a connector has lost its connection, and it is active again when it reports', async () => {
  const events = await listen(nats, 'auditor', subjects.auditsLike('connector'))
  const bus = await connector('crashed')
  const closedMs = performance.now()
  await bus.connection.close()
  await expect.poll(() => isGone('crashed'), { interval: 5 }).toBe(true)
  expect(performance.now() - closedMs).toBeLessThan(1_000)
  expect(gone).toContainEqual({ connectorId: 'crashed', reason: 'disconnected' })
  await expect.poll(() => statusOf('crashed')).toBe('inactive')
  await connector('crashed')
  const outcomes = () =>
    events.filter(({ connector }) => connector === 'crashed').map(({ outcome }) => outcome)
  await expect.poll(outcomes).toEqual(['started', 'lost', 'active'])
})

test('a connector is shown with the address that it connects from', async () => {
  await connector('addressed')
  const { body } = await adminClient(registry).send('GET', `${connectorsPath}/addressed`)
  expect(body).toMatchObject({ externalIp: '127.0.0.1', address: '10.0.0.7' })
})

test('a connector that is back before its old connection has ended is not lost', async () => {
  const old = await connector('quick')
  const present = await connector('quick')
  await old.connection.close()
  await untilTold()
  expect(isGone('quick')).toBe(false)
  await present.connection.close()
  await expect.poll(() => isGone('quick')).toBe(true)
})

test('a registry that stood still does not tell of a connector as lost that came back meanwhile', async () => {
  const halted = fork(fileURLToPath(new URL('../../registry/main.ts', import.meta.url)), {
    env: registryEnvironment(nats, { SALLYPORT_REGISTRY_SYSTEM_BUS_URL: systemBusUrl() }),
    execArgv: [],
  })
  onTestFinished(() => void halted.kill('SIGKILL'))
  await once(halted, 'message')
  const old = await connector('returned')
  const timesGone = (id: string) => gone.filter(({ connectorId }) => connectorId === id).length
  halted.kill('SIGSTOP')
  await old.connection.close()
  await expect.poll(() => timesGone('returned')).toBe(1)
  await connector('returned')
  // Longer than a process may be busy.
  await sleep(500)
  halted.kill('SIGCONT')
  const later = await connector('gone-for-good')
  await later.connection.close()
  await expect.poll(() => timesGone('gone-for-good')).toBe(2)
  expect(timesGone('returned')).toBe(1)
  expect(await statusOf('returned')).toBe('active')
})

test('a connector is there while one of its workers is, and gateways hear of each that is lost', async () => {
  const subjectsOfLost: string[] = []
  const gateway = await nats.connect('gateway')
  gateway.subscribe(subjects.connectorsGone, {
    callback: ({ subject }) => void subjectsOfLost.push(subject),
  })
  await gateway.connection.flush()
  const lost = () => subjectsOfLost.filter(subject => subject.includes('several'))
  const buses = await Promise.all([1, 2].map(worker => connector('several', { worker })))
  await buses[0]?.connection.close()
  await expect.poll(lost).toEqual([subjects.connectorGone('several_1')])
  await untilTold()
  expect(await statusOf('several')).toBe('active')
  const { value } = (await adminClient(registry).send('GET', connectorsPath)).body
  const named = (value as { id: string }[]).filter(({ id }) => id.startsWith('several'))
  expect(named).toMatchObject([{ id: 'several', load: { openExchanges: 3, maxExchanges: 128 } }])
  await buses[1]?.connection.close()
  await expect.poll(lost).toHaveLength(2)
})

test('only connectors are believed to be connectors', async () => {
  await connector('victim')
  const impostor = await dial({
    url: nats.server.urlFor('gateway'),
    name: connectionName('connector', 'victim'),
    inboxPrefix: subjects.inbox('gateway', 'impostor'),
  })
  await impostor.close()
  await untilTold()
  expect(isGone('victim')).toBe(false)
  expect(await statusOf('victim')).toBe('active')
})

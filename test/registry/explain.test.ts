/** A search in the audit trail comes to an end, whatever the bus does meanwhile. */

import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openAudit } from '#infra/audit.ts'
import type { Bus } from '#infra/bus.ts'
import { createLogger } from '#infra/log.ts'
import { explainer } from '../../registry/explain.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'

const log = createLogger('test', 'silent')
const events = 20_000

let nats: TestNats
let bus: Bus

beforeEach(async () => {
  nats = await startTestNats()
  bus = await nats.connect('registry')
  const storage = { replicas: 1, auditMaxBytes: 2 ** 28, auditMaxAgeMs: 3_600_000, log }
  await prepareStorage(bus, storage)
  await using audit = openAudit(await nats.connect('policy'), { service: 'policy', log })
  for (let i = 0; i < events; i++) {
    audit.record({
      category: 'sign-in',
      // Events of one subject share a message.
      application: `app-${i}`,
      outcome: 'failed',
      requestId: `r${i}`,
      user: null,
      session: null,
      clientAddress: '192.0.2.1',
      reasons: ['id-token-invalid'],
      amr: [],
    })
    if (i % 100 === 0) await turn()
  }
  expect(await audit.flush(20_000)).toBe(true)
}, 60_000)
afterEach(() => nats[Symbol.asyncDispose]())

/** Until some of it has come. */
async function begun(): Promise<void> {
  const { inBytes } = bus.connection.stats()
  while (bus.connection.stats().inBytes < inBytes + 100_000) await turn()
}

test('what was refused is found', async () => {
  const { signIn } = await explainer(bus)('r7')
  expect(signIn).toMatchObject({ requestId: 'r7', application: 'app-7' })
})

test('a search ends with the connection', async () => {
  const searching = explainer(bus)('unknown')
  await begun()
  await Promise.all([
    nats.kill(),
    expect(searching).rejects.toMatchObject({ code: 'bus_unavailable' }),
  ])
}, 10_000)

test('a search ends in time though the server stands still', async () => {
  const searching = explainer(bus, { searchMs: 1_500 })('unknown')
  await begun()
  nats.server.process.kill('SIGSTOP')
  await expect(searching).rejects.toMatchObject({ code: 'resource_not_found' })
  nats.server.process.kill('SIGCONT')
}, 10_000)

/** What gateways remember of clients stays small, however long the heads are in which it comes. */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { createLogger } from '#infra/log.ts'
import { clientAddress } from '../../gateway/client-address.ts'
import { clientOf } from '../../gateway/facts.ts'
import { SessionStore } from '../../gateway/session.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { startTestNats } from '../harness/nats.ts'

const clients = 1_000
const headLength = 64 * 1024

/** Far less than the heads, and far more than what is to be remembered. */
const mostBytes = 8 * 2 ** 20

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Heap that stays taken by what was done for each of many clients. */
async function bytesKeptBy(each: (head: string, client: number) => unknown): Promise<number> {
  collect()
  const before = process.memoryUsage().heapUsed
  for (let client = 0; client < clients; client++) {
    const head = Buffer.alloc(headLength, `${client} `).toString('latin1')
    await each(head, client)
  }
  collect()
  return process.memoryUsage().heapUsed - before
}

test('a user agent counts by its beginning', async () => {
  const kept = await bytesKeptBy((head, client) => {
    const userAgent = `Mozilla/5.0 (Windows) ${client}${head}`
    const { facts, fingerprint } = clientOf({ clientAddress: '192.0.2.1', userAgent })
    expect(facts).toMatchObject({ clientAppType: 'browser', devicePlatform: 'windows' })
    expect(facts.userAgent).toBe(userAgent.slice(0, 512))
    expect(clientOf({ clientAddress: '192.0.2.1', userAgent }).fingerprint).toBe(fingerprint)
  })
  expect(kept).toBeLessThan(mostBytes)
})

test('an address that a proxy names is no part of the head', async () => {
  const addresses: string[] = []
  const kept = await bytesKeptBy(head => {
    const forwardedFor = `${head}, 2001:db8:1234:5678::9abc`
    addresses.push(clientAddress('10.0.0.1', forwardedFor, address => address === '10.0.0.1'))
  })
  expect(new Set(addresses)).toEqual(new Set(['2001:db8:1234:5678::9abc']))
  expect(kept).toBeLessThan(mostBytes)
})

test('a cookie that opens nothing is remembered by itself', async () => {
  await using nats = await startTestNats()
  const log = createLogger('test', 'silent')
  const storage = { replicas: 1, auditMaxBytes: 2 ** 26, auditMaxAgeMs: 3_600_000, log }
  await prepareStorage(await nats.connect('registry'), storage)
  const bus = await nats.connect('gateway')
  const sessions = await SessionStore.open(bus, { isRevoked: () => false, log, timeoutMs: 5_000 })
  const kept = await bytesKeptBy(async (head, client) => {
    const made = `${`${client}`.padStart(22, 'a')}.${'k'.repeat(43)}`
    const cookie = `${head}; ${made}`.slice(-made.length)
    expect(await sessions.read(cookie, 'wiki.test')).toBeUndefined()
    expect(sessions.remembered(made, 'wiki.test')).toBeUndefined()
  })
  expect(kept).toBeLessThan(mostBytes)
})

/** Several processes, one connector: what registry makes of what each of them says of itself. */

import { expect, test } from 'vitest'
import { ConnectorStatus } from '#infra/contracts/connector.ts'
import { Workers } from '../../registry/workers.ts'
import { sampleStatus } from './sample-status.ts'

const said = (worker: number, more: Partial<ConnectorStatus> = {}) =>
  sampleStatus({ worker, openExchanges: 1, maxExchanges: 10, exchangesServed: 100, ...more })

test('a connector without workers reports for itself, word for word', () => {
  const status = sampleStatus()
  expect(new Workers(1_000).hear(status, 0)).toEqual(status)
})

test('load, capacity and work are the sums of the workers, reported under the one id', () => {
  const workers = new Workers(1_000)
  const lastExchangeDateTime = '2026-01-01T00:00:02.000Z'
  workers.hear(said(1, { openExchanges: 4, lastExchangeDateTime }), 0)
  const whole = workers.hear(said(2, { lastExchangeDateTime: '2026-01-01T00:00:01.000Z' }), 0)
  expect(whole).toMatchObject({ openExchanges: 5, maxExchanges: 20, exchangesServed: 200 })
  expect(whole).toMatchObject({ connectorId: 'c-1', lastExchangeDateTime })
  expect(whole).not.toHaveProperty('worker')
  expect(workers.hear(said(2, { openExchanges: 7 }), 0).openExchanges).toBe(11)
})

test('an origin that any worker cannot reach is named once', () => {
  const workers = new Workers(1_000)
  const notReady = [{ applicationId: 'wiki', reason: 'refused' }]
  workers.hear(said(1, { notReady }), 0)
  expect(workers.hear(said(2, { notReady }), 0).notReady).toEqual(notReady)
})

test('what the workers have carried is one sum for each application, the latest first', () => {
  const workers = new Workers(1_000)
  const carried = (applicationId: string, bytes: number, second: number) => ({
    applicationId,
    exchanges: 1,
    bytes,
    lastByteDateTime: `2026-01-01T00:00:0${second}.000Z`,
  })
  const first = [carried('wiki', 10, 5), carried('shop', 1, 2)]
  workers.hear(said(1, { carriedBytes: 11, carried: first }), 0)
  const second = [carried('wiki', 20, 4), carried('mail', 2, 3)]
  const whole = workers.hear(said(2, { carriedBytes: 22, carried: second }), 0)
  expect(whole.carriedBytes).toBe(33)
  expect(whole.carried).toEqual([
    { ...carried('wiki', 30, 5), exchanges: 2 },
    carried('mail', 2, 3),
    carried('shop', 1, 2),
  ])
})

test('sums can be read again, whatever the workers say', () => {
  const workers = new Workers(1_000)
  const maxExchanges = Number.MAX_SAFE_INTEGER
  const carried = [{ applicationId: 'wiki', exchanges: maxExchanges, bytes: Number.MAX_VALUE }]
  const most = {
    maxExchanges,
    carriedBytes: Number.MAX_VALUE,
    carried: carried.map(each => ({ ...each, lastByteDateTime: null })),
  }
  workers.hear(said(1, most), 0)
  const whole = workers.hear(said(2, most), 0)
  expect(ConnectorStatus.parse(JSON.parse(JSON.stringify(whole)))).toEqual(whole)
})

test.each([
  ['saturated', 'serving', 'serving'],
  ['saturated', 'saturated', 'saturated'],
  ['draining', 'serving', 'serving'],
  ['draining', 'draining', 'draining'],
  ['stopped', 'draining', 'draining'],
  ['stopped', 'stopped', 'stopped'],
] as const)('with one %s and one %s it is %s', (one, other, whole) => {
  const workers = new Workers(1_000)
  for (const worker of [1, 2]) workers.hear(said(worker), 0)
  workers.hear(said(1, { state: one }), 0)
  expect(workers.hear(said(2, { state: other }), 0).state).toBe(whole)
})

test('a connector that is moved is in its new group when the last of its workers is', () => {
  const workers = new Workers(1_000)
  for (const worker of [1, 2]) workers.hear(said(worker, { groupId: 'default' }), 0)
  expect(workers.hear(said(2, { groupId: 'paris' }), 10).groupId).toBe('default')
  expect(workers.hear(said(1, { groupId: 'default' }), 20).groupId).toBe('default')
  expect(workers.hear(said(2, { groupId: 'paris' }), 30).groupId).toBe('default')
  expect(workers.hear(said(1, { groupId: 'paris' }), 40).groupId).toBe('paris')
  expect(workers.hear(said(1, { groupId: 'default' }), 50).groupId).toBe('paris')
  expect(workers.forget('c-1', 'c-1_2')?.groupId).toBe('default')
})

test('a worker that is gone, or silent for too long, is left out of the sums', () => {
  const workers = new Workers(1_000)
  for (const worker of [1, 2, 3]) workers.hear(said(worker), 0)
  expect(workers.forget('c-1', 'c-1_1')?.maxExchanges).toBe(20)
  expect(workers.hear(said(2), 1_000).maxExchanges).toBe(10)
  expect(workers.forget('c-1', 'c-1_2')).toBeUndefined()
})

test('a connector that was started again has none of its former workers', () => {
  const workers = new Workers(1_000)
  workers.hear(said(1), 0)
  const startedDateTime = new Date().toISOString()
  expect(workers.hear(said(2, { startedDateTime }), 0).maxExchanges).toBe(10)
})

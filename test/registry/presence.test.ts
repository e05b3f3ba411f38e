import { describe, expect, test } from 'vitest'
import type { ConnectorStatus } from '#infra/contracts/connector.ts'
import { afterSilence, afterStatus, writeIntervalMs } from '../../registry/presence.ts'
import { sampleStatus } from './sample-status.ts'

const nowMs = Date.now()
const first = afterStatus(undefined, sampleStatus(), nowMs)?.record
if (!first) throw new Error('a first status must be recorded')

const hearing = (more: Partial<ConnectorStatus>, laterMs = 5_000, before = first) =>
  afterStatus(before, sampleStatus(more), nowMs + laterMs)

describe('what a status changes', () => {
  test('a connector that was not known has started', () => {
    expect(afterStatus(undefined, sampleStatus(), nowMs)).toMatchObject({
      event: 'started',
      record: { id: 'c-1', status: 'active', connectorGroupId: 'default' },
    })
  })

  test('load alone is not written more often than the interval', () => {
    expect(hearing({ openExchanges: 100 }, writeIntervalMs - 1)).toBeUndefined()
    const due = hearing({ openExchanges: 100 }, writeIntervalMs)
    expect(due).toMatchObject({ event: undefined, record: { lastStatus: { openExchanges: 100 } } })
  })

  test.each<[string, Partial<ConnectorStatus>]>([
    ['state', { state: 'saturated' }],
    ['group', { groupId: 'paris' }],
    ['version', { version: '0.2.0' }],
  ])('a change of %s is written at once, without an event', (_, more) => {
    expect(hearing(more, 1)).toMatchObject({ event: undefined })
  })

  test('draining and stopping are told once', () => {
    const draining = hearing({ state: 'draining' }, 1)
    expect(draining?.event).toBe('draining')
    expect(hearing({ state: 'draining' }, 2, draining?.record)).toBeUndefined()
    const stopped = hearing({ state: 'stopped' }, 3, draining?.record)
    expect(stopped).toMatchObject({ event: 'stopped', record: { status: 'inactive' } })
    expect(hearing({ state: 'stopped' }, 4, stopped?.record)).toBeUndefined()
  })

  test('a connector that fell silent and speaks again is active, not started', () => {
    const silent = afterSilence(first)
    expect(silent).toMatchObject({ event: 'inactive', record: { status: 'inactive' } })
    expect(hearing({}, 1, silent?.record)).toMatchObject({
      event: 'active',
      record: { status: 'active' },
    })
  })

  test('one that is inactive does not become inactive again', () => {
    const stopped = hearing({ state: 'stopped' })
    expect(stopped && afterSilence(stopped.record)).toBeUndefined()
  })

  test('one that the bus has lost is inactive, and told of as lost', () => {
    expect(afterSilence(first, 'lost')).toMatchObject({
      event: 'lost',
      record: { status: 'inactive' },
    })
  })

  test('what an administrator has decided stays, whatever the connector says', () => {
    const moved = { ...first, connectorGroupId: 'paris', movedDateTime: new Date().toISOString() }
    const after = hearing({ state: 'saturated', groupId: 'default' }, 1, moved)
    expect(after?.record).toMatchObject({ connectorGroupId: 'paris' })
    expect(after?.record.lastStatus?.groupId).toBe('default')
    const certificates = [{ serialNumber: '0a', spki: 'x'.repeat(43), notAfter: '2027-01-01' }]
    const enrolled = { ...first, connectorGroupId: 'paris', certificates }
    expect(hearing({ state: 'saturated' }, 1, enrolled)?.record).toMatchObject({
      connectorGroupId: 'paris',
      certificates,
    })
  })

  test('a disabled connector is not active again because it still reports', () => {
    const disabled = { ...first, isEnabled: false, status: 'inactive' as const }
    expect(hearing({ state: 'saturated' }, writeIntervalMs, disabled)).toBeUndefined()
  })

  test('one that was enrolled and reports for the first time has started', () => {
    const enrolled = { ...first, status: 'inactive' as const, lastStatus: null }
    expect(hearing({}, 1, enrolled)?.event).toBe('started')
  })

  test('a new process under the same id has started', () => {
    const startedDateTime = new Date(nowMs).toISOString()
    expect(hearing({ startedDateTime }, 1)?.event).toBe('started')
  })

  test('an older process under the same id is not listened to while the younger one is active', () => {
    const startedDateTime = new Date(nowMs - 3_600_000).toISOString()
    expect(hearing({ startedDateTime, state: 'stopped' })).toBeUndefined()
    const silent = afterSilence(first)
    expect(hearing({ startedDateTime }, 1, silent?.record)?.event).toBe('started')
  })
})

/** Events as JSON say exactly what they said as objects, whatever stands in them. */

import { expect, test } from 'vitest'
import { membersOf } from '#infra/audit/json.ts'
import type { NewAuditEvent } from '#infra/audit.ts'
import { AccessEvent } from '#infra/contracts/audit.ts'

const decision = {
  outcome: 'grant' as const,
  policies: ['p'],
  reasons: ['of "everything"'],
  satisfied: [],
  evaluatedAt: '2026-11-22T07:00:00.000Z',
  policyRevision: 4,
}

/** With every member that there is, in the order in which they are written. */
const whole = {
  category: 'access' as const,
  requestId: 'g-1',
  user: 'ada@example.test',
  session: 's',
  application: 'wiki',
  connectorGroup: 'paris',
  clientAddress: '127.0.0.1',
  method: 'GET',
  host: 'wiki.test:8443',
  path: '/',
  decision,
  decidedMs: 0.12,
  durationMs: 12,
  outcome: 'granted' as const,
  status: 200,
  lastLease: true,
  connector: 'c',
  attempts: 1,
  fault: null,
  faultDetail: null,
  requestBytes: 0,
  responseBytes: 12,
  respondedMs: 3.4,
} as NewAuditEvent & { category: 'access' }

const parsed = (event: NewAuditEvent) => JSON.parse(`{${membersOf(event)}`)

test('an access event has all of its members, each once', () => {
  expect(`{${membersOf(whole)}`).toBe(JSON.stringify(whole))
  const { id: _, time: __, source: ___, ...shape } = AccessEvent.shape
  expect(Object.keys(parsed(whole)).sort()).toEqual(Object.keys(shape).sort())
  const { lastLease: ____, ...usual } = whole
  expect(parsed(usual)).toEqual(usual)
  // The second one finds what was written before.
  expect(parsed({ ...whole, path: '/again' })).toEqual({ ...whole, path: '/again' })
})

test('whatever stands in it comes out as JSON.stringify would write it', () => {
  const texts = ['"', '\\', '\u0000\n\r\t\u007f', 'ü€😀', '\ud800', '\u2028', '</script>', '', null]
  const numbers = [0, -0, 0.1, 0.07, 1.1, 99.99, 100.05, 4.35, 1_234_567.89, 2 ** 31 + 0.5, -1.25]
  const odd = [1e21, 1e-7, 0.123456, Number.MAX_SAFE_INTEGER, 2 ** 60, Number.NaN, Infinity, null]
  const textual = ['requestId', 'user', 'session', 'application', 'connectorGroup', 'path', 'host']
  const numeric = ['status', 'decidedMs', 'respondedMs', 'durationMs', 'requestBytes', 'attempts']
  for (const [names, values] of [
    [[...textual, 'method', 'connector', 'fault', 'faultDetail', 'clientAddress'], texts],
    [
      [...numeric, 'responseBytes'],
      [...numbers, ...odd],
    ],
    [['decision'], [null, { ...decision, sessionDemands: { persistentBrowser: 'never' } }]],
  ] as const) {
    for (const name of names) {
      for (const value of values) {
        const event = { ...whole, [name]: value } as NewAuditEvent
        expect(parsed(event), `${name} ${value}`).toEqual(JSON.parse(JSON.stringify(event)))
      }
    }
  }
})

test('every hundredth is written as the number that it is', () => {
  for (let hundredths = 0; hundredths < 20_000; hundredths++) {
    const event = { ...whole, durationMs: Math.round(hundredths) / 100 }
    expect(membersOf(event)).toContain(`"durationMs":${event.durationMs},`)
  }
})

test('other events are written as they are', () => {
  const event = { ...whole, category: 'sign-in', outcome: 'failed', amr: ['pwd'], reasons: [] }
  expect(parsed(event as unknown as NewAuditEvent)).toEqual(event)
})

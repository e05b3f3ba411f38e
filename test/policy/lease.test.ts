/** What a lease says of its own end, and of how long it may be used after that while policy is away. */

import { expect, test } from 'vitest'
import { leaseClaims } from '../../policy/lease.ts'
import { application } from '../harness/application.ts'
import { principal } from '../harness/signed-origins.ts'

const nowMs = Date.parse('2026-03-01T12:00:00Z')
const seconds = (after: number) => nowMs / 1_000 + after

function claims(
  publishing: object,
  { sessionSeconds = 3_600, decisionSeconds = Number.POSITIVE_INFINITY, isOpen = false } = {},
) {
  const expiresAtMs = nowMs + sessionSeconds * 1_000
  return leaseClaims({
    application: application('wiki', 'https://wiki.test/', { publishing }),
    decision: { outcome: 'grant', reasons: ['x'], policies: [] },
    fingerprint: 'f',
    session: isOpen ? null : { id: 's', principal: principal(), expiresAtMs },
    lifetimeMs: 60_000,
    validUntilMs: nowMs + decisionSeconds * 1_000,
    nowMs,
  })
}

const lasting = { whenPolicyIsUnavailable: 'lastLease', lastLeaseMinutes: 4 }

test('unless an application wants it, nothing is said of a time after the end', () => {
  for (const publishing of [{}, { lastLeaseMinutes: 4 }]) {
    expect(claims(publishing).exp).toBe(seconds(60))
    expect(claims(publishing)).not.toHaveProperty('lastUntil')
  }
})

test('it may be used for the minutes of the application, with a session or without', () => {
  for (const isOpen of [false, true])
    expect(claims(lasting, { isOpen })).toMatchObject({
      exp: seconds(60),
      lastUntil: seconds(60 + 240),
    })
})

test.each([
  ['its session', { sessionSeconds: 100 }, { exp: 60, lastUntil: 100 }],
  ['its session, within the lease', { sessionSeconds: 30 }, { exp: 30, lastUntil: 30 }],
  ['what was decided', { decisionSeconds: 90 }, { exp: 60, lastUntil: 90 }],
  ['what was decided, within the lease', { decisionSeconds: 20 }, { exp: 20, lastUntil: 20 }],
])('it may never be used after the end of %s', (_, ends, { exp, lastUntil }) => {
  expect(claims(lasting, ends)).toMatchObject({ exp: seconds(exp), lastUntil: seconds(lastUntil) })
})

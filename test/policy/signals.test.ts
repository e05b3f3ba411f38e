/** What outside systems say: on which subjects, in what form, for how long; what is not of that form is refused. */

import { jetstream } from '@nats-io/jetstream'
import { describe, expect, test } from 'vitest'
import { Signal, signalKey } from '#infra/contracts/conditional-access/signals.ts'
import { createLogger } from '#infra/log.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { referenceOf, takeSignal } from '../../policy/signal-intake.ts'
import { Signals } from '../../policy/signals.ts'
import { touchedBySignals } from '../../policy/touched.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { startTestNats } from '../harness/nats.ts'

const log = createLogger('test', 'silent')

test.each([
  ['risk', 'user', 'ada@example.com', undefined],
  ['risk', 'session', 'AbC-1_2', undefined],
  ['groups', 'user', 'ünal.1@example.com', undefined],
  ['fact', 'everything', '', 'change-freeze'],
  ['fact', 'application', 'wiki', 'frozen'],
  ['fact', 'device', 'a.b*c>d e%', 'compliant'],
] as const)('a subject says what it is about: %s of %s %j', (kind, scope, id, name) => {
  const subject = subjects.signal(kind, scope, id, name)
  const reference = { kind, scope, id, ...(name !== undefined && { name }) }
  expect(referenceOf(subject)).toEqual(reference)
})

test.each([
  'sallyport.signal.risk.user',
  'sallyport.signal.risk.user.-',
  'sallyport.signal.risk.application.wiki',
  'sallyport.signal.risk.user.ada.more',
  'sallyport.signal.groups.session.x',
  'sallyport.signal.fact.everything.x.name',
  'sallyport.signal.fact.everything.-',
  'sallyport.signal.fact.user.ada.Name',
  'sallyport.signal.fact.user.ada.na%20me',
  'sallyport.signal.fact.user.%zz.name',
  'sallyport.signal.fact.user.%61da.name',
  'sallyport.signal.constructor.user.ada',
  `sallyport.signal.risk.user.${'a'.repeat(600)}`,
  'elsewhere.signal.risk.user.ada',
])('%s is no subject for a signal', subject => {
  expect(() => referenceOf(subject)).toThrow(expect.objectContaining({ code: 'bad_request' }))
})

describe('a signal', () => {
  test('is kept until it is taken back or has expired, and one of another form changes nothing', async () => {
    await using nats = await startTestNats()
    const registry = await nats.connect('registry')
    const storage = { replicas: 1, auditMaxBytes: 2 ** 26, auditMaxAgeMs: 3_600_000, log }
    await prepareStorage(registry, storage)
    const bus = await nats.connect('policy')
    const store = jetstream(bus.connection)
    await using entries = await watchBucket(bus, { bucket: buckets.signals, schema: Signal, log })
    const say = (subject: string, body: unknown) => takeSignal(store, subject, body)
    const about = {
      applicationId: 'wiki',
      userPrincipalName: 'Ada@Example.com',
      deviceId: undefined,
    }
    const fact = () => new Signals(entries.entries).fact('frozen', about, Date.now())
    const risk = () => new Signals(entries.entries).risk('user', 'ada@example.com', Date.now())
    const everywhere = subjects.signal('fact', 'everything', '', 'frozen')
    const ofUser = subjects.signal('risk', 'user', 'ADA@example.com')

    await say(everywhere, { value: true, reasons: ['release 7'] })
    await say(ofUser, { level: 'high', expiresInSeconds: 2 })
    await expect.poll(() => [fact(), risk()]).toEqual([true, 'high'])
    for (const [subject, body] of [
      [everywhere, {}],
      [everywhere, { value: [] }],
      [everywhere, { value: false, extra: 1 }],
      [everywhere, 'true'],
      [ofUser, { level: 'extreme' }],
      [ofUser, { level: 'low', expiresInSeconds: 0 }],
      [subjects.signal('groups', 'user', 'ada'), { groups: 'all' }],
    ] as const) {
      await expect(say(subject, body)).rejects.toThrow(
        expect.objectContaining({ code: 'bad_request' }),
      )
    }
    expect([fact(), risk()]).toEqual([true, 'high'])
    await say(everywhere, { value: null })
    await expect.poll(fact).toBeUndefined()
    // The store itself forgets it, and says so to those who watch: that is what has sessions decided anew.
    const key = signalKey({ kind: 'risk', scope: 'user', id: 'ada@example.com' })
    await expect.poll(() => entries.entries.has(key)).toBe(false)
    expect(risk()).toBe('none')
  })

  test('that is repeated touches nobody; one that changes touches those whom it is about', () => {
    const signal = (more: object) =>
      Signal.parse({
        kind: 'risk',
        scope: 'user',
        id: 'ada@example.com',
        level: 'high',
        reasons: [],
        source: 'test',
        updatedDateTime: '2026-01-01T00:00:00Z',
        expiresDateTime: null,
        ...more,
      })
    const touched = (before: object | undefined, after: object | undefined) =>
      touchedBySignals(
        [{ key: 'k', before: before && signal(before), after: after && signal(after) }],
        deviceId => (deviceId === 'd1' ? ['s1', 's2'] : []),
      )
    const nobody = { applications: [], users: [], sessions: [] }
    expect(touched({}, { updatedDateTime: '2026-01-02T00:00:00Z', reasons: ['again'] })).toEqual(
      nobody,
    )
    expect(touched({}, { level: 'low' })).toEqual({ ...nobody, users: ['ada@example.com'] })
    expect(touched({}, undefined)).toEqual({ ...nobody, users: ['ada@example.com'] })
    const ofSession = { scope: 'session', id: 's1' }
    expect(touched(undefined, ofSession)).toEqual({ ...nobody, sessions: ['s1'] })
    const fact = { kind: 'fact', name: 'x', value: 1 }
    expect(touched(undefined, { ...fact, scope: 'application', id: 'wiki' })).toEqual({
      ...nobody,
      applications: ['wiki'],
    })
    expect(touched(undefined, { ...fact, scope: 'everything', id: '' })).toBe('all')
    const ofDevice = (id: string) => touched(undefined, { ...fact, scope: 'device', id })
    expect(ofDevice('d1')).toEqual({ ...nobody, sessions: ['s1', 's2'] })
    expect(ofDevice('d2')).toEqual(nobody)
  })
})

/** What the registry tells the members of a group about their pace, and when it says nothing. */

import { expect, test } from 'vitest'
import { GroupPace } from '#infra/contracts/connector.ts'
import { subjects } from '#infra/subjects.ts'
import { paceOf, tellPaces } from '../../registry/pace.ts'
import { startTestNats } from '../harness/nats.ts'
import { listen } from './fixture.ts'

const member = (answersPerSecond: number, wikiMs: number, more: Record<string, number> = {}) => ({
  answersPerSecond,
  applications: Object.entries({ wiki: wikiMs, ...more }).map(([applicationId, answerMs]) => ({
    applicationId,
    answerMs,
  })),
})
const wiki = (answerMs: number) => [{ applicationId: 'wiki', answerMs }]

test('the pace is that of the median member, of two the faster one', () => {
  expect(paceOf([member(400, 5), member(40, 50), member(390, 6)])).toEqual({
    answersPerSecond: 390,
    applications: wiki(6),
  })
  expect(paceOf([member(40, 50), member(400, 5)])).toEqual({
    answersPerSecond: 400,
    applications: wiki(5),
  })
})

test('one member that claims to be fast does not make all others slow', () => {
  expect(paceOf([member(1, 0.1), member(300, 50), member(310, 51)])?.applications).toEqual(wiki(50))
})

test('a group of one member has no pace, nor has an application that only one serves', () => {
  expect(paceOf([])).toBeUndefined()
  expect(paceOf([member(400, 5)])).toBeUndefined()
  const own = paceOf([member(400, 5, { ledger: 9 }), member(400, 5)])
  expect(own?.applications).toEqual(wiki(5))
})

test('members hear the pace of their own group while at least two of it report, and not of the silent', async () => {
  await using nats = await startTestNats()
  using _ = tellPaces(await nats.connect('registry'))
  const ofParis = await listen(nats, 'connector', subjects.paceOf('paris'))
  const ofRome = await listen(nats, 'connector', subjects.paceOf('rome'))
  const bus = await nats.connect('connector')
  const report = (group: string, id: string, answerMs: number) =>
    bus.publishJson(subjects.connectorPace(group, id), member(100, answerMs))
  report('paris', 'c-1', 5)
  report('paris', 'c-2', 50)
  report('rome', 'c-3', 1)
  bus.publish(subjects.connectorPace('rome', 'c-4'), Buffer.from('{"answersPerSecond":-1}'))
  await expect.poll(() => ofParis.length).toBeGreaterThan(1)
  for (const pace of ofParis) expect(GroupPace.parse(pace).applications).toEqual(wiki(5))
  expect(ofRome).toEqual([])
  // The first one is silent from here on: a group of one is left.
  const toldWhileRomeIs = async () => {
    const before = { paris: ofParis.length, rome: ofRome.length }
    report('paris', 'c-2', 50)
    report('rome', 'c-3', 1)
    report('rome', 'c-5', 1)
    await expect.poll(() => ofRome.length).toBeGreaterThan(before.rome)
    return ofParis.length - before.paris
  }
  await expect.poll(toldWhileRomeIs).toBe(0)
})

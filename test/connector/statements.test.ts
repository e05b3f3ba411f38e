/** A connector believes nothing of what the bus brings unless its own authority's registry has signed it for this connector. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { keepAuthority } from '#infra/authority.ts'
import type { Bus } from '#infra/bus.ts'
import type { ApplicationChanges } from '#infra/contracts/application.ts'
import type { LeaseKey } from '#infra/contracts/policy.ts'
import { createLogger } from '#infra/log.ts'
import { type StatementSigner, signStatement } from '#infra/statement.ts'
import { subjects } from '#infra/subjects.ts'
import { createClock } from '../../connector/clock.ts'
import { openDirectory } from '../../connector/directory.ts'
import { startRegistry } from '../../registry/registry.ts'
import { application } from '../harness/application.ts'
import {
  authority,
  publish,
  registryConfig,
  startTestRegistry,
  statementsOf,
  type TestRegistry,
} from '../registry/fixture.ts'

const foreignPath = mkdtempSync(join(tmpdir(), 'sallyport-foreign-'))
afterAll(() => rmSync(foreignPath, { recursive: true }))

const group = 'paris'
const subject = subjects.applicationsOf(group)
const own: StatementSigner = (await authority()).registry
const foreign: StatementSigner = (await keepAuthority(foreignPath)).registry
const planted = application('planted', 'https://planted.test/', { connectorGroupId: group })

let registry: TestRegistry
let forger: Bus

beforeAll(async () => {
  registry = await startTestRegistry()
  await registry.send('POST', '/onPremisesPublishingProfiles/applicationProxy/connectorGroups', {
    name: group,
  })
  await publish(registry, 'louvre', { connectorGroupId: group })
  // Has more rights than any connector or gateway: whoever runs the bus has them all.
  forger = await registry.nats.connect('registry')
})
afterAll(() => registry[Symbol.asyncDispose]())

async function open() {
  const bus = await registry.nats.connect('connector')
  const statements = await statementsOf(bus)
  const keys: (readonly LeaseKey[])[] = []
  const clock = createClock(() => undefined)
  const directory = await openDirectory({
    bus,
    log: createLogger('test', 'silent'),
    groupId: group,
    statements,
    clock,
    onApplications: () => undefined,
    onKeys: set => keys.push(set),
  })
  const ids = () => [...directory.applications.keys()].toSorted()
  return { directory, statements, keys, ids, [Symbol.dispose]: () => directory[Symbol.dispose]() }
}

/** What would add an application to any list. */
const changes: ApplicationChanges = {
  kind: 'changes',
  since: 0,
  version: 1_000_000,
  changed: [planted],
  removed: ['louvre'],
}

describe('what is pushed', () => {
  const page = { kind: 'page', version: 1_000_000, applications: [planted], isLast: true }
  const statement = { group, said: changes }

  test.each<[string, () => unknown, string]>([
    ['without a signature', () => changes, 'not signed'],
    [
      'signed by another authority',
      () => signStatement(foreign, 'applications', statement),
      'foreign',
    ],
    [
      'signed for another group',
      () => signStatement(own, 'applications', { ...statement, group: 'rome' }),
      'the group "rome"',
    ],
    [
      'signed as something else',
      () => signStatement(own, 'leaseKeys', statement),
      'in place of applications',
    ],
    [
      'as the answer to a question',
      () => signStatement(own, 'applications', { ...statement, nonce: 'abcdefghijklmnopqrstuv' }),
      'another question',
    ],
    [
      'signed, and not what it should be',
      () => signStatement(own, 'applications', { group, said: { kind: 'changes' } }),
      'version',
    ],
  ])('%s changes nothing, and the status says so', async (_, make, why) => {
    using opened = await open()
    expect(opened.statements.problem).toBeUndefined()
    const before = opened.ids()
    forger.publishJson(subject, make())
    await expect.poll(() => opened.statements.problem).toContain(why)
    expect(opened.ids()).toEqual(before)
    expect(before).toEqual(['louvre'])
  })

  test('as a page, signed or not, is no list that somebody asked for', async () => {
    using opened = await open()
    forger.publishJson(subject, signStatement(own, 'applications', { group, said: page }))
    forger.publishJson(subject, 'marker')
    await expect.poll(() => opened.statements.problem).toContain('not signed')
    expect(opened.ids()).toEqual(['louvre'])
  })

  test('a second time does not bring back what has ended since', async () => {
    using opened = await open()
    const tap = await registry.nats.connect('connector')
    const pushes: unknown[] = []
    tap.subscribe(subject, { callback: ({ data }) => pushes.push(JSON.parse(data.toString())) })
    await tap.connection.flush()
    await publish(registry, 'fallen', { connectorGroupId: group })
    await expect.poll(opened.ids).toContain('fallen')
    await registry.send('DELETE', '/applications/fallen')
    await expect.poll(opened.ids).not.toContain('fallen')
    expect(pushes).toHaveLength(2)
    forger.publishJson(subject, pushes[0])
    forger.publishJson(subject, 'marker')
    await expect.poll(() => opened.statements.problem).toContain('not signed')
    expect(opened.ids()).not.toContain('fallen')
  })
})

describe('keys of leases that are pushed', () => {
  const key: LeaseKey = { kty: 'OKP', crv: 'Ed25519', x: 'abc', kid: 'k', use: 'sig', alg: 'EdDSA' }
  const set = (nowMs: number) => ({ nowMs, keys: [key] })

  test('count when they are signed and new', async () => {
    using opened = await open()
    forger.publishJson(subjects.keys, signStatement(own, 'leaseKeys', set(Date.now())))
    await expect.poll(() => opened.keys.at(-1)).toEqual([key])
  })

  test.each<[string, () => unknown]>([
    ['unsigned', () => set(Date.now())],
    ['signed by another authority', () => signStatement(foreign, 'leaseKeys', set(Date.now()))],
  ])('do not count %s', async (_, make) => {
    using opened = await open()
    forger.publishJson(subjects.keys, make())
    await expect.poll(() => opened.statements.problem).toBeTypeOf('string')
    expect(opened.keys).toEqual([[]])
  })

  test('and were kept back for a while do not count: they are asked for', async () => {
    using opened = await open()
    forger.publishJson(subjects.keys, signStatement(own, 'leaseKeys', set(Date.now() - 60_000)))
    await expect.poll(() => opened.keys).toEqual([[], []])
  })
})

describe('an answer', () => {
  beforeAll(() => registry.service[Symbol.asyncDispose]())

  const Question = z.looseObject({ nonce: z.string() })

  /** Answers in place of the registry, which is not there. */
  async function answering(answer: (nonce: string) => unknown) {
    const subscriptions = [subjects.applicationsRequests, subjects.keysRequest].map(subject =>
      forger.serve(subject, { request: Question, handle: ({ nonce }) => answer(nonce) }),
    )
    await forger.connection.flush()
    return { [Symbol.dispose]: () => subscriptions.map(it => it.unsubscribe()) }
  }

  test.each<[string, (nonce: string) => unknown]>([
    ['unsigned', nonce => ({ nonce, nowMs: Date.now(), keys: [] })],
    [
      'signed by another authority',
      nonce => signStatement(foreign, 'leaseKeys', { nonce, nowMs: Date.now(), keys: [] }),
    ],
    [
      'of an earlier time',
      () =>
        signStatement(own, 'leaseKeys', {
          nonce: 'abcdefghijklmnopqrstuv',
          nowMs: Date.now(),
          keys: [],
        }),
    ],
  ])('%s leaves everything as it was', async (_, answer) => {
    const running = await startRegistry(registryConfig(registry.nats))
    using opened = await open()
    await running[Symbol.asyncDispose]()
    using _forged = await answering(answer)
    opened.directory.refresh()
    await expect.poll(() => opened.statements.problem).toBeTypeOf('string')
    expect(opened.ids()).toEqual(['louvre'])
    expect(opened.keys).toEqual([[]])
  })

  test('of a forger is nothing to start with', async () => {
    using _forged = await answering(nonce => ({ nonce, nowMs: Date.now(), keys: [] }))
    const bus = await registry.nats.connect('connector')
    const statements = await statementsOf(bus)
    const giveUp = new AbortController()
    const opening = openDirectory({
      bus,
      log: createLogger('test', 'silent'),
      groupId: group,
      statements,
      clock: createClock(() => undefined),
      signal: giveUp.signal,
      onApplications: () => undefined,
      onKeys: () => undefined,
    })
    const ended = expect(opening).rejects.toThrow()
    await expect.poll(() => statements.problem).toBeTypeOf('string')
    giveUp.abort()
    await ended
  })
})

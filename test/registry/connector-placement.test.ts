/** What administrators decide of a connector: which group, whether it may connect, whether it exists. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openAudit } from '#infra/audit.ts'
import type { Bus } from '#infra/bus.ts'
import {
  Connector,
  ConnectorGroup,
  type ConnectorStatus,
  Placement,
} from '#infra/contracts/connector.ts'
import { createLogger } from '#infra/log.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { type PlacementOptions, placeConnectors } from '../../registry/connector-placement.ts'
import { openConnectors } from '../../registry/connectors.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { openStore } from '../../registry/store.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import {
  connectorsPath,
  groupsPath,
  listen,
  startTestRegistry,
  statementsOf,
  type TestRegistry,
} from './fixture.ts'
import { sampleStatus } from './sample-status.ts'
import { testSigner } from './signer.ts'

const log = createLogger('test', 'silent')
const patient = { timeout: 10_000 }

const say = (bus: Bus, more: Partial<ConnectorStatus>) => {
  const status = sampleStatus(more)
  bus.publishJson(subjects.connectorStatus(status.groupId, status.connectorId), status)
}

describe('through the admin API', () => {
  let registry: TestRegistry
  let bus: Bus

  beforeAll(async () => {
    registry = await startTestRegistry()
    bus = await registry.nats.connect('connector')
    await registry.send('POST', groupsPath, { name: 'paris' })
  })
  afterAll(() => registry[Symbol.asyncDispose]())

  const read = async (id: string) => (await registry.send('GET', `${connectorsPath}/${id}`)).body
  const there = async (connectorId: string) => {
    say(bus, { connectorId })
    await expect.poll(async () => (await read(connectorId)).status, patient).toBe('active')
  }

  test('a connector is moved by Graph’s reference or a patch, and the events say so', async () => {
    await there('mover')
    const events = await listen(registry.nats, 'auditor', subjects.audits)
    const reference = { '@odata.id': `${registry.url}/v1.0${groupsPath}/paris` }
    const moved = await registry.send('POST', `${connectorsPath}/mover/memberOf/$ref`, reference)
    expect(moved.status).toBe(204)
    expect(await read('mover')).toMatchObject({
      connectorGroupId: 'paris',
      servedGroupId: 'default',
    })
    const members = await registry.send('GET', `${groupsPath}/paris/members`)
    expect(members.body.value).toMatchObject([{ id: 'mover' }])
    const back = await registry.send('PATCH', `${connectorsPath}/mover`, {
      connectorGroupId: 'default',
    })
    expect(back).toMatchObject({ status: 200, body: { connectorGroupId: 'default' } })
    const told = () => events.filter(({ connector }) => connector === 'mover')
    await expect
      .poll(() => told().map(event => `${event.outcome} ${event.connectorGroup}`), patient)
      .toEqual(['moved paris', 'moved default'])
    const changes = () => events.filter(({ resource }) => resource === 'connectors/mover')
    await expect
      .poll(() => changes().map(({ changed }) => changed), patient)
      .toEqual([['connectorGroupId'], ['connectorGroupId']])
  })

  test('a change of a connector made for an older state is refused with 412 and changes nothing', async () => {
    await there('contested')
    const url = `${connectorsPath}/contested`
    const etag = (await registry.send('GET', url)).headers.get('etag') ?? ''
    const as = (tag: string) => ({ 'if-match': tag })
    // What it says of itself is no change of what administrators have decided.
    say(bus, { connectorId: 'contested', state: 'saturated' })
    await expect.poll(async () => (await read('contested')).state, patient).toBe('saturated')
    const both = { connectorGroupId: 'paris', isEnabled: false }
    const first = await registry.send('PATCH', url, both, as(etag))
    expect(first).toMatchObject({ status: 200, body: both })
    for (const [method, path, body] of [
      ['PATCH', url, { isEnabled: true }],
      ['PATCH', url, { connectorGroupId: 'default' }],
      ['PATCH', url, {}],
      ['POST', `${url}/memberOf/$ref`, { id: 'default' }],
      ['DELETE', url, undefined],
    ] as const) {
      const late = await registry.send(method, path, body, as(etag))
      expect([late.status, late.body.code], method).toEqual([412, 'precondition_failed'])
    }
    const now = await read('contested')
    expect(now).toMatchObject(both)
    expect(first.headers.get('etag')).toBe(now['@odata.etag'])
    const removed = await registry.send('DELETE', url, undefined, as(now['@odata.etag']))
    expect(removed.status).toBe(204)
  })

  test('of two changes at once that were made for one state only one is made', async () => {
    await there('raced')
    const url = `${connectorsPath}/raced`
    const ifMatch = { 'if-match': (await read('raced'))['@odata.etag'] }
    const answers = await Promise.all([
      registry.send('PATCH', url, { connectorGroupId: 'paris' }, ifMatch),
      registry.send('PATCH', url, { isEnabled: false }, ifMatch),
    ])
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412])
  })

  test('what the connector itself says of its group does not undo a move', async () => {
    await there('stubborn')
    await registry.send('PATCH', `${connectorsPath}/stubborn`, { connectorGroupId: 'paris' })
    say(bus, { connectorId: 'stubborn', state: 'saturated' })
    await expect.poll(async () => (await read('stubborn')).state, patient).toBe('saturated')
    expect((await read('stubborn')).connectorGroupId).toBe('paris')
  })

  test('a connector that is not there, or a group that is not, is said by name', async () => {
    await there('stays')
    const nowhere = { connectorGroupId: 'nowhere' }
    const refused = await registry.send('PATCH', `${connectorsPath}/stays`, nowhere)
    expect(refused.status).toBe(400)
    expect(refused.body.errors).toMatchObject([{ property: 'connectorGroupId' }])
    expect(refused.body.detail).toContain('there is no connector group "nowhere"')
    for (const [method, path, body] of [
      ['PATCH', `${connectorsPath}/nobody`, { isEnabled: false }],
      ['DELETE', `${connectorsPath}/nobody`, undefined],
      ['POST', `${connectorsPath}/nobody/memberOf/$ref`, { id: 'paris' }],
    ] as const) {
      expect((await registry.send(method, path, body)).status, path).toBe(404)
    }
    const unknown = await registry.send('PATCH', `${connectorsPath}/stays`, { version: '9' })
    expect(unknown).toMatchObject({ status: 400, body: { errors: [{ property: 'version' }] } })
  })

  test('a disabled connector is inactive whatever it says, until it is enabled', async () => {
    await there('pausing')
    const gone = await listen(registry.nats, 'gateway', subjects.connectorsGone)
    const events = await listen(registry.nats, 'auditor', subjects.auditsLike('connector'))
    const off = await registry.send('PATCH', `${connectorsPath}/pausing`, { isEnabled: false })
    expect(off.body).toMatchObject({ isEnabled: false, status: 'inactive' })
    await expect.poll(() => gone).toContainEqual({ connectorId: 'pausing', reason: 'disabled' })
    say(bus, { connectorId: 'pausing', state: 'saturated' })
    await there('heard-after-it')
    expect(await read('pausing')).toMatchObject({ status: 'inactive', state: 'serving' })
    await registry.send('PATCH', `${connectorsPath}/pausing`, { isEnabled: true })
    await there('pausing')
    const outcomes = () =>
      events.filter(({ connector }) => connector === 'pausing').map(({ outcome }) => outcome)
    await expect.poll(outcomes, patient).toEqual(['disabled', 'enabled', 'active'])
  })

  test('a connector that asks is told where it belongs: its own word counts until somebody has decided', async () => {
    const statements = await statementsOf(bus)
    const ask = (connectorId: string, wishedGroupId: string) =>
      statements.ask(subjects.placementRequest(connectorId), {
        type: 'placement',
        said: Placement,
        request: { wishedGroupId },
      })
    const connectorId = 'asking'
    const told = (state: string, connectorGroupId: string) => ({
      connectorId,
      state,
      connectorGroupId,
    })
    expect(await ask(connectorId, 'lyon')).toEqual(told('enabled', 'lyon'))
    await there(connectorId)
    expect(await ask(connectorId, 'lyon')).toEqual(told('enabled', 'lyon'))
    await registry.send('PATCH', `${connectorsPath}/asking`, { connectorGroupId: 'paris' })
    expect(await ask(connectorId, 'lyon')).toEqual(told('enabled', 'paris'))
    await registry.send('PATCH', `${connectorsPath}/asking`, { isEnabled: false })
    expect(await ask(connectorId, 'lyon')).toEqual(told('disabled', 'paris'))
  })

  test('a removed connector is gone at once, and its removal is told', async () => {
    await there('leaving')
    const gone = await listen(registry.nats, 'gateway', subjects.connectorsGone)
    expect((await registry.send('DELETE', `${connectorsPath}/leaving`)).status).toBe(204)
    const again = await registry.send('GET', `${connectorsPath}/leaving`)
    expect(again.status).toBe(404)
    await expect.poll(() => gone).toContainEqual({ connectorId: 'leaving', reason: 'removed' })
  })
})

interface Cut {
  readonly connectorId: string
  readonly afterMs: number
  /** What a question was answered by at that moment. */
  readonly record: Connector | undefined
}

type Groups = PlacementOptions['groups']

/** Connectors with certificates of their own, and who is cut off when. */
async function openPlacement(nats: TestNats, view = (groups: Groups): Groups => groups) {
  await using stack = new AsyncDisposableStack()
  const bus = await nats.connect('registry')
  await prepareStorage(bus, { replicas: 1, auditMaxBytes: 2 ** 24, auditMaxAgeMs: 86_400_000, log })
  const audit = stack.use(openAudit(bus, { service: 'registry', log }))
  const store = stack.use(
    await openStore(bus, { bucket: buckets.connectors, schema: Connector, log }),
  )
  const groups = stack.use(
    await openStore(bus, { bucket: buckets.connectorGroups, schema: ConnectorGroup, log }),
  )
  for (const id of ['default', 'paris']) {
    const createdDateTime = new Date().toISOString()
    await groups.replace(id, ConnectorGroup.parse({ id, name: id, createdDateTime }), undefined)
  }
  const common = { bus, store, audit, log, isEnrolmentRequired: true }
  const connectors = stack.use(openConnectors({ ...common, removeInactiveAfterMs: 86_400_000 }))
  const cuts: Cut[] = []
  const busAccess = {
    cutOff: async (connectorId: string, { afterMs = 0 } = {}) => {
      cuts.push({ connectorId, afterMs, record: store.get(connectorId)?.value })
    },
  }
  const signer = testSigner()
  const placement = stack.use(
    placeConnectors({ ...common, connectors, groups: view(groups), busAccess, signer }),
  )
  const enrol = async (id: string) => {
    const certificates = [{ serialNumber: '0a', spki: 'x'.repeat(43), notAfter: inAMonth }]
    const record = { id, connectorGroupId: 'default', certificates, ...never }
    await connectors.change(id, { apply: () => Connector.parse(record), outcome: 'enrolled' })
  }
  const owned = stack.move()
  return { placement, connectors, cuts, enrol, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const inAMonth = new Date(Date.now() + 30 * 86_400_000).toISOString()
const never = {
  machineName: 'machine.internal',
  version: '0.1.0',
  status: 'inactive',
  lastSeenDateTime: new Date().toISOString(),
}

describe('where connectors have certificates', () => {
  let nats: TestNats
  let parts: Awaited<ReturnType<typeof openPlacement>>
  let bus: Bus

  beforeAll(async () => {
    nats = await startTestNats()
    parts = await openPlacement(nats)
    bus = await nats.connect('connector')
  })
  afterAll(async () => {
    await parts[Symbol.asyncDispose]()
    await nats[Symbol.asyncDispose]()
  })

  test('the record is written first, then the connections are cut', async () => {
    const { placement, cuts, enrol } = parts
    for (const id of ['out', 'off', 'away']) await enrol(id)
    await placement.update('off', { isEnabled: false })
    await placement.update('away', { connectorGroupId: 'paris' })
    await placement.remove('out')
    expect(cuts).toMatchObject([
      { connectorId: 'off', afterMs: 0, record: { isEnabled: false } },
      { connectorId: 'away', afterMs: 0, record: { connectorGroupId: 'paris' } },
      { connectorId: 'out', afterMs: 0, record: undefined },
    ])
  })

  test('a connector that is moved while the group is deleted by another registry stays where it was', async () => {
    let isLate = true
    await using late = await openPlacement(nats, groups => ({
      entries: groups.entries,
      get: id => groups.get(isLate && id === 'gone' ? 'paris' : id),
      async sync() {
        await groups.sync()
        isLate = false
      },
    }))
    await late.enrol('late')
    const { revision: _, value: before } = late.connectors.get('late')
    await expect(late.placement.update('late', { connectorGroupId: 'gone' })).rejects.toMatchObject(
      { problems: [{ property: 'connectorGroupId' }] },
    )
    expect(late.connectors.get('late').value).toEqual(before)
    expect(late.cuts).toEqual([])
  })

  test('a connector that is moved and listens has time to finish, one that does not has none', async () => {
    const { placement, cuts, enrol } = parts
    for (const id of ['deaf', 'listening']) await enrol(id)
    const told: string[] = []
    bus.subscribe(subjects.placementOf('listening'), {
      callback: ({ subject }) => void told.push(subject),
    })
    await bus.connection.flush()
    for (const id of ['deaf', 'listening']) {
      await placement.update(id, { connectorGroupId: 'paris' })
    }
    expect(told).toEqual([subjects.placementOf('listening')])
    const afterMs = (id: string) => cuts.find(({ connectorId }) => connectorId === id)?.afterMs
    expect(afterMs('deaf')).toBe(0)
    expect(afterMs('listening')).toBeGreaterThan(20_000)
  })

  test('disabling once more cuts once more: somebody wants to be sure', async () => {
    const { placement, cuts, enrol } = parts
    await enrol('twice')
    const first = await placement.update('twice', { isEnabled: false })
    const second = await placement.update('twice', { isEnabled: false })
    expect([first.changed, second.changed]).toEqual([['isEnabled'], []])
    expect(cuts.filter(({ connectorId }) => connectorId === 'twice')).toHaveLength(2)
  })

  test('whoever is not enrolled, or was removed, does not come to exist by reporting', async () => {
    const { placement, connectors, enrol } = parts
    await enrol('removed')
    await placement.remove('removed')
    await enrol('present')
    for (const connectorId of ['removed', 'invented', 'present']) say(bus, { connectorId })
    // What takes several writes one after the other has taken longer than the one write of the others would.
    for (const state of ['serving', 'saturated', 'serving', 'saturated'] as const) {
      say(bus, { connectorId: 'present', state })
      const present = () => connectors.get('present').value.lastStatus?.state
      await expect.poll(present, patient).toBe(state)
    }
    expect(connectors.list().map(({ value }) => value.id)).not.toContain('removed')
    expect(connectors.list().map(({ value }) => value.id)).not.toContain('invented')
  })
})

/** What each role may do on the bus, tried against a real server with the permissions that are shipped. */

import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import { type BusRole, busRoles, permissions } from '#infra/permissions.ts'
import { buckets, streams, subjects } from '#infra/subjects.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'

let nats: TestNats

beforeAll(async () => {
  nats = await startTestNats()
  const registry = await nats.connect('registry')
  const kvm = new Kvm(registry.connection)
  for (const bucket of Object.values(buckets)) {
    const store = await kvm.create(bucket, { markerTTL: 60_000, allow_direct: true })
    await store.put('there', 'before')
  }
  const manager = await jetstreamManager(registry.connection)
  await manager.streams.add({ name: streams.audit, subjects: [subjects.audits] })
})

afterAll(() => nats[Symbol.asyncDispose]())

/** Whether the server refused: its answer to a flush comes after any complaint about what was sent before. */
async function isRefused(bus: Bus, act: (bus: Bus) => void): Promise<boolean> {
  let refused = false
  const status = bus.connection.status()
  const watching = (async () => {
    for await (const event of status) {
      if (event.type === 'error' && /permissions violation/i.test(event.error.message)) {
        refused = true
      }
    }
  })()
  act(bus)
  await bus.connection.flush()
  // The complaint travels through the client's own queue of status events.
  await new Promise(resolve => setImmediate(resolve))
  await bus.connection.close()
  await watching
  return refused
}

const mayPublish = async (role: BusRole, subject: string) =>
  !(await isRefused(await nats.connect(role), bus => bus.connection.publish(subject, 'x')))

const maySubscribe = async (role: BusRole, subject: string, queue?: string) =>
  !(await isRefused(await nats.connect(role), bus => {
    const options = queue === undefined ? {} : { queue }
    bus.connection.subscribe(subject, { ...options, callback: () => undefined })
  }))

async function expectAll(
  isAllowed: boolean,
  check: (role: BusRole, subject: string) => Promise<boolean>,
  cases: readonly (readonly [BusRole, string])[],
): Promise<void> {
  for (const [role, subject] of cases) {
    expect(await check(role, subject), `${role} ${subject}`).toBe(isAllowed)
  }
}

describe('an outside system', () => {
  it('may say what it knows of risks and facts, and nothing else', async () => {
    await expectAll(true, mayPublish, [
      ['signals', subjects.signal('risk', 'user', 'ada@example.com')],
      ['signals', subjects.signal('fact', 'everything', '', 'change-freeze')],
    ])
    await expectAll(false, mayPublish, [
      ['signals', subjects.reevaluate],
      ['signals', subjects.whatIf],
      ['signals', subjects.evaluate],
      ['signals', subjects.revoke('user', 'ada@example.com')],
      ['signals', `$KV.${buckets.signals}.x`],
      ['signals', `$KV.${buckets.policies}.x`],
    ])
    await expectAll(false, maySubscribe, [
      ['signals', subjects.signals],
      ['signals', subjects.audits],
      ['signals', '>'],
    ])
  })

  it('is the only one whose signals count: gateways and connectors cannot make any, nor change policies', () =>
    expectAll(false, mayPublish, [
      ['gateway', subjects.signal('risk', 'user', 'ada@example.com')],
      ['gateway', subjects.reevaluate],
      ['gateway', `$KV.${buckets.signals}.x`],
      ['connector', subjects.signal('risk', 'user', 'ada@example.com')],
      ['policy', `$KV.${buckets.policies}.x`],
    ]))
})

describe('a gateway', () => {
  it('may ask connectors and policy, and record access', () =>
    expectAll(true, mayPublish, [
      ['gateway', subjects.exchange('paris', 'wiki')],
      ['gateway', subjects.down('c1', 'e1')],
      ['gateway', subjects.evaluate],
      ['gateway', subjects.signIn],
      ['gateway', subjects.signOut],
      ['gateway', subjects.audit('access', 'wiki', 'granted')],
      ['gateway', subjects.wanted('paris')],
    ]))

  it('cannot speak as a connector, a policy service or a registry', () =>
    expectAll(false, mayPublish, [
      ['gateway', subjects.up('c1', 'g1', 'e1')],
      ['gateway', subjects.revoke('session', 's1')],
      ['gateway', subjects.audit('policy', undefined, 'grant')],
      ['gateway', subjects.audit('admin', undefined, 'created')],
      ['gateway', subjects.applicationsOf('paris')],
      ['gateway', subjects.keys],
      ['gateway', `${subjects.inbox('connector', 'c1')}.1`],
      ['gateway', subjects.connectorStatus('paris', 'c1')],
      ['gateway', subjects.connectorPace('paris', 'c1')],
      ['gateway', subjects.paceOf('paris')],
    ]))

  it('cannot read requests, other roles’ answers or the audit', () =>
    expectAll(false, maySubscribe, [
      ['gateway', subjects.exchangesOf('paris')],
      ['gateway', subjects.evaluate],
      ['gateway', subjects.audits],
      ['gateway', `${subjects.inbox('policy', 'p1')}.*`],
      ['gateway', '_INBOX.>'],
      ['gateway', '>'],
      ['gateway', '$SYS.>'],
      ['gateway', '$KV.>'],
    ]))

  it('reads applications, and writes sessions and codes', async () => {
    const bus = await nats.connect('gateway')
    const kvm = new Kvm(bus.connection)
    const applications = await kvm.open(buckets.applications)
    expect((await applications.get('there'))?.string()).toBe('before')
    const watch = await applications.watch()
    const { value } = await watch[Symbol.asyncIterator]().next()
    expect(value.key).toBe('there')
    watch.stop()
    for (const name of [buckets.sessions, buckets.codes]) {
      const bucket = await kvm.open(name)
      const revision = await bucket.create('key', 'one', '30s')
      const next = await bucket.update('key', 'two', revision)
      await expect(bucket.update('key', 'three', revision)).rejects.toThrow(/wrong last sequence/)
      await bucket.delete('key', { previousSeq: next })
    }
  })

  it('has its audit events acknowledged', async () => {
    const bus = await nats.connect('gateway')
    const subject = subjects.audit('access', 'wiki', 'granted')
    const ack = await jetstream(bus.connection).publish(subject, '{}', { msgID: 'one' })
    expect(ack.stream).toBe(streams.audit)
  })

  it('cannot change applications, read principals, or touch the stores themselves', () =>
    expectAll(false, mayPublish, [
      ['gateway', `$KV.${buckets.applications}.wiki`],
      ['gateway', `$KV.${buckets.revocations}.session.s1`],
      ['gateway', `$KV.${buckets.leaseKeys}.k1`],
      ['gateway', `$JS.API.STREAM.INFO.KV_${buckets.principals}`],
      ['gateway', `$JS.API.DIRECT.GET.KV_${buckets.principals}.$KV.principals.there`],
      ['gateway', `$JS.API.CONSUMER.CREATE.KV_${buckets.principals}.c`],
      ['gateway', `$JS.API.STREAM.DELETE.KV_${buckets.sessions}`],
      ['gateway', `$JS.API.STREAM.PURGE.KV_${buckets.sessions}`],
      ['gateway', `$JS.API.CONSUMER.CREATE.${streams.audit}.c`],
      ['gateway', `$JS.API.STREAM.DELETE.${streams.audit}`],
    ]))
})

describe('a connector', () => {
  it('tells its pace, and hears that of its group and that it is wanted', async () => {
    expect(await mayPublish('connector', subjects.connectorPace('paris', 'c1'))).toBe(true)
    await expectAll(true, maySubscribe, [
      ['connector', subjects.paceOf('paris')],
      ['connector', subjects.wanted('paris')],
    ])
  })

  it('cannot hear the pace of other connectors, nor speak for registry or a gateway about it', async () => {
    expect(await maySubscribe('connector', subjects.connectorPaces)).toBe(false)
    await expectAll(false, mayPublish, [
      ['connector', subjects.paceOf('paris')],
      ['connector', subjects.wanted('paris')],
    ])
  })

  it('takes exchanges only as a member of a queue group', async () => {
    const exchanges = subjects.exchangesOf('paris')
    expect(await maySubscribe('connector', exchanges, 'paris')).toBe(true)
    expect(await maySubscribe('connector', exchanges)).toBe(false)
  })

  it('cannot ask other connectors, record audit, or use JetStream', () =>
    expectAll(false, mayPublish, [
      ['connector', subjects.exchange('paris', 'wiki')],
      ['connector', subjects.down('c1', 'e1')],
      ['connector', subjects.evaluate],
      ['connector', subjects.revoke('session', 's1')],
      ['connector', subjects.audit('access', 'wiki', 'granted')],
      ['connector', subjects.applicationsOf('paris')],
      ['connector', subjects.keys],
      ['connector', `${subjects.inbox('gateway', 'g1')}.1`],
      ['connector', '$JS.API.INFO'],
      ['connector', `$JS.API.STREAM.INFO.KV_${buckets.applications}`],
      ['connector', `$KV.${buckets.applications}.wiki`],
      ['connector', '$SYS.REQ.USER.AUTH'],
    ]))

  it('cannot listen to others', () =>
    expectAll(false, maySubscribe, [
      ['connector', subjects.upTo('g1')],
      ['connector', `${subjects.inbox('gateway', 'g1')}.*`],
      ['connector', subjects.audits],
      ['connector', '_INBOX.>'],
      ['connector', 'sallyport.>'],
    ]))
})

describe('a policy service', () => {
  it('writes what it decides on and reads the applications', async () => {
    const bus = await nats.connect('policy')
    const kvm = new Kvm(bus.connection)
    for (const name of [buckets.principals, buckets.revocations, buckets.leaseKeys]) {
      const bucket = await kvm.open(name)
      await bucket.put('written', 'value')
      expect((await bucket.get('written'))?.string()).toBe('value')
    }
    const applications = await kvm.open(buckets.applications)
    expect((await applications.get('there'))?.string()).toBe('before')
  })

  it('cannot change applications, read sessions, or take part in exchanges', () =>
    expectAll(false, mayPublish, [
      ['policy', `$KV.${buckets.applications}.wiki`],
      ['policy', `$KV.${buckets.sessions}.s1`],
      ['policy', `$JS.API.STREAM.INFO.KV_${buckets.sessions}`],
      ['policy', subjects.exchange('paris', 'wiki')],
      ['policy', subjects.up('c1', 'g1', 'e1')],
      ['policy', subjects.audit('access', 'wiki', 'granted')],
      ['policy', subjects.audit('admin', undefined, 'created')],
      ['policy', subjects.applicationsOf('paris')],
    ]))

  it('sees a request only as a member of its queue group', async () => {
    expect(await maySubscribe('policy', subjects.evaluate, 'policy')).toBe(true)
    expect(await maySubscribe('policy', subjects.evaluate)).toBe(false)
  })
})

describe('an auditor', () => {
  it('follows events and replays them', async () => {
    const registry = await nats.connect('registry')
    const auditor = await nats.connect('auditor')
    const seen = Promise.withResolvers<string>()
    auditor.subscribe(subjects.audits, { callback: message => seen.resolve(message.subject) })
    await auditor.connection.flush()
    const subject = subjects.audit('admin', undefined, 'created')
    await jetstream(registry.connection).publish(subject, '{"id":"1"}')
    expect(await seen.promise).toBe(subject)
    const consumer = await jetstream(auditor.connection).consumers.get(streams.audit, {
      filter_subjects: subject,
    })
    expect((await consumer.next({ expires: 5_000 }))?.string()).toBe('{"id":"1"}')
  })

  it('can record, change and delete nothing', () =>
    expectAll(false, mayPublish, [
      ['auditor', subjects.audit('access', 'wiki', 'granted')],
      ['auditor', subjects.evaluate],
      ['auditor', subjects.exchange('paris', 'wiki')],
      ['auditor', `$JS.API.STREAM.PURGE.${streams.audit}`],
      ['auditor', `$JS.API.STREAM.DELETE.${streams.audit}`],
      ['auditor', `$JS.API.STREAM.UPDATE.${streams.audit}`],
      ['auditor', `$JS.API.STREAM.MSG.DELETE.${streams.audit}`],
      ['auditor', `$JS.API.STREAM.INFO.KV_${buckets.sessions}`],
      ['auditor', `$KV.${buckets.applications}.wiki`],
    ]))

  it('sees nothing but audit events', () =>
    expectAll(false, maySubscribe, [
      ['auditor', subjects.upTo('g1')],
      ['auditor', 'sallyport.>'],
      ['auditor', subjects.exchangesOf('paris')],
      ['auditor', '$KV.>'],
    ]))
})

describe('the listener at the system account', () => {
  it('hears which connections begin and end', async () => {
    const system = await nats.connect('system')
    const seen = Promise.withResolvers<string>()
    system.subscribe(subjects.connectionsEnded, { callback: ({ data }) => seen.resolve(`${data}`) })
    await system.connection.flush()
    const connector = await nats.connect('connector', 'c-17')
    await connector.connection.close()
    expect(JSON.parse(await seen.promise).client).toMatchObject({
      user: 'connector',
      name: 'sallyport connector c-17',
    })
  })

  it('can say nothing and ask the server nothing', () =>
    expectAll(false, mayPublish, [
      ['system', '$SYS.REQ.SERVER.PING'],
      ['system', '$SYS.REQ.ACCOUNT.PING.CONNZ'],
      ['system', '$SYS.REQ.SERVER.RELOAD'],
      ['system', subjects.connectorGone('c1')],
      ['system', subjects.audit('access', 'wiki', 'granted')],
    ]))

  it('hears nothing else of the server', () =>
    expectAll(false, maySubscribe, [
      ['system', '$SYS.>'],
      ['system', '$SYS.SERVER.*.CLIENT.AUTH.ERR'],
      ['system', '>'],
      ['system', 'sallyport.>'],
    ]))

  it('is in another account: no message of ours is there', async () => {
    const registry = await nats.connect('registry')
    await expect(registry.connection.request('$SYS.REQ.SERVER.PING', '')).rejects.toThrow()
    expect(
      await isRefused(await nats.connect('gateway'), bus => {
        bus.connection.subscribe(subjects.connectionsEnded, { callback: () => undefined })
      }),
    ).toBe(true)
  })
})

it('gives no role but the registry a wildcard over all of Sallyport or JetStream', () => {
  const wide = /^(>|\*|sallyport\.>|\$JS\.>|\$JS\.API\.>|\$KV\.>)$/
  for (const role of busRoles.filter(one => one !== 'registry')) {
    const all = [...permissions[role].publish, ...permissions[role].subscribe]
    expect(
      all.filter(subject => wide.test(subject)),
      role,
    ).toEqual([])
  }
})

/**
 * A connector that was taken over: it has a valid certificate and tries what it should not. What the bus can refuse it
 * refuses; what it cannot, the gateways discard, and the connector is cut off.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeBatch } from '#infra/frame-batch.ts'
import {
  decodeRequest,
  encodeData,
  encodeEnd,
  encodeRefused,
  encodeResponse,
} from '#infra/frames.ts'
import type { RequestFrame, ResponseFrame } from '#infra/wire.ts'
import {
  changeConnector,
  createGroup,
  moveToGroup,
  readConnector,
  removeConnector,
} from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { followAudit, type LiveEvent } from '../harness/live-audit.ts'
import { type Rogue, startRogue } from '../harness/rogue.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'
import { sampleStatus } from '../registry/sample-status.ts'

const whole: Omit<ResponseFrame, 'type'> = {
  status: 200,
  reason: 'OK',
  headers: [],
  body: Buffer.alloc(0),
  bodyFollows: false,
  isUpgrade: false,
}

let origin: CountingOrigin
let system: TestSystem
let rogue: Rogue
let events: readonly LiveEvent[]
let wiki: Client
let trap: Client

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({
    // The bus's server complains of every attempt.
    ownLogLevel: 'silent',
    // What the others have said is seen on the bus.
    environment: { SALLYPORT_CONNECTOR_DIRECT_CONNECTIONS: 'false' },
    publish: [signedInApplication('wiki', origin.url), signedInApplication('trap', origin.url)],
  })
  await createGroup(system, 'lyon')
  await createGroup(system, 'paris')
  await moveToGroup(system, 'trap', 'lyon')
  events = await followAudit(system)
  rogue = await startRogue(system, 'rogue', 'lyon')
  await rogue.come()
  const [gateway = ''] = system.gatewayUrls
  wiki = new Client(gateway, await signInTo(system, 'wiki'))
  trap = new Client(gateway, await signInTo(system, 'trap'))
})
afterAll(async () => {
  wiki?.[Symbol.dispose]()
  trap?.[Symbol.dispose]()
  await rogue?.[Symbol.asyncDispose]()
  await system?.[Symbol.asyncDispose]()
  await origin?.[Symbol.asyncDispose]()
})

describe('the bus refuses', () => {
  test.each([
    ["its group's exchanges outside the queue: a copy of each", 'sallyport.exchange.lyon.*', ''],
    ["its group's exchanges in another queue: a copy of each", 'sallyport.exchange.lyon.*', 'own'],
    ["another group's exchanges", 'sallyport.exchange.default.*', 'default'],
    ["another group's exchanges in its own queue", 'sallyport.exchange.default.*', 'lyon'],
    ["every group's exchanges", 'sallyport.exchange.*.*', 'lyon'],
    ['everything', '>', ''],
    ['what goes to gateways: answers', 'sallyport.up.>', ''],
    ['what goes to gateways: decisions', 'sallyport.inbox.gateway.>', ''],
    ['what goes to another connector: bodies', 'sallyport.down.connector-1.*', ''],
    ['what goes to another connector: its lists', 'sallyport.inbox.connector.connector-1.>', ''],
    ['what goes to another connector: its placement', 'sallyport.placement.connector-1', ''],
    ["another group's applications", 'sallyport.group.default.applications', ''],
    ['what other connectors say of themselves', 'sallyport.connector-status.>', ''],
    ['the audit trail', 'sallyport.audit.>', ''],
    ['what registry is asked', 'sallyport.registry.>', ''],
    ["the bus's own events", '$SYS.>', ''],
    ['the store', '$KV.>', ''],
    ["the store's interface", '$JS.API.>', ''],
    ['inboxes of strangers', '_INBOX.>', ''],
  ])('listening to %s', async (_, subject, queue) => {
    expect(await rogue.subscribe({ subject, ...(queue && { queue }) })).not.toEqual([])
  })

  test.each([
    ['an answer as another connector', 'sallyport.up.connector-1.gateway.exchange'],
    ['a request to a group', 'sallyport.exchange.default.wiki'],
    ['a request to its own group', 'sallyport.exchange.lyon.trap'],
    ["a part of somebody's request body", 'sallyport.down.connector-1.exchange'],
    ["another connector's status", 'sallyport.connector-status.default.connector-1'],
    ['its status in another group', 'sallyport.connector-status.default.rogue'],
    ["another group's applications, asked for", 'sallyport.registry.applications.default'],
    ["another connector's certificate, asked for", 'sallyport.registry.renew.connector-1'],
    ['an enrolment', 'sallyport.registry.enroll'],
    ['an audit event', 'sallyport.audit.access.wiki.granted'],
    ['a revocation', 'sallyport.revoke.user.alice'],
    ['lease keys', 'sallyport.keys'],
    ['applications for its group', 'sallyport.group.lyon.applications'],
    ['a question to policy', 'sallyport.policy.evaluate'],
    ['a sign-in', 'sallyport.policy.sign-in'],
    ['the loss of another connector', 'sallyport.connector-gone.connector-1'],
    ['the misbehaviour of another connector', 'sallyport.misbehaviour.connector-1'],
    ['an answer to what a gateway asked policy', 'sallyport.inbox.gateway.any.answer'],
    ['a read of the store', '$JS.API.STREAM.INFO.KV_applications'],
    ['a write to the store', '$KV.connectors.rogue'],
    ['who connects, asked', '$SYS.REQ.SERVER.PING.CONNZ'],
    ['the end of a connection', '$SYS.REQ.SERVER.any.KICK'],
    ['who a connector is, asked', '$SYS.REQ.USER.AUTH'],
  ])('saying %s', async (_, subject) => {
    expect(
      await rogue.publish({ subject, data: '{}', reply: 'sallyport.inbox.connector.rogue.x' }),
    ).toEqual([`publish ${subject}`])
  })

  test('an inbox of somebody else as the place for an answer', async () => {
    const subject = 'sallyport.registry.keys'
    const reply = 'sallyport.audit.access.wiki.granted'
    await rogue.publish({ subject, data: '{}', reply })
    await expectAlive()
    expect(
      events.filter(({ event }) => event.outcome === 'granted' && event.application === null),
    ).toEqual([])
  })

  test('the name of another connector', async () => {
    await using other = await startRogue(system, 'second', 'lyon')
    await expect(other.come('sallyport connector connector-1')).rejects.toThrow(/refuses/)
    await expect(other.come('sallyport gateway any')).rejects.toThrow(/refuses/)
    await expect.poll(() => reasons('refused', 'second')).toContain('foreign_name')
  })

  test('nothing of what a connector needs', async () => {
    for (const subject of [
      'sallyport.down.rogue.*',
      'sallyport.group.lyon.applications',
      'sallyport.keys',
    ])
      expect(await rogue.subscribe({ subject })).toEqual([])
    expect(await rogue.publish({ subject: 'sallyport.up.rogue.any.x' })).toEqual([])
  })
})

describe('what the bus cannot refuse is discarded, and the connector cut off and kept out:', () => {
  test('a second answer', async () => {
    await takeExchanges()
    const answer = trap.send('/')
    const frame = await nextRequest()
    await respond(frame, 'first')
    expect((await answer).text).toBe('first')
    await respond(frame, 'second')
    await expectCutOff('answered_twice')
  })

  test.each([
    ['a refusal', encodeRefused('busy', 'changed its mind', true)],
    ['a switch of protocols', encodeResponse({ ...whole, status: 101, isUpgrade: true })],
  ])('%s after the beginning of an answer, and nobody is asked again', async (_, second) => {
    await using turncoat = await startRogue(system, `turncoat-${second[0]}`, 'lyon')
    await turncoat.come()
    await takeExchanges(turncoat)
    const broken = expect(trap.send('/twice')).rejects.toThrow('aborted')
    const frame = await nextRequest('/twice', turncoat)
    await say(frame, encodeResponse({ ...whole, bodyFollows: true }), turncoat)
    await say(frame, second, turncoat)
    await broken
    await turncoat.untilCut()
    expect(await requestsFor('/twice', turncoat)).toHaveLength(1)
    await expect.poll(() => reasons('cut_off', turncoat.connectorId)).toContain('answered_twice')
  })

  test('a switch of protocols with a head of its own in it, and the client is told', async () => {
    await takeExchanges()
    const headers = [['Connection', 'Upgrade'] as const, ['Upgrade', 'any'] as const]
    const answer = trap.send('/switch', { headers })
    const forged = ['X', 'a\r\n\r\nHTTP/1.1 200 OK']
    const switching = { status: 101, headers: forged, bodyFollows: true, isUpgrade: true }
    await respond(await nextRequest('/switch'), '', switching)
    expect(await answer).toMatchObject({ status: 502 })
  })

  test.each([
    ['longer', '2'],
    ['shorter', '9'],
  ])('an answer that is %s than it says', async (how, length) => {
    await takeExchanges()
    const answer = trap.send(`/${how}`)
    await respond(await nextRequest(`/${how}`), 'four', { headers: ['Content-Length', length] })
    expect(await answer).toMatchObject({ status: 502 })
  })

  test('a body that streams and is longer than it says, and the connection of the client ends', async () => {
    await takeExchanges()
    const broken = expect(trap.send('/streams')).rejects.toThrow(/aborted|ECONNRESET|hang up/)
    const request = await nextRequest('/streams')
    await respond(request, 'four', { headers: ['Content-Length', '6'], bodyFollows: true })
    await say(request, encodeData(Buffer.from('five')))
    await broken
  })

  test('trailers that are no HTTP behind a body that had to wait, and the gateway goes on', async () => {
    await takeExchanges()
    const broken = expect(trap.send('/trailers')).rejects.toThrow('aborted')
    const { gatewayId, exchangeId } = await nextRequest('/trailers')
    // In one message, so that the client has had no time to take anything.
    const frames = [
      encodeResponse({ ...whole, body: Buffer.alloc(100_000), bodyFollows: true }),
      encodeData(Buffer.alloc(10_000)),
      encodeEnd(110_000, ['X-Sum', 'a\r\nb']),
    ]
    const batch = encodeBatch(frames.map(frame => ({ exchangeId, frame })))
    await say({ gatewayId, exchangeId: '-' }, batch)
    await broken
    const next = trap.send('/after-trailers')
    await respond(await nextRequest('/after-trailers'), 'next')
    expect((await next).text).toBe('next')
  })

  test('an answer to what another connector was asked', async () => {
    const bus = await system.connect('registry')
    const asked = Promise.withResolvers<RequestFrame>()
    bus.subscribe('sallyport.exchange.default.wiki', {
      callback: ({ data }) => asked.resolve(decodeRequest(data)),
    })
    const accepted = Promise.withResolvers<void>()
    bus.subscribe('sallyport.up.connector-1.>', { callback: () => accepted.resolve() })
    await bus.connection.flush()
    const answer = wiki.send('/held')
    const frame = await asked.promise
    await accepted.promise
    await respond(frame, 'from the rogue')
    await expectCutOff('answered_for_another')
    origin.release()
    expect((await answer).text).not.toContain('rogue')
  })

  test('a flood', async () => {
    const bus = await system.connect('registry')
    const asked = Promise.withResolvers<RequestFrame>()
    bus.subscribe('sallyport.exchange.default.wiki', {
      callback: ({ data }) => asked.resolve(decodeRequest(data)),
    })
    await bus.connection.flush()
    await expectAlive()
    const { gatewayId } = await asked.promise
    const flooding = rogue
      .publish({ subject: `sallyport.up.rogue.${gatewayId}.none`, data: 'x', count: 30_000 })
      .catch(() => undefined)
    await expectCutOff('flood')
    await flooding
    await expectAlive()
    // A line for each would take the gateway longer than the bus waits for it.
    expect((await system.logs()).match(/unreadable answer/g)?.length).toBeLessThan(20)
    expect(await system.logs()).not.toContain('connection to the bus lost')
  })

  test('a flood of whatever registry listens to, all kinds counted together', async () => {
    await using flooder = await startRogue(system, 'flooder', 'lyon')
    await flooder.come()
    const status = sampleStatus({ connectorId: 'flooder', groupId: 'lyon' })
    const flooding = [
      { subject: 'sallyport.connector-status.lyon.flooder', data: JSON.stringify(status) },
      { subject: 'sallyport.registry.placement.flooder' },
      { subject: 'sallyport.registry.renew.flooder' },
    ].map(kind => flooder.publish({ ...kind, count: 2_000 }).catch(() => undefined))
    await flooder.untilCut()
    await expect.poll(() => reasons('cut_off', 'flooder')).toContain('flood')
    await Promise.all(flooding)
    expect(await readConnector(system, 'flooder')).toMatchObject({ isEnabled: false })
  })
})

test('what it says of another connector under its own name is discarded', async () => {
  const status = sampleStatus({ connectorId: 'connector-1', groupId: 'default', state: 'stopped' })
  const subject = 'sallyport.connector-status.lyon.rogue'
  const held = wiki.send('/held')
  await expect.poll(() => origin.held).toBe(1)
  expect(await rogue.publish({ subject, data: JSON.stringify(status) })).toEqual([])
  await expectAlive()
  origin.release()
  expect((await held).status).toBe(200)
  expect((await readConnector(system, 'connector-1')).status).toBe('active')
})

describe('within a second, and for good, a connection ends', () => {
  const within = async (act: () => Promise<void>) => {
    const startedAt = performance.now()
    await Promise.all([act(), rogue.untilCut()])
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  }
  const isOut = () => expect(rogue.come()).rejects.toThrow(/refuses/)

  test('when the connector is disabled, until it is enabled', async () => {
    await within(() => changeConnector(system, 'rogue', { isEnabled: false }))
    await isOut()
    await changeConnector(system, 'rogue', { isEnabled: true })
    await rogue.come()
  })

  test('when the connector is moved, with all rights in the group before', async () => {
    await within(() => changeConnector(system, 'rogue', { connectorGroupId: 'paris' }))
    await rogue.come()
    const lyon = { subject: 'sallyport.exchange.lyon.*', queue: 'lyon' }
    expect(await rogue.subscribe(lyon)).not.toEqual([])
    const paris = { subject: 'sallyport.exchange.paris.*', queue: 'paris' }
    expect(await rogue.subscribe(paris)).toEqual([])
  })

  test('when the connector is removed', async () => {
    await within(() => removeConnector(system, 'rogue'))
    await isOut()
    await expect.poll(() => reasons('refused', 'rogue')).toContain('connector_removed')
  })
})

function reasons(outcome: string, connectorId: string): (string | null | undefined)[] {
  return events
    .map(({ event }) => event)
    .filter(event => event.category === 'connector')
    .filter(event => event.outcome === outcome && event.connector === connectorId)
    .map(event => event.reason)
}

async function expectAlive(): Promise<void> {
  expect((await wiki.send('/')).status).toBe(200)
}

/** It is out, cannot come back, and is on record; then an administrator lets it in again for the next test. */
async function expectCutOff(reason: string): Promise<void> {
  await rogue.untilCut()
  await expect(rogue.come()).rejects.toThrow(/refuses/)
  await expect.poll(() => reasons('cut_off', 'rogue')).toContain(reason)
  await changeConnector(system, 'rogue', { isEnabled: true })
  await rogue.come()
}

/** As a member of its own group's queue, which is its right. */
async function takeExchanges(by = rogue): Promise<void> {
  expect(await by.subscribe({ subject: 'sallyport.exchange.lyon.*', queue: 'lyon' })).toEqual([])
}

async function nextRequest(target = '/', by = rogue): Promise<RequestFrame> {
  await expect.poll(async () => (await requestsFor(target, by)).length).toBeGreaterThan(0)
  return (await requestsFor(target, by)).at(-1) as RequestFrame
}

async function requestsFor(target: string, by: Rogue): Promise<RequestFrame[]> {
  return (await by.received())
    .filter(({ subject }) => subject.startsWith('sallyport.exchange.'))
    .map(({ data }) => decodeRequest(Buffer.from(data, 'base64')))
    .filter(frame => frame.target === target)
}

async function respond(
  request: RequestFrame,
  text: string,
  more: Partial<ResponseFrame> = {},
): Promise<void> {
  const headers = ['content-length', String(text.length)]
  await say(request, encodeResponse({ ...whole, headers, body: Buffer.from(text), ...more }))
}

async function say(
  { gatewayId, exchangeId }: Pick<RequestFrame, 'gatewayId' | 'exchangeId'>,
  frame: Buffer,
  by = rogue,
): Promise<void> {
  const subject = `sallyport.up.${by.connectorId}.${gatewayId}.${exchangeId}`
  // It may be cut off before the server has confirmed it.
  await by
    .publish({ subject, data: frame.toString('base64'), isBase64: true })
    .catch(() => undefined)
}

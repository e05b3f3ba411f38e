/**
 * What a connector demands of an exchange before its origin hears of it, and of one that is open: a lease that is good
 * now, for this application and this group. A gateway can send whatever it likes.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Writable } from 'node:stream'
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { type LeaseClaims, leaseIssuer, leaseLifetimeMs } from '#infra/contracts/policy.ts'
import { type BatchedFrame, decodeBatch, encodeBatch } from '#infra/frame-batch.ts'
import {
  decodeUp,
  encodeCancel,
  encodeData,
  encodeEnd,
  encodeLease,
  encodeRequest,
} from '#infra/frames.ts'
import { createLeaseVerifier } from '#infra/lease.ts'
import { createLogger } from '#infra/log.ts'
import { StreamBudget } from '#infra/stream-budget.ts'
import { subjects } from '#infra/subjects.ts'
import {
  chunkBytes,
  frameTypes,
  initialCreditBytes,
  leaseReference,
  type RefusedFrame,
  type RequestFrame,
  type UpFrame,
} from '#infra/wire.ts'
import { Carried } from '../../connector/carried.ts'
import { createDialer } from '../../connector/dial.ts'
import { LastLeases } from '../../connector/last-leases.ts'
import { openOrigins } from '../../connector/origins.ts'
import { watchReadiness } from '../../connector/readiness.ts'
import { type Serving, serve } from '../../connector/serve.ts'
import { createLeaseSigner } from '../../policy/lease.ts'
import { application } from '../harness/application.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'

const signer = createLeaseSigner()
const applications = new Map<string, Application>()
/** The time as the connector knows it; undefined when it does not. */
const clock = {
  time: 0 as number | undefined,
  asked: 0,
  now() {
    clock.asked++
    return clock.time
  },
  measured: () => undefined,
}
let nats: TestNats
let origin: Origin
let gateway: Bus
let serving: Serving
let lastLeases: LastLeases
let frames: Map<string, UpFrame[]>

beforeAll(async () => {
  nats = await startTestNats()
  origin = await startOrigin()
  gateway = await nats.connect('gateway')
  const { url: internalUrl } = origin
  for (const id of ['wiki', 'shop'])
    applications.set(id, application(id, `https://${id}.test/`, { internalUrl }))
  serving = await startServing()
  frames = await collect()
})
afterAll(async () => {
  lastLeases[Symbol.dispose]()
  await serving[Symbol.asyncDispose]()
  await nats[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})
afterEach(() => {
  vi.restoreAllMocks()
  clock.time = Date.now()
})

async function startServing(): Promise<Serving> {
  clock.time = Date.now()
  const bus = await nats.connect('connector')
  const log = createLogger('test', 'silent')
  const dialer = createDialer({ refusesLoopback: false })
  const leases = createLeaseVerifier({ groupId: 'paris' })
  leases.setKeys([signer.key])
  lastLeases = new LastLeases({ bus, log, knownSince: () => 0 })
  const started = serve({
    bus,
    log,
    memberId: 'c',
    groupId: 'paris',
    maxExchanges: 10,
    maxAwaited: 10,
    clock,
    origins: openOrigins(10, dialer),
    budget: new StreamBudget({ memoryBytes: 2 ** 26 }),
    readiness: watchReadiness({ log, dialer, onChange: () => undefined }),
    carried: new Carried(),
    applications: () => applications,
    leases,
    lastLeases,
  })
  await bus.connection.flush()
  return started
}

/** What the connector answers, by exchange. */
async function collect() {
  const answers = new Map<string, UpFrame[]>()
  gateway.subscribe(subjects.upTo('g'), {
    callback: ({ subject, data }) => {
      const id = subject.slice(subject.lastIndexOf('.') + 1)
      const isBatch = data[0] === frameTypes.batch
      const sent = isBatch ? decodeBatch(data) : [{ exchangeId: id, frame: data }]
      for (const { exchangeId, frame } of sent)
        answers.set(exchangeId, [...(answers.get(exchangeId) ?? []), decodeUp(frame)])
    },
  })
  await gateway.connection.flush()
  return answers
}

const claims = (more: Partial<LeaseClaims> = {}): LeaseClaims => {
  const iat = Math.floor(Date.now() / 1_000)
  return {
    iss: leaseIssuer,
    aud: 'paris',
    sub: 'ada@x.test',
    jti: 'j',
    iat,
    exp: iat + 60,
    app: 'wiki',
    session: 's',
    fingerprint: 'f',
    user: null,
    satisfied: ['session-ok'],
    ...more,
  }
}

let exchanges = 0

interface Sent extends Pick<RequestFrame, 'method' | 'target' | 'headers' | 'isUpgrade'> {
  app: string
  isReference: boolean
}

/** A request as a gateway sends it. */
function requestOf(
  lease: string,
  { app = 'wiki', target = '/echo', isReference = false, ...request }: Partial<Sent> = {},
) {
  const exchangeId = `x${++exchanges}`
  const frame = encodeRequest({
    gatewayId: 'g',
    exchangeId,
    startBeforeMs: (clock.time ?? Date.now()) + 5_000,
    lease,
    isLeaseReference: isReference,
    method: 'GET',
    target,
    headers: ['Host', `${app}.test`],
    body: Buffer.alloc(0),
    bodyFollows: false,
    isUpgrade: false,
    ...request,
  })
  return { exchangeId, frame }
}

/** Sends a request, and gives what came back first. */
async function send(lease: string, request: Partial<Sent> = {}) {
  const { exchangeId, frame } = requestOf(lease, request)
  gateway.publish(subjects.exchange('paris', request.app ?? 'wiki'), frame)
  const answers = () => frames.get(exchangeId) ?? []
  await expect.poll(answers, { interval: 5 }).not.toEqual([])
  return { first: answers()[0] as UpFrame, answers, exchangeId }
}

test('connections that stay open leave a quarter of the room to short requests', async () => {
  const lease = signer.sign(claims())
  const headers = ['Host', 'wiki.test', 'Connection', 'Upgrade', 'Upgrade', 'websocket']
  headers.push('Sec-WebSocket-Version', '13', 'Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==')
  const upgrade = async () => (await send(lease, { target: '/ws', isUpgrade: true, headers })).first
  const open = []
  for (let i = 0; i < 8; i++) open.push(await upgrade())
  expect(open).toEqual(Array(8).fill(expect.objectContaining({ type: 'response', status: 101 })))
  const detail = '8 upgraded connections open'
  expect(await upgrade()).toMatchObject({
    type: 'refused',
    code: 'busy',
    detail,
    neverStarted: true,
  })
  expect((await send(lease)).first).toMatchObject({ type: 'response', status: 200 })
  expect(serving.isSaturated).toBe(false)
  serving.cancel(() => true, 'aborted')
  await expect.poll(() => serving.openExchanges).toBe(0)
  expect(await upgrade()).toMatchObject({ type: 'response', status: 101 })
  serving.cancel(() => true, 'aborted')
  await expect.poll(() => serving.openExchanges).toBe(0)
})

test('a good lease takes a request to the origin, whole or by its reference', async () => {
  const lease = signer.sign(claims())
  expect((await send(lease)).first).toMatchObject({ type: 'response', status: 200 })
  const again = await send(leaseReference(lease), { isReference: true })
  expect(again.first).toMatchObject({ type: 'response', status: 200 })
})

test('of requests in one message each is taken or refused by itself, and what is none harms no other', async () => {
  origin.at('/late', (_, res) => void setTimeout(() => res.end('late'), 100))
  const lease = signer.sign(claims())
  const requests = Array.from({ length: 12 }, () => requestOf(lease, { target: '/late' }))
  const stranger = requestOf(signer.sign(claims({ aud: 'london' })))
  const none = { exchangeId: 'none', frame: encodeData(Buffer.from('no request')) }
  const [first, ...others] = requests
  gateway.publish(
    subjects.exchange('paris', 'wiki'),
    encodeBatch([first as BatchedFrame, none, stranger, ...others]),
  )
  const firstOf = ({ exchangeId }: BatchedFrame) => frames.get(exchangeId)?.[0]
  await expect.poll(() => [...requests, stranger].map(firstOf)).not.toContain(undefined)
  // There is room for ten.
  const busy = { type: 'refused', code: 'busy', neverStarted: true }
  const answered = { type: 'response', status: 200 }
  expect(requests.map(firstOf)).toMatchObject([...Array(10).fill(answered), busy, busy])
  expect(firstOf(stranger)).toMatchObject({ type: 'refused', code: 'connector_refused' })
})

test('what an origin says octet by octet goes on in frames of many', async () => {
  const octets = 3_000
  const { promise: begun, resolve: begin } = Promise.withResolvers<Writable>()
  origin.at('/octets', ({ socket }) => {
    socket.write(
      'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n',
    )
    begin(socket)
  })
  const { first, answers } = await send(signer.sign(claims()), { target: '/octets' })
  expect(first).toMatchObject({ type: 'response', bodyFollows: true })
  const rest = `${'1\r\na\r\n'.repeat(octets)}0\r\n\r\n`
  ;(await begun).end(rest)
  await expect.poll(() => answers().at(-1)?.type).toBe('end')
  expect(answers().at(-1)).toMatchObject({ bodyBytes: 1 + octets })
  expect(answers().length).toBeLessThan(100)
})

test('what a client has said on a switched connection reaches the origin, though both have closed and nobody waits', async () => {
  const { promise: switched, resolve } = Promise.withResolvers<Socket>()
  const slow = createServer({ allowHalfOpen: true }, socket => {
    socket.once('data', () => {
      socket.end('HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n').pause()
      resolve(socket)
    })
  }).listen(0, '127.0.0.1')
  await once(slow, 'listening')
  onTestFinished(() => void slow.close())
  const internalUrl = `http://127.0.0.1:${(slow.address() as AddressInfo).port}`
  applications.set('slow', application('slow', 'https://slow.test/', { internalUrl }))
  const headers = ['Host', 'slow.test', 'Connection', 'Upgrade', 'Upgrade', 'x']
  const lease = signer.sign(claims({ app: 'slow' }))
  const { exchangeId, answers } = await send(lease, { app: 'slow', isUpgrade: true, headers })
  const socket = await switched
  await expect.poll(() => answers().at(-1)?.type).toBe('end')
  const down = subjects.down('c', exchangeId)
  const granted = () =>
    answers().reduce((sum, it) => sum + (it.type === 'credit' ? it.bytes : 0), initialCreditBytes)
  let sent = 0
  const sendGranted = () => {
    const before = sent
    for (; sent + chunkBytes <= granted(); sent += chunkBytes)
      gateway.publish(down, encodeData(Buffer.alloc(chunkBytes)))
    return sent - before
  }
  // Until the connector has more than the origin's host takes.
  let stuck = 0
  const stuckFor = () => {
    stuck = sendGranted() > 0 ? 0 : stuck + 1
    return stuck
  }
  await expect.poll(stuckFor, { interval: 20 }).toBeGreaterThan(10)
  gateway.publish(down, encodeEnd(sent))
  gateway.publish(down, encodeCancel('aborted', ''))
  await expect.poll(() => serving.openExchanges).toBe(0)
  let received = 0
  socket.on('data', chunk => {
    received += chunk.length
  })
  socket.resume()
  await once(socket, 'end')
  expect(received).toBe(sent)
})

describe('the origin hears nothing of a request whose lease', () => {
  const old = Math.floor(Date.now() / 1_000) - 3_600

  test.each<[string, () => string, string, string]>([
    ['is none', () => 'x', 'connector_refused', 'compact JWS'],
    ['is signed by nobody', () => signer.sign(claims()).slice(0, -5), 'connector_refused', ''],
    [
      'is signed by somebody else',
      () => createLeaseSigner().sign(claims()),
      'not_informed',
      'not known',
    ],
    [
      'is for another group',
      () => signer.sign(claims({ aud: 'rome' })),
      'connector_refused',
      'group',
    ],
    [
      'is for another application',
      () => signer.sign(claims({ app: 'shop' })),
      'connector_refused',
      'application',
    ],
    [
      'has ended',
      () => signer.sign(claims({ iat: old, exp: old + 60 })),
      'connector_refused',
      'expired',
    ],
    [
      'would live too long',
      () => signer.sign(claims({ exp: old + 7_200 })),
      'connector_refused',
      'longer',
    ],
  ])('%s', async (_, lease, code, why) => {
    const before = origin.seen.length
    const { first } = await send(lease())
    expect(first).toMatchObject({ type: 'refused', code })
    expect((first as RefusedFrame).detail).toContain(why)
    expect(origin.seen.length).toBe(before)
  })

  test('is named, and was never seen', async () => {
    const reference = leaseReference(signer.sign(claims({ jti: 'unseen' })))
    const { first } = await send(reference, { isReference: true })
    expect(first).toMatchObject({ type: 'refused', code: 'lease_unknown', neverStarted: true })
  })

  test('cannot be judged, because the time is not known', async () => {
    clock.time = undefined
    const { first } = await send(signer.sign(claims()))
    expect(first).toMatchObject({ type: 'refused', code: 'clock_skew' })
  })

  test('is good, for an application that is not on the list of the registry', async () => {
    const { first } = await send(signer.sign(claims({ app: 'secret' })), { app: 'secret' })
    expect(first).toMatchObject({ type: 'refused', code: 'not_informed' })
  })
})

describe('a lease for safe methods', () => {
  const reading = () => signer.sign(claims({ jti: 'reading', methods: 'safe' }))
  const overridden = ['Host', 'wiki.test', 'X-HTTP-Method-Override', 'PUT']

  test.each(['GET', 'HEAD', 'OPTIONS', 'PROPFIND'])('lets %s through', async method => {
    expect((await send(reading(), { method })).first).toMatchObject({ type: 'response' })
  })

  test.each<[string, Partial<Sent>]>([
    ['PUT', { method: 'PUT' }],
    ['a method that nobody knows', { method: 'FROB' }],
    ['a WebSocket', { target: '/ws', isUpgrade: true }],
    ['a GET that stands for a PUT', { headers: overridden }],
  ])('refuses %s, and the origin hears nothing of it', async (_, request) => {
    const before = origin.seen.length
    const { first } = await send(reading(), request)
    expect(first).toMatchObject({ type: 'refused', code: 'read_only', neverStarted: false })
    const lease = reading()
    await send(lease)
    const named = await send(leaseReference(lease), { ...request, isReference: true })
    expect(named.first).toMatchObject({ type: 'refused', code: 'read_only' })
    expect(origin.seen.length).toBe(before + 1)
  })

  test('that comes in place of one for all methods cuts a write that is open, and no read', async () => {
    const begin = async (method: string, target: string) => {
      const { promise: arrived, resolve } = Promise.withResolvers<void>()
      origin.at(target, () => resolve())
      const sent = send(signer.sign(claims()), { method, target })
      await arrived
      return sent
    }
    const write = await begin('PUT', '/write')
    const read = await begin('GET', '/read')
    const renewed = encodeLease(signer.sign(claims({ methods: 'safe' })))
    for (const { exchangeId } of [read, write]) {
      gateway.publish(subjects.down('c', exchangeId), renewed)
    }
    await expect.poll(write.answers).toContainEqual(expect.objectContaining({ code: 'read_only' }))
    await expect.poll(() => origin.latest('/write')?.end).toBe('broken')
    expect(serving.openExchanges).toBe(1)
    expect(new Set(read.answers().map(({ type }) => type))).toEqual(new Set(['accepted']))
    serving.cancel(() => true, 'aborted')
  })
})

describe('a request that is open', () => {
  const open = async () => {
    const { promise: arrived, resolve } = Promise.withResolvers<void>()
    origin.at('/hangs', () => resolve())
    const sent = send(signer.sign(claims()), { target: '/hangs' })
    await arrived
    return await sent
  }
  const sweeps = async () => {
    const { asked } = clock
    await expect.poll(() => clock.asked).toBeGreaterThan(asked + 1)
  }
  const ended = (code: string) => expect.objectContaining({ code })

  test('ends with its lease', async () => {
    const { first, answers } = await open()
    expect(first.type).toBe('accepted')
    clock.time = Date.now() + 58_000
    await sweeps()
    expect(serving.openExchanges).toBe(1)
    clock.time = Date.now() + 61_000
    await expect.poll(answers).toContainEqual(ended('session_revoked'))
    await expect.poll(() => origin.latest('/hangs')?.end).toBe('broken')
  })

  test('ends when the time has not been known for as long as a lease lives', async () => {
    const { answers } = await open()
    const now = performance.now.bind(performance)
    let laterMs = 0
    vi.spyOn(performance, 'now').mockImplementation(() => now() + laterMs)
    clock.time = undefined
    await sweeps()
    laterMs = leaseLifetimeMs - 1_000
    await sweeps()
    expect(serving.openExchanges).toBe(1)
    laterMs = leaseLifetimeMs + 1_000
    await expect.poll(answers).toContainEqual(ended('session_revoked'))
  })
})

describe('of an application that goes on by its last lease', () => {
  const minutes = 3
  const publish = (publishing: object) => {
    const { url: internalUrl } = origin
    applications.set(
      'diary',
      application('diary', 'https://diary.test/', { internalUrl, publishing }),
    )
  }
  const lasting = (session: string) => {
    const { iat, exp } = claims()
    return signer.sign(claims({ app: 'diary', session, iat, exp, lastUntil: exp + 480 }))
  }
  /** So long after the leases of now were made. */
  const later = (seconds: number) => {
    clock.time = Date.now() + seconds * 1_000
  }
  beforeEach(() => {
    publish({ whenPolicyIsUnavailable: 'lastLease', lastLeaseMinutes: minutes })
    // The connector has heard everything for longer than any lease of these.
    const now = performance.now.bind(performance)
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 600_000)
  })

  test('a request reaches the origin with a lease that has ended, for its minutes', async () => {
    const lease = lasting('s1')
    later(60 + minutes * 60 - 5)
    expect((await send(lease, { app: 'diary' })).first).toMatchObject({ status: 200 })
    later(60 + minutes * 60 + 5)
    const before = origin.seen.length
    const { first } = await send(lease, { app: 'diary' })
    // Said so that another member is asked.
    expect(first).toMatchObject({ code: 'policy_unavailable', neverStarted: true })
    expect(origin.seen.length).toBe(before)
  })

  test('an origin hears nothing of one that was revoked, or is of another application or group', async () => {
    const [lease, foreign] = [lasting('s2'), signer.sign(claims({ aud: 'rome', app: 'diary' }))]
    later(90)
    expect((await send(lease, { app: 'diary' })).first).toMatchObject({ status: 200 })
    lastLeases.heard({ kind: 'session', id: 's2' })
    const before = origin.seen.length
    for (const [sent, app, code] of [
      [lease, 'diary', 'policy_unavailable'],
      [lease, 'wiki', 'connector_refused'],
      [foreign, 'diary', 'connector_refused'],
    ] as const)
      expect((await send(sent, { app })).first).toMatchObject({ type: 'refused', code })
    expect(origin.seen.length).toBe(before)
  })

  test.each<[string, (session: string) => void]>([
    ['its minutes are over', () => later(60 + minutes * 60 + 5)],
    ['its session is revoked', id => lastLeases.heard({ kind: 'session', id })],
    ['the application closes', () => publish({ whenPolicyIsUnavailable: 'failClosed' })],
  ])('what is open goes on until %s', async (what, happens) => {
    const { promise: arrived, resolve } = Promise.withResolvers<void>()
    origin.at('/hangs', () => resolve())
    const sent = send(lasting(what), { app: 'diary', target: '/hangs' })
    await arrived
    const { answers } = await sent
    later(90)
    const { asked } = clock
    await expect.poll(() => clock.asked).toBeGreaterThan(asked + 1)
    expect(serving.openExchanges).toBe(1)
    happens(what)
    const ended = expect.objectContaining({ code: 'session_revoked' })
    await expect.poll(answers).toContainEqual(ended)
  })
})

/** Keys in NATS's own form, the waits before a dial, and what a failed dial is told as. */

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { nkeys } from '@nats-io/transport-node'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { dial, Waits, waitMsBefore } from '#infra/bus-connection.ts'
import { dialProblem } from '#infra/dial-problem.ts'
import { createSeed, deriveSeed, isSignedBy, isUserSeed, signerOf } from '#infra/nkey.ts'

describe('a key', () => {
  const data = Buffer.from('signed')
  const libraryOf = (seed: string) => nkeys.fromSeed(Buffer.from(seed))

  test.each(['user', 'account'] as const)('of a %s is one that NATS itself reads', kind => {
    const seed = createSeed(kind)
    const { publicKey, sign } = signerOf(seed)
    expect(libraryOf(seed).getPublicKey()).toBe(publicKey)
    expect(libraryOf(seed).verify(data, sign(data))).toBe(true)
    expect(isSignedBy(publicKey, data, Buffer.from(libraryOf(seed).sign(data)))).toBe(true)
    expect(isSignedBy(publicKey, Buffer.from('other'), sign(data))).toBe(false)
  })

  test('that is derived is the same every time, and another for each purpose', () => {
    const secret = createSeed('user')
    expect(deriveSeed(secret, 'account', 'a')).toBe(deriveSeed(secret, 'account', 'a'))
    expect(deriveSeed(secret, 'account', 'a')).not.toBe(deriveSeed(secret, 'account', 'b'))
    expect(
      nkeys.fromCurveSeed(Buffer.from(deriveSeed(secret, 'curve', 'a'))).getPublicKey(),
    ).toMatch(/^X/)
  })

  test.each(['', 'SU', 'registry', `SU${'A'.repeat(56)}1`])('%j is no seed', text => {
    expect(isUserSeed(text)).toBe(false)
  })

  test('with a changed character is refused', () => {
    const seed = createSeed('user')
    const changed = `${seed.slice(0, 20)}${seed[20] === 'A' ? 'B' : 'A'}${seed.slice(21)}`
    expect(() => signerOf(changed)).toThrow(/checksum/)
  })
})

describe('the wait before a dial of a connector', () => {
  const waits = (dialsInVain: number) =>
    Array.from({ length: 2_000 }, () => waitMsBefore('wss://bus.example.com', dialsInVain))

  test('is never shorter than 0.1 s nor longer than 30 s, however long it goes on', () => {
    for (const dialsInVain of [0, 1, 5, 10, 1_000_000]) {
      expect(Math.min(...waits(dialsInVain))).toBeGreaterThanOrEqual(100)
      expect(Math.max(...waits(dialsInVain))).toBeLessThanOrEqual(30_000)
    }
  })

  test('is no longer than the bus has been away, and half a second in any case', () => {
    const waitsAfter = (awayMs: number) =>
      Array.from({ length: 2_000 }, () => waitMsBefore('wss://bus.example.com', 10, awayMs))
    expect(Math.max(...waitsAfter(0))).toBeLessThanOrEqual(500)
    expect(Math.max(...waitsAfter(2_000))).toBeLessThanOrEqual(2_000)
    expect(Math.max(...waitsAfter(2_000))).toBeGreaterThan(1_800)
    expect(Math.max(...waitsAfter(600_000))).toBeGreaterThan(27_000)
  })

  test('begins anew when the bus is there again, though it lets nobody in yet', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const awayFor = (waits: Waits, dials: number) =>
      Array.from({ length: dials }, () => {
        vi.advanceTimersByTime(10_000)
        return waits.next()
      })
    const all = Array.from({ length: 200 }, () => {
      const waits = new Waits('wss://bus.example.com')
      waits.begin()
      awayFor(waits, 10)
      waits.reached()
      return { first: waits.next(), later: awayFor(waits, 10) }
    })
    expect(Math.max(...all.map(({ first }) => first))).toBeLessThanOrEqual(500)
    // One that is refused again and again does not come ever sooner.
    expect(Math.max(...all.flatMap(({ later }) => later))).toBeGreaterThan(20_000)
  })

  test('grows to 30 s, and is spread over all of it, so that nobody comes together', () => {
    const late = waits(20)
    for (const quarter of [0, 1, 2, 3]) {
      const share = late.filter(ms => Math.floor(ms / 7_500) === quarter).length / late.length
      expect(share).toBeGreaterThan(0.2)
    }
    expect(Math.max(...waits(0))).toBeLessThan(1_000)
  })
})

describe('a dial that failed is told with its cause:', () => {
  const withCode = (code: string) => Object.assign(new Error('failed'), { code })

  test.each([
    [new Error('Failed to establish tunnel to x:443 via http://p:1: HTTP/1.1 407'), /HTTPS_PROXY/],
    [new Error('Unexpected server response: 407'), /user and a password \(407\)/],
    [new Error('Failed to establish tunnel to x:443 via http://p:1: HTTP/1.1 403'), /\(403\)/],
    [withCode('ECONNREFUSED'), /connection refused/],
    [new AggregateError([withCode('ECONNREFUSED')], 'both'), /connection refused/],
    [new Error('wrapped', { cause: withCode('ENOTFOUND') }), /name is not known/],
    [withCode('SELF_SIGNED_CERT_IN_CHAIN'), /inspects TLS/],
    [withCode('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), /not from the expected authority/],
    [withCode('ERR_TLS_CERT_ALTNAME_INVALID'), /another name/],
    [withCode('CERT_HAS_EXPIRED'), /expired, or the clock/],
    [new Error('something else'), /^something else$/],
  ])('%s', (error, reason) => {
    const problem = dialProblem(error)
    expect(problem.message).toMatch(reason)
    expect(problem.cause).toBe(error)
  })
})

test('a service whose dial is cut when it has been greeted dials again at once', async () => {
  const greeting = { server_id: 'x', version: '2.12.0', proto: 1, headers: true, max_payload: 1024 }
  let dials = 0
  await using server = createServer(socket => {
    const isLetIn = ++dials === 1 || dials === 4
    socket.on('error', () => undefined).write(`INFO ${JSON.stringify(greeting)}\r\n`)
    socket.once('data', () => {
      if (isLetIn) socket.write('PONG\r\n')
      if (dials < 4) setTimeout(() => socket.destroy(), isLetIn ? 50 : 0)
    })
    onTestFinished(() => void socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = `nats://user:password@127.0.0.1:${port}`
  const connection = await dial({ url, name: 'test', inboxPrefix: 'test' })
  const startedAt = performance.now()
  for await (const { type } of connection.status()) if (type === 'reconnect') break
  expect(performance.now() - startedAt).toBeLessThan(2_000)
  expect(dials).toBe(4)
  await connection.close()
})

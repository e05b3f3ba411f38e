/** Rates and counts: what is within them passes, what is beyond waits as long as it is told. */

import { EventEmitter } from 'node:events'
import type { Server } from 'node:net'
import { expect, test } from 'vitest'
import { CountLimit, Limits, limitConnections, RateLimit } from '../../gateway/limits.ts'

test('a burst passes at once, the next one is told when to come again', () => {
  const limit = new RateLimit({ perSecond: 10, burst: 3 })
  expect([1, 2, 3].map(() => limit.take('a', 0))).toEqual([0, 0, 0])
  expect(limit.take('a', 0)).toBeCloseTo(0.1)
  expect(limit.take('a', 99)).toBeCloseTo(0.001)
  expect(limit.take('a', 100)).toBe(0)
})

test('a refused one costs nothing: waiting as told is enough however often one asked', () => {
  const limit = new RateLimit({ perSecond: 1, burst: 1 })
  limit.take('a', 0)
  for (let i = 0; i < 100; i++) limit.take('a', 500)
  expect(limit.take('a', 1_000)).toBe(0)
})

test('what is given back can be spent again, and adds nothing to the burst', () => {
  const limit = new RateLimit({ perSecond: 1, burst: 2 })
  limit.take('a', 0)
  limit.take('a', 0)
  limit.restore('a')
  expect([limit.take('a', 0), limit.take('a', 0) > 0]).toEqual([0, true])
  for (let i = 0; i < 10; i++) limit.restore('a')
  expect([1, 2, 3].map(() => limit.take('a', 0) > 0)).toEqual([false, false, true])
})

test('idle time gives no more than the burst', () => {
  const limit = new RateLimit({ perSecond: 1_000, burst: 2 })
  limit.take('a', 0)
  const later = 3_600_000
  expect([1, 2].map(() => limit.take('a', later))).toEqual([0, 0])
  expect(limit.take('a', later)).toBeGreaterThan(0)
})

test('one client uses up nothing of another', () => {
  const limit = new RateLimit({ perSecond: 1, burst: 1 })
  expect(limit.take('a', 0)).toBe(0)
  expect(limit.take('b', 0)).toBe(0)
})

test('a rate of zero is no limit', () => {
  const limit = new RateLimit({ perSecond: 0, burst: 0 })
  for (let i = 0; i < 1_000; i++) expect(limit.take('a', 0)).toBe(0)
})

test('addresses of one IPv6 network are one client, those of IPv4 and names of users are not', () => {
  const rate = { perSecond: 1, burst: 1 }
  const limits = new Limits({
    address: rate,
    user: rate,
    'sign-in': rate,
    decision: rate,
    enrolment: rate,
  })
  const refused = expect.objectContaining({ code: 'too_many_requests' })
  for (const what of ['address', 'sign-in', 'decision', 'enrolment'] as const) {
    limits.admit(what, '2001:db8::1')
    expect(() => limits.admit(what, '2001:db8::2')).toThrow(refused)
    limits.restore(what, '2001:db8::3')
    limits.admit(what, '2001:db8::2')
    limits.admit(what, '2001:db8:0:1::1')
    limits.admit(what, '203.0.113.1')
    limits.admit(what, '203.0.113.2')
  }
  limits.admit('user', 'a:b:c:d:1')
  limits.admit('user', 'a:b:c:d:2')
})

test('connections of one IPv6 network count together', () => {
  const server = new EventEmitter()
  limitConnections(server as Server, new CountLimit(1), () => false)
  const connect = (remoteAddress: string) => {
    const socket = Object.assign(new EventEmitter(), { remoteAddress, destroyed: false })
    const destroy = () => {
      socket.destroyed = true
    }
    server.emit('connection', Object.assign(socket, { destroy }))
    return socket
  }
  const first = connect('2001:db8::1')
  expect([first, connect('2001:db8::2')].map(({ destroyed }) => destroyed)).toEqual([false, true])
  first.emit('close')
  expect(connect('2001:db8::3').destroyed).toBe(false)
})

test('what leaves makes room, for its own key alone', () => {
  const limit = new CountLimit(2)
  expect([limit.enter('a'), limit.enter('a'), limit.enter('a')]).toEqual([true, true, false])
  expect(limit.enter('b')).toBe(true)
  limit.leave('a')
  expect(limit.enter('a')).toBe(true)
})

test('what another worker has admitted counts here too, and what was too much is paid back in time', () => {
  const [here, there] = [1, 2].map(() => new RateLimit({ perSecond: 10, burst: 5 }, true))
  for (let i = 0; i < 5; i++) expect([here?.take('a', 0), there?.take('a', 0)]).toEqual([0, 0])
  here?.takenElsewhere(there?.takenSinceLast() ?? [], 0)
  expect(here?.take('a', 0)).toBeCloseTo(0.6)
  expect(here?.take('a', 599)).toBeGreaterThan(0)
  expect(here?.take('a', 600)).toBe(0)
  expect(here?.take('b', 600)).toBe(0)
  expect(there?.takenSinceLast()).toEqual([])
})

test('what another worker gave back can be spent here', () => {
  const [here, there] = [1, 2].map(() => new RateLimit({ perSecond: 1, burst: 1 }, true))
  there?.take('a', 0)
  here?.takenElsewhere(there?.takenSinceLast() ?? [], 0)
  expect(here?.take('a', 0)).toBeGreaterThan(0)
  there?.restore('a')
  here?.takenElsewhere(there?.takenSinceLast() ?? [], 0)
  expect(here?.take('a', 0)).toBe(0)
})

test('connections of one address count over all workers, and no more when their worker has ended', () => {
  const [here, there] = [1, 2].map(() => new CountLimit(2, true))
  for (const key of ['a', 'b']) there?.enter(key)
  here?.openElsewhere(7, there?.changedSinceLast() ?? [])
  expect([here?.enter('a'), here?.enter('a'), here?.enter('c')]).toEqual([true, false, true])
  there?.leave('a')
  here?.openElsewhere(7, there?.changedSinceLast() ?? [])
  expect([here?.enter('a'), here?.enter('b'), here?.enter('b')]).toEqual([true, true, false])
  here?.goneElsewhere(7)
  expect(here?.enter('b')).toBe(true)
})

test('a worker that is new hears of all connections, not of the changed ones alone', () => {
  const limit = new CountLimit(2, true)
  limit.enter('a')
  expect(limit.changedSinceLast()).toEqual([['a', 1]])
  expect(limit.changedSinceLast()).toEqual([])
  limit.changedAll()
  expect(limit.changedSinceLast()).toEqual([['a', 1]])
})

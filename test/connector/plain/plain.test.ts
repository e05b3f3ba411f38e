/**
 * Plain exchanges with an origin of HTTP/1.1: what is heard of an answer is what the client library would have said of
 * it, and a connection that is kept never carries what belongs to another exchange.
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { destinationOf } from '../../../connector/destination.ts'
import { createDialer } from '../../../connector/dial.ts'
import type { OriginSink } from '../../../connector/origin.ts'
import { openPool, type Target } from '../../../connector/origin-pool.ts'
import { PlainConnections } from '../../../connector/plain/connections.ts'
import { application } from '../../harness/application.ts'
import { type Misbehaviour, misbehaviours } from '../../harness/misbehaviour.ts'
import { type Origin, startOrigin } from '../../harness/origin.ts'
import {
  type Asking,
  connectorTo,
  ok,
  type ScriptedOrigin,
  startScripted,
} from './scripted-origin.ts'

const chunked = (...chunks: string[]) =>
  ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', chunks.join('')].join('\r\n')
const chunk = (data: string) => `${data.length.toString(16)}\r\n${data}\r\n`
const last = '0\r\n\r\n'

let origin: ScriptedOrigin
let connector: ReturnType<typeof connectorTo>

beforeEach(async () => {
  origin = await startScripted(socket => socket.write(ok('hello')))
  connector = connectorTo(origin)
})
afterEach(async () => {
  await connector[Symbol.asyncDispose]()
  origin[Symbol.dispose]()
})

async function heard(asking?: Asking): Promise<unknown[][]> {
  const answer = connector.ask(asking)
  await answer
  return answer.events
}

async function textOf(asking?: Asking): Promise<unknown> {
  return (await heard(asking)).findLast(([name]) => name === 'data')?.[1]
}

describe('an answer', () => {
  let library: ReturnType<typeof connectorTo>
  let misbehaving: Origin
  beforeEach(async () => {
    misbehaving = await startOrigin()
    library = connectorTo(misbehaving)
  })
  afterEach(async () => {
    await library[Symbol.asyncDispose]()
    await misbehaving[Symbol.asyncDispose]()
  })

  const ways = Object.keys(misbehaviours).filter(
    way => !/^hangs|without end|resets|much less|trickles/.test(way),
  ) as Misbehaviour[]
  test.each(ways)('of an origin that %s is heard as from the client library', async way => {
    const target = `/ways/${encodeURIComponent(way)}`
    const [ours, theirs] = [library.ask({ target }), library.askLibrary({ target })]
    await Promise.all([ours, theirs])
    expect(ours.events.map(undated)).toEqual(theirs.events.map(undated))
  })

  const bodies = {
    'with a length': ok('0123456789', 'Set-Cookie: a=1', 'set-cookie: b=2', 'X-Empty:'),
    'in chunks': chunked(chunk('0123456789'), chunk('a'), chunk('b'.repeat(300)), last),
    'in chunks with extensions': chunked('3;a="b"\r\nabc\r\n', chunk('d'), '0;x\r\n\r\n'),
    'in chunks with trailers': chunked(chunk('abc'), '0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n'),
    'in chunks of which the second is none': chunked(chunk('abc'), 'zz\r\n'),
    'behind interim answers': `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('abc')}`,
    'with a reason in Latin-1': 'HTTP/1.1 200 caf\xc3\xa9\r\nContent-Length: 1\r\n\r\na',
    'with blanks around a value': ok('abc', 'X-A: \t a ', 'X-B:b'),
    'of another class': 'HTTP/1.1 600 Odd\r\nContent-Length: 1\r\n\r\na',
    'that is too long a head': `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(70_000)}\r\n\r\n`,
  }
  test.each(Object.entries(bodies))(
    '%s is the same in whatever pieces it comes',
    async (_, text) => {
      const whole = connector.askLibrary()
      origin.script = socket => socket.write(text, 'latin1')
      await whole
      expect(await heard()).toEqual(whole.events)
      for (const size of text.length > 1_000 ? [10_000] : [1, 2, 7, 40]) {
        origin.script = socket => inPieces(socket, text, size)
        expect((await heard()).map(withoutReason)).toEqual(whole.events.map(withoutReason))
      }
    },
  )

  test.each([
    ['before its head', ''],
    ['in its head', 'HTTP/1.1 200 OK\r\nContent-Le'],
    ['in its body', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'],
    ['in its last body', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc'],
    ['in a chunk', chunked('a\r\nabc')],
    ['between chunks', chunked(chunk('abc'))],
  ])('that is cut %s says so as with the client library', async (_, text) => {
    for (const end of ['end', 'resetAndDestroy'] as const) {
      origin.script = socket => socket.write(text || ' ', () => setTimeout(() => socket[end](), 5))
      if (text === '') origin.script = socket => socket[end]()
      const theirs = connector.askLibrary({ method: 'DELETE' })
      await theirs
      const ours = await heard({ method: 'DELETE' })
      expect(ours).toEqual(theirs.events)
      expect(ours.at(-1)).toMatchObject(['failed', /origin_/, expect.any(String), true])
    }
  })

  test('that waits is not read on, and goes on when it is wanted', async () => {
    const body = 'x'.repeat(8_000_000)
    origin.script = socket => socket.write(ok(body))
    const answer = connector.ask({ on: { head: ({ control }) => control?.pause() } })
    await expect.poll(() => answer.events.some(([name]) => name === 'data')).toBe(true)
    const [socket] = origin.open
    await expect.poll(() => socket?.writableLength).toBeGreaterThan(1_000_000)
    expect(String(answer.events.at(-1)?.[1]).length).toBeLessThan(1_000_000)
    answer.control?.resume()
    await answer
    expect(answer.events.slice(-2)).toEqual([
      ['data', body],
      ['end', []],
    ])
  })

  test('that ends with its connection is whole, though it waits meanwhile', async () => {
    origin.script = socket => socket.end('HTTP/1.1 200 OK\r\n\r\nhello')
    const answer = connector.ask({ on: { head: ({ control }) => control?.pause() } })
    await expect.poll(() => answer.events.length).toBeGreaterThan(1)
    await expect.poll(() => origin.open.size).toBe(0)
    answer.control?.resume()
    await answer
    expect(answer.events.slice(-2)).toEqual([
      ['data', 'hello'],
      ['end', []],
    ])
  })

  test('that nobody can take fails, and its connection is left', async () => {
    const events = await heard({
      on: {
        head: () => {
          throw new Error('cannot be passed on')
        },
      },
    })
    expect(events.at(-1)).toEqual(['failed', 'origin_unreachable', 'cannot be passed on', true])
    await expect.poll(() => origin.open.size).toBe(0)
  })
})

/** Apart from the time that an answer says. */
function undated([name, ...args]: unknown[]): unknown[] {
  return [name, JSON.stringify(args).replace(/"Date","[^"]*"/, '')]
}

/** The client library forgets one that comes in pieces. */
function withoutReason([name, status, reason, ...args]: unknown[]): unknown[] {
  return name === 'head' ? [name, status, ...args] : [name, status, reason, ...args]
}

async function inPieces(socket: Socket, text: string, size: number): Promise<void> {
  for (let at = 0; at < text.length; at += size) {
    socket.write(text.slice(at, at + size), 'latin1')
    await new Promise(setImmediate)
  }
}

describe('a connection', () => {
  test('serves one exchange after the other', async () => {
    for (let i = 0; i < 5; i++) {
      origin.script = (socket, _request, turn) => socket.write(ok(`answer ${turn}`))
      expect(await textOf()).toBe(`answer ${i}`)
    }
    expect(origin.made).toBe(1)
  })

  test.each([
    ['with the answer', (socket: Socket) => socket.write(ok('mine') + ok('poison'))],
    [
      'behind it',
      (socket: Socket) => {
        socket.write(ok('mine'))
        setTimeout(() => socket.write(ok('poison')), 20)
      },
    ],
  ])('that says more %s serves nobody else', async (_, script) => {
    origin.script = script
    expect(await textOf()).toBe('mine')
    await expect.poll(() => origin.open.size).toBe(0)
    origin.script = socket => socket.write(ok('theirs'))
    expect(await textOf()).toBe('theirs')
    expect(origin.made).toBe(2)
  })

  test.each([
    ['has said more', (socket?: Socket) => socket?.write(ok('poison'))],
    ['has ended', (socket?: Socket) => socket?.destroy()],
  ])(
    'that %s when the next request is there serves nobody else, though it was not read yet',
    async (_, end) => {
      const trigger = connect(Number(new URL(origin.url).port), '127.0.0.1')
      await expect.poll(() => origin.open.size).toBe(1)
      const [triggers] = origin.open
      const text = once(trigger, 'data').then(() => textOf({ method: 'POST' }))
      expect(await textOf()).toBe('hello')
      const [, kept] = origin.open
      // The system names first whoever has just been read.
      for (let i = 0; i < 3; i++) await new Promise(resolve => setTimeout(resolve, 2))
      // Both arrive in one turn, and what brings the request comes first.
      triggers?.write('now')
      end(kept)
      origin.script = socket => socket.write(ok('theirs'))
      expect(await text).toBe('theirs')
      expect(origin.made).toBe(3)
      trigger.destroy()
    },
  )

  test.each([
    ['Connection: close', 0],
    ['Keep-Alive: timeout=2', 0],
    ['Keep-Alive: timeout=3', 1],
  ])('of which its origin says "%s" is kept accordingly', async (field, open) => {
    origin.script = socket => socket.write(ok('x', field))
    await heard()
    await expect.poll(() => origin.open.size).toBe(open)
    await heard()
    expect(origin.made).toBe(2 - open)
  })

  test('that was given up in its answer serves nobody else, one whose answer was over does', async () => {
    origin.script = socket => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc')
    const given = connector.ask({ on: { data: it => it.abort() } })
    await expect.poll(() => given.events.length).toBe(3)
    await expect.poll(() => origin.open.size).toBe(0)
    origin.script = socket => socket.write(ok('x'))
    const over = connector.ask()
    await over
    over.abort()
    over.control?.pause()
    over.control?.abort()
    expect(await textOf()).toBe('x')
    expect(origin.made).toBe(2)
    expect(given.events).toHaveLength(3)
  })

  test('that is closed when the request arrives has it sent again once, if that may be', async () => {
    for (const [method, times] of [
      ['GET', 2],
      ['OPTIONS', 2],
      ['POST', 1],
      ['DELETE', 1],
    ] as const) {
      origin.script = socket => socket.write(ok('x'))
      await heard()
      const before = origin.requests.length
      origin.script = socket => socket.destroy()
      expect((await heard({ method })).at(-1)).toEqual([
        'failed',
        'origin_unreachable',
        'UND_ERR_SOCKET: other side closed',
        true,
      ])
      expect([method, origin.requests.length - before]).toEqual([method, times])
    }
  })

  test('that the origin closes is no loss for what may be sent again', async () => {
    await heard()
    origin.script = (socket, _request, turn) =>
      turn > 0 ? socket.destroy() : socket.write(ok('y'))
    expect(await textOf()).toBe('y')
  })
})

describe('connections', () => {
  const hold = () => {
    const held: Socket[] = []
    origin.script = socket => held.push(socket)
    return held
  }

  test('are as many as they may be; who waits is served in order, who leaves is not', async () => {
    const held = hold()
    const all = Array.from({ length: 8 }, (_, i) => connector.ask({ target: `/${i}` }))
    await expect.poll(() => held.length).toBe(4)
    all[5]?.abort()
    all[1]?.abort()
    origin.script = socket => socket.write(ok('x'))
    for (const socket of held) socket.write(ok('x'))
    await Promise.all(all.filter((_, i) => i !== 5 && i !== 1))
    const arrived = origin.requests.map(it => it.split(' ')[1])
    expect(arrived.slice(0, 4).toSorted()).toEqual(['/0', '/1', '/2', '/3'])
    expect(arrived.slice(4)).toEqual(['/4', '/6', '/7'])
    expect(origin.made).toBeLessThanOrEqual(5)
    expect(all.flatMap(({ events }, i) => (events.length < 2 ? [i] : []))).toEqual([1, 5])
  })

  test('that are given up while they are made make room', async () => {
    const held = hold()
    const left = Array.from({ length: 4 }, () => connector.ask())
    const stays = connector.ask({ target: '/stays' })
    for (const one of left) one.abort()
    await expect.poll(() => held.length).toBe(1)
    held[0]?.write(ok('x'))
    await stays
    expect(origin.requests.map(it => it.split(' ')[1])).toEqual(['/stays'])
    expect(left.flatMap(({ events }) => events)).toEqual([])
  })

  test('are no more used where answers are never plain, but for a trial now and then', async () => {
    origin.script = socket => socket.write(`HTTP/1.1 103 Early Hints\r\n\r\n${ok('x')}`)
    for (let i = 0; i < 40; i++) expect(await textOf()).toBe('x')
    // One of the library's pool, and one for each trial.
    expect(origin.made).toBeLessThan(8)
    origin.script = socket => socket.write(ok('y'))
    for (let i = 0; i < 60; i++) expect(await textOf()).toBe('y')
    expect(origin.made).toBeLessThan(9)
  })

  test('end with the connector, and so do the exchanges on them and those that wait', async () => {
    const held = hold()
    const all = Array.from({ length: 6 }, () => connector.ask({ method: 'POST' }))
    await expect.poll(() => held.length).toBe(4)
    await connector[Symbol.asyncDispose]()
    await Promise.all(all)
    for (const { events } of all)
      expect(events.at(-1)?.slice(0, 2)).toEqual(['failed', 'origin_unreachable'])
    await expect.poll(() => origin.open.size).toBe(0)
    const late = await heard()
    expect(late.map(([name]) => name)).toEqual(['failed'])
    expect(origin.made).toBe(4)
  })

  test('that are idle are left when they have been for long enough', async () => {
    const app = application('app', 'https://app.test/', { internalUrl: origin.url })
    const dialer = createDialer({ refusesLoopback: false })
    const destination = destinationOf(app)
    const connections = new PlainConnections(destination, { dialer, maxConnections: 1 })
    const pool = openPool(destination, { dialer, connections: 1, keepAliveTimeout: 1_000 })
    const target = {
      application: app,
      dialer,
      pool,
      servername: '',
      isTalkative: false,
    } satisfies Target
    await new Promise<unknown>(end => {
      const nothing = () => undefined
      const events = { started: nothing, information: nothing, head: nothing, data: nothing }
      const sink: OriginSink = { ...events, end, failed: nothing }
      connections.send(
        target,
        { method: 'GET', target: '/', headers: ['Host', 'a'], body: null },
        sink,
      )
    })
    const [socket] = origin.open
    const closed = once(socket as Socket, 'close')
    connections.sweep(performance.now() + 29_000)
    await new Promise(setImmediate)
    expect(socket?.readableEnded).toBe(false)
    connections.sweep(performance.now() + 31_000)
    await closed
    await pool.destroy()
  })
})

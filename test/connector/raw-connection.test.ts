/** One client's connection at the origin: what waits for what, with an origin that answers when the test says so. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RequestHead } from '#infra/request-head.ts'
import { RawConnection } from '../../connector/raw-connection.ts'

const server = createServer({ allowHalfOpen: true })
beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => server.close())

interface Running extends Disposable {
  readonly connection: RawConnection
  readonly origin: Socket
  /** What the origin, and the client, have received so far. */
  readonly atOrigin: () => string
  readonly atClient: () => string
  /** Of the answers that have begun. */
  readonly statuses: readonly number[]
  readonly failure: Promise<Error & { code?: string }>
}

const head = (...more: string[]): RequestHead => ({
  method: 'RDG_OUT_DATA',
  target: '/rdg/',
  headers: ['Host', 'desktops.example', ...more],
})
const text = ({ method, target, headers }: RequestHead) => {
  const lines = headers.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${headers[i + 1]}`] : []))
  return `${[`${method} ${target} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`
}
const upgrade = ['Connection', 'Upgrade', 'Upgrade', 'websocket']

async function start(first: RequestHead, firstByteMs = 60_000): Promise<Running> {
  const accepted = once(server, 'connection')
  const { port } = server.address() as AddressInfo
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  const [origin] = (await accepted) as [Socket]
  let [atOrigin, atClient] = ['', '']
  origin
    .on('error', () => undefined)
    .on('data', chunk => {
      atOrigin += chunk
    })
  const translate = (head: RequestHead) => head
  const statuses: number[] = []
  const answered = (status: number) => statuses.push(status)
  const options = { socket, asked: first, first, firstByteMs, translate, answered }
  const connection = new RawConnection(options)
  connection.on('data', chunk => {
    atClient += chunk
  })
  const failure = new Promise<Error>(resolve => connection.once('error', resolve))
  await expect.poll(() => atOrigin).toBe(text(first))
  return {
    connection,
    origin,
    failure,
    statuses,
    atOrigin: () => atOrigin,
    atClient: () => atClient,
    [Symbol.dispose]() {
      connection.destroy()
      origin.destroy()
    },
  }
}

/** The origin has said so much, and the client has it. */
async function answer({ origin, atClient }: Running, bytes: string): Promise<void> {
  origin.write(bytes)
  await expect.poll(atClient).toMatch(new RegExp(`${bytes.slice(-4)}$`))
}

describe('bytes behind an upgrade', () => {
  test('wait for the agreement of the origin, and are bytes then', async () => {
    using running = await start(head(...upgrade))
    running.connection.write('no head at all')
    await answer(running, 'HTTP/1.1 102 Processing\r\n\r\n')
    expect(running.atOrigin()).toBe(text(head(...upgrade)))
    await answer(running, 'HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n')
    await expect.poll(running.atOrigin).toBe(`${text(head(...upgrade))}no head at all`)
    expect(running.statuses).toEqual([101])
  })

  test('are requests when it declines, and held to the same rules', async () => {
    using running = await start(head(...upgrade))
    running.connection.write(text(head('X-Own', '1')) + text({ ...head(), target: '/admin/' }))
    await answer(running, 'HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n')
    expect(running.atOrigin()).toBe(text(head(...upgrade)))
    await answer(running, 'no')
    await expect.poll(running.atOrigin).toContain('X-Own')
    await answer(running, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n')
    expect(running.connection.destroyed).toBe(false)
    running.origin.write('0\r\n\r\n')
    expect(await running.failure).toMatchObject({ code: 'bad_request' })
    expect(running.atClient()).toMatch(/0\r\n\r\nHTTP\/1\.1 400 Bad Request\r\n/)
    expect(running.atOrigin()).not.toContain('/admin/')
    expect(running.statuses).toEqual([401, 200])
  })
})

test('a request behind an answer without end is never sent', async () => {
  using running = await start(head())
  await answer(running, 'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  running.connection.write(text(head('X-Own', '1')))
  await answer(running, 'more')
  expect(running.atOrigin()).toBe(text(head()))
})

test('a client is told to wait while its request has to', async () => {
  using running = await start(head())
  let isTaken = false
  running.connection.write(text(head('X-Own', '1')), () => {
    isTaken = true
  })
  await answer(running, 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n')
  expect(isTaken).toBe(false)
  await answer(running, 'over')
  await expect.poll(() => isTaken).toBe(true)
})

test('an origin that says nothing to a complete request is given up, one with more to come is not', async () => {
  using silent = await start(head(), 50)
  using endless = await start(head('Transfer-Encoding', 'chunked'), 50)
  expect(await silent.failure).toMatchObject({ code: 'origin_timeout' })
  endless.connection.write('2\r\nok\r\n')
  await expect.poll(endless.atOrigin).toMatch(/ok\r\n$/)
  expect(endless.connection.destroyed).toBe(false)
  endless.connection.write('0\r\n\r\n')
  expect(await endless.failure).toMatchObject({ code: 'origin_timeout' })
})

test.each([
  ['no HTTP', 'SSH-2.0-x\r\n\r\n'],
  ['a switch that nobody asked for', 'HTTP/1.1 101 Switching\r\n\r\n'],
  [
    'two kinds of framing',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
  ],
])('an origin that answers with %s is a protocol error', async (_what, bytes) => {
  using running = await start(head())
  running.origin.write(bytes)
  expect(await running.failure).toMatchObject({ code: 'origin_protocol_error' })
})

test('what an origin has sent before it leaves arrives, however slowly it is read', async () => {
  using running = await start(head())
  running.connection.pause()
  const body = 'x'.repeat(3_000_000)
  running.origin.end(`HTTP/1.1 200 OK\r\n\r\n${body}`)
  running.connection.end()
  await once(running.origin, 'close')
  running.connection.resume()
  await expect.poll(() => running.atClient().length).toBe(body.length + 19)
  await expect.poll(() => running.connection.closed).toBe(true)
})

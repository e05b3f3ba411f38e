/** Connections of HTTP/2 to an origin: how long they are kept, and used. */

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { destinationOf } from '../../connector/destination.ts'
import { createDialer } from '../../connector/dial.ts'
import { type Http2Connection, Http2Connections } from '../../connector/http2-connections.ts'
import { application } from '../harness/application.ts'
import * as frames from '../harness/http2-frames.ts'
import { startHttp2Origin } from '../harness/http2-origin.ts'

const keepAliveMs = 200

/** SETTINGS_INITIAL_WINDOW_SIZE. */
const initialWindow = 4

test('an idle one is closed, also after a stream that was open for longer and was given up', async () => {
  await using origin = await startHttp2Origin()
  const began = Promise.withResolvers<void>()
  origin.at('/quiet', () => began.resolve())
  const destination = destinationOf(
    application('app', 'https://app.example.com/', { internalUrl: origin.url }),
  )
  const dialer = createDialer({ refusesLoopback: false })
  const open = () =>
    new Promise<Http2Connection>((connected, failed) => {
      new Http2Connections(dialer, destination, keepAliveMs).take({ connected, failed })
    })
  const used = await open()
  const stream = used.session.request({ ':path': '/quiet' })
  stream.once('close', used.enter())
  await began.promise
  const { session: idle } = await open()
  await once(idle, 'close')
  expect(used.session.closed).toBe(false)
  stream.close()
  await once(used.session, 'close')
})

test('one by which nothing goes out any more gets no further requests', async () => {
  const server = createServer(socket => {
    socket.on('error', () => undefined)
    socket.write(frames.settings({ [initialWindow]: 2 ** 30 }))
    socket.write(frames.windowUpdate(0, 2 ** 30))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const internalUrl = `http://127.0.0.1:${port}/`
  const destination = destinationOf(application('app', 'https://app.example.com/', { internalUrl }))
  const connections = new Http2Connections(
    createDialer({ refusesLoopback: false }),
    destination,
    keepAliveMs,
  )
  const ask = async (body?: Buffer) => {
    const connection = await new Promise<Http2Connection>((connected, failed) =>
      connections.take({ connected, failed }),
    )
    const stream = connection.session.request({ ':method': 'POST' }, { endStream: false })
    stream.on('error', () => undefined).once('close', connection.enter())
    if (body) stream.write(body)
    return connection
  }
  const blocked = await ask(Buffer.alloc(64 * 2 ** 20))
  expect(await ask()).toBe(blocked)
  await expect.poll(() => ask(), { timeout: 5_000 }).not.toBe(blocked)
  connections.destroy()
  server.close()
})

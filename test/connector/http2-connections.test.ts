/** Connections of HTTP/2 to an origin: how long they are kept. */

import { once } from 'node:events'
import { expect, test } from 'vitest'
import { destinationOf } from '../../connector/destination.ts'
import { createDialer } from '../../connector/dial.ts'
import { type Http2Connection, Http2Connections } from '../../connector/http2-connections.ts'
import { application } from '../harness/application.ts'
import { startHttp2Origin } from '../harness/http2-origin.ts'

const keepAliveMs = 200

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

/** One port for several workers, and for nobody else by mistake. */

import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'
import { checkPort, listen } from '../../gateway/front/listen.ts'

function server(): Server {
  const created = createServer()
  onTestFinished(async () => {
    if (!created.listening) return
    created.close()
    await once(created, 'close')
  })
  return created
}

const refused =
  /cannot listen on 127\.0\.0\.1:\d+: another program uses this port; stop it, or set SALLYPORT_GATEWAY_PORT/

test('workers share a port, and a gateway that does not belong to them is refused', async () => {
  const port = await freePort()
  await checkPort('127.0.0.1', port)
  await listen(server(), '127.0.0.1', port, true)
  await expect(checkPort('127.0.0.1', port)).rejects.toThrow(refused)
  await expect(listen(server(), '127.0.0.1', port)).rejects.toThrow(refused)
  // Outside of node:cluster only the kernel lets it be shared.
  if (process.platform === 'linux') await listen(server(), '127.0.0.1', port, true)
})

test('a port that was only looked at is free', async () => {
  const port = await freePort()
  await checkPort('127.0.0.1', port)
  expect(await listen(server(), '127.0.0.1', port)).toBe(port)
})

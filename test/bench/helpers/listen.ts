/** For helper processes: listens on loopback, tells the parent where, and ends with it. */

import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** `HOST` and `PORT` of the environment say where; without them a free port of 127.0.0.1 is taken. */
export function listen(server: Server): void {
  server.keepAliveTimeout = 60_000
  server.listen(Number(process.env.PORT ?? 0), process.env.HOST ?? '127.0.0.1', () => {
    process.send?.({ port: (server.address() as AddressInfo).port })
  })
  process.on('disconnect', () => process.exit(0))
  process.on('SIGTERM', () => process.exit(0))
  // Ctrl-C reaches the whole process group; the bench ends its helpers in order.
  process.on('SIGINT', () => undefined)
}

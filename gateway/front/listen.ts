/**
 * Opening the port, alone or as one of several workers. Workers have a listening socket each (SO_REUSEPORT): the kernel
 * spreads connections over them, and what becomes of one socket is nothing to the others. Where the system cannot do
 * that, node:cluster's parent accepts for all.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { cannotListen } from '#infra/listen-problem.ts'

const backlog = 4_096

const sharesPorts = ['linux', 'freebsd'].includes(process.platform)

/** Resolves with the port. */
export async function listen(
  server: Server,
  host: string,
  port: number,
  isShared = false,
): Promise<number> {
  server.listen({ host, port, backlog, reusePort: isShared && sharesPorts })
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw cannotListen(cause, { host, port, variables: 'SALLYPORT_GATEWAY' })
  }
  return (server.address() as AddressInfo).port
}

/** Sockets that are shared would not notice another program of the same user that shares the port. */
export async function checkPort(host: string, port: number): Promise<void> {
  const server = createServer()
  await listen(server, host, port)
  server.close()
  await once(server, 'close')
}

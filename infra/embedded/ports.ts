/** Ports on loopback: a free one, and whether a certain one is free. Another process may take it in between. */

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/** A port that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Undefined when the port can be listened on, otherwise the system's reason (`EADDRINUSE`, `EACCES`). */
export async function portProblem(port: number): Promise<string | undefined> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown'
  }
  server.close()
  await once(server, 'close')
  return undefined
}

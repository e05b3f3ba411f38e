/**
 * Ports on loopback: a free one, and whether a certain one is free. A free one is not among those that the system gives
 * to whoever connects or listens at any port: nobody gets it by chance before it is used, or while its user is away.
 */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'

/** Above those that programs are known by, and those that browsers refuse. */
const lowest = 16_384
/** Where Linux begins to give ports away unless it was told otherwise; other systems begin higher. */
const usualFirstGivenAway = 32_768
const fewest = 4_096

/** Where the next search begins; each process has a place of its own, and gives no port twice before the last one. */
let next: number | undefined

/** A port that nobody uses now. */
export async function freePort(): Promise<number> {
  const end = await firstGivenAway()
  for (let tries = lowest; tries < end; tries++) {
    const port = next ?? randomInt(lowest, end)
    next = port + 1 < end ? port + 1 : lowest
    if ((await portProblem(port)) === undefined) return port
  }
  return anyPort()
}

/** The lowest of the ports that the system gives away, if enough are left below it. */
async function firstGivenAway(): Promise<number> {
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '')
  const first = Number.parseInt(range, 10) || usualFirstGivenAway
  return first < lowest + fewest ? lowest : Math.min(first, usualFirstGivenAway)
}

/** What the system gives; another process may be given the same before it is used. */
async function anyPort(): Promise<number> {
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

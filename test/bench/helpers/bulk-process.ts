/**
 * Clients that each draw one endless download at a fixed pace: they read ahead of it never, so that everything between
 * them and the origin fills up as behind a real slow line. A process of its own, or its work would be in the latencies
 * that are measured beside it. `{ request, port, clients, bytesPerSecond }` starts, `{ stop: true }` ends and is
 * answered with `{ bytesPerSecond }`, the pace of the slowest.
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface StartBulk {
  request: string
  port: number
  clients: number
  bytesPerSecond: number
}

interface Client {
  socket: Socket
  bytes: number
}

const paceMs = 5
let clients: Client[] = []
let startedMs = 0
let pacer: NodeJS.Timeout | undefined

async function start({ request, port, clients: count, bytesPerSecond }: StartBulk) {
  clients = await Promise.all(Array.from({ length: count }, () => open(port, request)))
  startedMs = performance.now()
  pacer = setInterval(() => {
    const dueBytes = ((performance.now() - startedMs) / 1_000) * bytesPerSecond
    for (const client of clients) if (client.bytes < dueBytes) client.socket.resume()
  }, paceMs)
  const allowedBytes = () => ((performance.now() - startedMs) / 1_000) * bytesPerSecond
  for (const client of clients) {
    client.socket.on('data', (data: Buffer) => {
      client.bytes += data.length
      if (client.bytes >= allowedBytes()) client.socket.pause()
    })
  }
}

/** Resolves when the answer has begun, and is a 200. */
async function open(port: number, request: string): Promise<Client> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', error => process.send?.({ failure: error.message }))
  socket.write(request)
  await once(socket, 'readable')
  const head = String(socket.read())
  if (!head.startsWith('HTTP/1.1 200')) {
    process.send?.({ failure: `a download was answered with ${head.split('\r\n')[0]}` })
  }
  socket.pause()
  return { socket, bytes: 0 }
}

function stop(): number {
  clearInterval(pacer)
  const seconds = (performance.now() - startedMs) / 1_000
  for (const { socket } of clients) socket.destroy()
  return Math.min(...clients.map(({ bytes }) => bytes / seconds))
}

process.on('message', (message: StartBulk | { stop: true }) => {
  if ('stop' in message) process.send?.({ bytesPerSecond: stop() })
  else start(message).then(() => process.send?.({ started: true }), fail)
})

function fail(error: Error): void {
  process.send?.({ failure: error.message })
}

process.on('disconnect', () => process.exit(0))
process.on('SIGINT', () => undefined)
process.send?.({ port: 0 })

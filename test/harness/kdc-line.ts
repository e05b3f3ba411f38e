/** A line to a KDC that a test can cut, or let hang: it takes connections and passes nothing on. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from '#infra/embedded/ports.ts'

export interface KdcLine extends AsyncDisposable {
  readonly port: number
  /** Connections so far; libkrb5 makes one for each question. */
  readonly questions: number
  /** Refuses connections until it is whole again. */
  cut(): Promise<void>
  /** Takes connections and says nothing. */
  hang(): void
  mend(): Promise<void>
}

export async function startKdcLine(kdcPort: number): Promise<KdcLine> {
  const sockets = new Set<Socket>()
  let isHanging = false
  let questions = 0
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket)).on('error', () => undefined)
  }
  const server = createServer(client => {
    questions++
    keep(client)
    if (isHanging) return
    const kdc = connect(kdcPort, '127.0.0.1')
    keep(kdc)
    client.pipe(kdc).pipe(client)
    client.once('close', () => kdc.destroy())
    kdc.once('close', () => client.destroy())
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return port
  }
  const close = async () => {
    for (const socket of sockets) socket.destroy()
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    await closed
  }
  // Nobody else is given it while the line is cut.
  const port = await listen(await freePort())
  return {
    port,
    get questions() {
      return questions
    },
    cut: close,
    hang() {
      isHanging = true
      for (const socket of sockets) socket.destroy()
    },
    async mend() {
      isHanging = false
      if (!server.listening) await listen(port)
    },
    [Symbol.asyncDispose]: close,
  }
}

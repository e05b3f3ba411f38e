/**
 * A line between one service and the bus that a test can cut in the two ways in which networks are cut: nothing passes
 * any more and nothing says so; or the node at its end goes on answering, and is itself cut off from all others. The
 * service speaks without TLS to the line, which speaks TLS to the server, so that it can tell a PING from the rest.
 */

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { connect as connectSecurely, type TLSSocket } from 'node:tls'

export interface BusLine extends AsyncDisposable {
  /** The given URL of a role, by way of this line. */
  urlFor(url: string): string
  /** From now on nothing passes, and nobody is told. */
  hang(): void
  /** From now on only PING is answered. */
  isolate(): void
  /** Whoever comes again gets through again; connections of before are ended. */
  mend(): void
}

export async function startBusLine(busUrl: string, caPath: string): Promise<BusLine> {
  const at = new URL(busUrl)
  const ca = await readFile(caPath)
  const sockets = new Set<Socket>()
  let state: 'whole' | 'hanging' | 'isolated' = 'whole'
  const keep = <Kind extends Socket>(socket: Kind): Kind => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket)).on('error', () => undefined)
    return socket
  }
  const server = createServer({ noDelay: true }, client => {
    keep(client)
    if (state !== 'whole') return
    const plain = keep(connect({ port: Number(at.port), host: at.hostname, noDelay: true }))
    plain.once('data', (greeting: Buffer) => {
      plain.pause()
      const bus = keep(connectSecurely({ socket: plain, ca, servername: 'localhost' }))
      client.write(withoutTls(greeting))
      join(client, bus)
    })
    plain.once('close', () => client.destroy())
    client.once('close', () => plain.destroy())
  })
  const join = (client: Socket, bus: TLSSocket) => {
    client.on('data', (data: Buffer) => {
      if (state === 'whole') bus.write(data)
      else if (state === 'isolated' && data.includes('PING\r\n')) client.write('PONG\r\n')
    })
    bus.on('data', (data: Buffer) => {
      if (state === 'whole') client.write(data)
      // It must not learn of the cut from the server's end.
      else if (data.includes('PING\r\n')) bus.write('PONG\r\n')
    })
    bus.once('close', () => state === 'whole' && client.destroy())
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    urlFor: url => url.replace('tls://', 'nats://').replace(at.host, `127.0.0.1:${port}`),
    hang: () => {
      state = 'hanging'
    },
    isolate: () => {
      state = 'isolated'
    },
    mend: () => {
      state = 'whole'
      for (const socket of sockets) socket.destroy()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}

/** The server's first line, which says what it wants of a client. */
function withoutTls(greeting: Buffer): string {
  const [, json = ''] = /^INFO (\{.*\})/.exec(greeting.toString()) ?? []
  const { tls_required: _, tls_available: __, ...info } = JSON.parse(json)
  return `INFO ${JSON.stringify(info)}\r\n`
}

/**
 * A Remote Desktop Gateway as far as its HTTP goes (MS-TSGU §3.3.5), on raw sockets: signing in to the connection in
 * three legs, an answer without end on the OUT channel, a request without end on the IN channel, which find each other
 * by RDG-Connection-Id, or one WebSocket. What comes in on one is sent back on the other.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'

export interface RdgOrigin extends AsyncDisposable {
  readonly url: string
  /** Every head that arrived, whole. */
  readonly heads: readonly string[]
  /** Connections so far, and those of them that are open and not kept for ordinary requests. */
  readonly connected: number
  readonly open: number
}

/** What the OUT channel begins with. */
export const seed = 'seed-seed-'

const crlf = '\r\n'
const answer = (status: string, ...fields: string[]) =>
  [`HTTP/1.1 ${status}`, ...fields, '', ''].join(crlf)

export async function startRdgOrigin(): Promise<RdgOrigin> {
  const heads: string[] = []
  const sockets = new Set<Socket>()
  const open = new Set<Socket>()
  const outs = new Map<string, Socket>()
  let connected = 0
  const server = createServer({ allowHalfOpen: true }, socket => {
    connected++
    sockets.add(socket)
    socket.on('error', () => undefined).on('end', () => socket.end())
    socket.once('close', () => {
      sockets.delete(socket)
      open.delete(socket)
    })
    serve(socket, outs, head => {
      heads.push(head)
      if (/^R(DG|PC)_/.test(head)) open.add(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    heads,
    get connected() {
      return connected
    },
    get open() {
      return open.size
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

function serve(socket: Socket, outs: Map<string, Socket>, seen: (head: string) => void): void {
  let received = ''
  let isBytes: ((text: string) => void) | undefined
  let leg = 0
  socket.on('data', chunk => {
    if (isBytes) return isBytes(chunk.toString('latin1'))
    received += chunk.toString('latin1')
    for (let end = received.indexOf(crlf + crlf); end !== -1; end = received.indexOf(crlf + crlf)) {
      const head = received.slice(0, end)
      received = received.slice(end + 4)
      seen(head)
      isBytes = respond(head)
      if (!isBytes) continue
      if (received !== '') isBytes(received)
      return
    }
  })

  const respond = (head: string): ((text: string) => void) | undefined => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1]
    if (head.includes('/silent')) return () => undefined
    if (head.includes('/declines')) {
      socket.write(`${answer('403 Forbidden', 'Content-Length: 2')}no`)
      return undefined
    }
    if (head.includes('/signs-in') && leg < 3) {
      leg = field('authorization') === `NTLM leg-${leg}` ? leg + 1 : 1
      if (leg < 3) {
        socket.write(
          `${answer('401 Unauthorized', `WWW-Authenticate: NTLM ask-${leg}`, 'Content-Length: 4')}leg${leg}`,
        )
        return undefined
      }
    }
    if (head.startsWith('GET ')) {
      socket.write(answer('200 OK', 'Content-Length: 0'))
      return undefined
    }
    const id = field('rdg-connection-id') ?? ''
    if (field('upgrade')) {
      socket.write(answer('101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'))
      return text => void socket.write(`echo ${text}`)
    }
    if (head.startsWith('RDG_OUT_DATA')) {
      outs.set(id, socket)
      socket.write(answer('200 OK', 'Date: now') + seed, 'latin1')
      return undefined
    }
    if (field('transfer-encoding') !== 'chunked' && !head.startsWith('RPC_')) {
      socket.write(answer('200 OK', 'Content-Length: 0'))
      return undefined
    }
    if (head.startsWith('RPC_')) return text => void socket.write(text, 'latin1')
    let sent = ''
    return text => {
      outs.get(id)?.write(text, 'latin1')
      sent = (sent + text).slice(-7)
      if (sent.endsWith('\r\n0\r\n\r\n')) socket.write(answer('200 OK', 'Content-Length: 0'))
    }
  }
}

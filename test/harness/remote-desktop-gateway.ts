/**
 * A Remote Desktop Gateway that a real client can use (MS-TSGU), for none exists outside Windows: NTLM on the
 * connection, then a WebSocket begun by RDG_OUT_DATA, or two connections which find each other by RDG-Connection-Id,
 * and behind it one desktop. What is said inside stands in tsgu.ts; for odd bytes there is rdg-origin.ts.
 */

import { hash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createNtlmSignIn } from './ntlm.ts'
import { Tunnel, type TunnelOptions } from './tsgu.ts'

export interface RemoteDesktopGateway extends AsyncDisposable {
  readonly url: string
  /** Every head that arrived, whole. */
  readonly heads: readonly string[]
  /** How many clients it has at the desktop. */
  readonly clients: number
}

interface Desk {
  readonly desktopPort: number
  readonly heads: string[]
  /** OUT channels by RDG-Connection-Id. */
  readonly outs: Map<string, Socket>
  readonly tunnels: Set<Tunnel>
}

export async function startRemoteDesktopGateway(
  desktopPort: number,
): Promise<RemoteDesktopGateway> {
  const desk: Desk = { desktopPort, heads: [], outs: new Map(), tunnels: new Set() }
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, socket => {
    sockets.add(socket)
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket))
    serve(socket, desk)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    heads: desk.heads,
    get clients() {
      return desk.tunnels.size
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Takes what the client sends once no more heads follow. */
type Take = (bytes: Buffer) => void

function serve(socket: Socket, desk: Desk): void {
  const signIn = createNtlmSignIn()
  let isSignedIn = false
  let received: Buffer = Buffer.alloc(0)
  let take: Take | undefined
  const respond = (head: string): Take | undefined => {
    desk.heads.push(head)
    const challenge = isSignedIn ? undefined : signIn.answer(field(head, 'authorization'))
    isSignedIn = challenge === undefined
    if (isSignedIn) return begin(socket, head, desk)
    const empty = 'Content-Length: 0'
    socket.write(answer('401 Unauthorized', `WWW-Authenticate: ${challenge}`, empty))
    return undefined
  }
  socket.on('data', chunk => {
    if (take) return take(chunk)
    received = Buffer.concat([received, chunk])
    for (let end = received.indexOf(headEnd); end !== -1; end = received.indexOf(headEnd)) {
      const head = received.toString('latin1', 0, end)
      received = received.subarray(end + headEnd.length)
      take = respond(head)
      if (take) return take(received)
    }
  })
}

const headEnd = '\r\n\r\n'

const answer = (status: string, ...fields: string[]) =>
  [`HTTP/1.1 ${status}`, ...fields, '', ''].join('\r\n')

const field = (head: string, name: string) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1]

/** What a request of somebody who has signed in begins. */
function begin(socket: Socket, head: string, desk: Desk): Take | undefined {
  const id = field(head, 'rdg-connection-id') ?? ''
  if (field(head, 'upgrade')) return beginWebSocket(socket, head, desk)
  if (head.startsWith('RDG_OUT_DATA')) {
    // Without any length, and 10 octets that mean nothing (MS-TSGU §3.3.5.1).
    socket.write(answer('200 OK', `Date: ${new Date().toUTCString()}`))
    socket.write(Buffer.alloc(10, 's'))
    desk.outs.set(id, socket)
    socket.once('close', () => desk.outs.delete(id))
    return undefined
  }
  if (field(head, 'transfer-encoding') === 'chunked') return beginIn(socket, desk, id)
  socket.write(answer('200 OK', 'Content-Length: 0'))
  return undefined
}

function beginIn(socket: Socket, desk: Desk, id: string): Take | undefined {
  const out = desk.outs.get(id)
  if (!out) return void socket.destroy()
  const tunnel = open(desk, { out, wrap: packet => packet })
  // Neither channel is of use without the other one.
  socket.once('close', () => out.destroy())
  out.once('close', () => socket.destroy())
  return inPieces(chunkOf, bytes => tunnel.take(bytes))
}

function beginWebSocket(socket: Socket, head: string, desk: Desk): Take {
  const key = `${field(head, 'sec-websocket-key')}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const accept = `Sec-WebSocket-Accept: ${hash('sha1', key, 'base64')}`
  socket.write(
    answer('101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', accept),
  )
  const tunnel = open(desk, { out: socket, wrap: packet => frame(binary, packet) })
  return inPieces(frameOf, (payload, opcode) => {
    if (opcode === close) socket.end(frame(close, Buffer.alloc(0)))
    else if (opcode === ping) socket.write(frame(pong, payload))
    else if (opcode !== pong) tunnel.take(payload)
  })
}

function open(
  { desktopPort, tunnels }: Desk,
  { out, wrap }: Pick<TunnelOptions, 'out' | 'wrap'>,
): Tunnel {
  const tunnel = new Tunnel({ desktopPort, out, wrap })
  tunnels.add(tunnel)
  out.once('close', () => {
    tunnel.end()
    tunnels.delete(tunnel)
  })
  return tunnel
}

interface Piece {
  /** Octets with everything around it. */
  readonly length: number
  readonly payload: Buffer
  readonly opcode?: number
}

/** Hands over what is complete of the bytes so far. */
function inPieces(
  pieceOf: (bytes: Buffer) => Piece | undefined,
  deliver: (payload: Buffer, opcode?: number) => void,
): Take {
  let received: Buffer = Buffer.alloc(0)
  return bytes => {
    received = Buffer.concat([received, bytes])
    for (let piece = pieceOf(received); piece; piece = pieceOf(received)) {
      received = received.subarray(piece.length)
      deliver(piece.payload, piece.opcode)
    }
  }
}

/** RFC 9112 §7.1 */
function chunkOf(bytes: Buffer): Piece | undefined {
  const start = bytes.indexOf('\r\n') + 2
  if (start < 2) return undefined
  const end = start + Number.parseInt(bytes.toString('latin1', 0, start), 16)
  if (bytes.length < end + 2) return undefined
  return { length: end + 2, payload: bytes.subarray(start, end) }
}

const [binary, close, ping, pong] = [2, 8, 9, 10] as const

/** RFC 6455 §5.2; what a client sends is masked. */
function frameOf(bytes: Buffer): Piece | undefined {
  if (bytes.length < 2) return undefined
  const short = (bytes[1] as number) & 0x7f
  // The longest form has 8 octets, of which the first two are 0.
  const maskAt = short === 127 ? 10 : short === 126 ? 4 : 2
  if (bytes.length < maskAt + 4) return undefined
  const size = short < 126 ? short : bytes.readUIntBE(short === 127 ? 4 : 2, short === 127 ? 6 : 2)
  const end = maskAt + 4 + size
  if (bytes.length < end) return undefined
  const mask = bytes.subarray(maskAt, maskAt + 4)
  const payload = bytes.subarray(maskAt + 4, end).map((octet, i) => octet ^ (mask[i & 3] as number))
  return { length: end, payload: Buffer.from(payload), opcode: (bytes[0] as number) & 0x0f }
}

function frame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload
  const head = length < 126 ? [length] : [126, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([0x80 | opcode, ...head]), payload])
}

/**
 * The WebSocket side of the test origin: /ws echoes messages and answers `close CODE REASON` and `reset`; /ws/refused
 * answers 403 with a body and two cookies in place of the upgrade; /ws/cookies sets cookies on the 101, /ws/long a long
 * field; /ws/first sends a message right after the 101; /ws/headers the request's raw headers; /ws/resets breaks the
 * connection before it, /ws/hangs never answers, /ws/late takes a moment for the agreement.
 */

import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'

export function acceptWebSockets(server: Server): void {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: 32 * 1024 * 1024,
    perMessageDeflate: { threshold: 0 },
    handleProtocols: offered => (offered.has('chat.v2') ? 'chat.v2' : false),
  })
  sockets.on('headers', (headers: string[], { url }) => {
    if (url === '/ws/long') headers.push(`X-Long: ${'x'.repeat(50_000)}`)
    if (url === '/ws/cookies') headers.push('Set-Cookie: a=1; Path=/', 'Set-Cookie: b=2; Path=/')
  })
  const agree = (req: IncomingMessage, socket: Socket, first: Buffer) =>
    sockets.handleUpgrade(req, socket, first, ws => converse(ws, req, socket))
  server.on('upgrade', (req: IncomingMessage, socket: Socket, first: Buffer) => {
    socket.on('error', () => undefined)
    if (req.url === '/ws/hangs') return void socket.on('end', () => socket.end()).resume()
    if (req.url === '/ws/resets') socket.resetAndDestroy()
    else if (req.url === '/ws/refused') refuse(socket)
    else if (req.url === '/ws/late') setTimeout(() => agree(req, socket, first), 100)
    else agree(req, socket, first)
  })
}

function refuse(socket: Socket): void {
  const body = 'not for you'
  socket.end(
    `HTTP/1.1 403 Forbidden\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Type: text/plain\r\n` +
      `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  )
}

function converse(ws: WebSocket, req: IncomingMessage, socket: Socket): void {
  ws.on('error', () => undefined)
  if (req.url === '/ws/first') ws.send('welcome')
  if (req.url === '/ws/headers') ws.send(JSON.stringify(req.rawHeaders))
  ws.on('message', (data, isBinary) => {
    const text = isBinary ? '' : data.toString()
    const [, code, reason = ''] = /^close (\d+) ?(.*)$/.exec(text) ?? []
    if (code !== undefined) ws.close(Number(code), reason)
    else if (text === 'reset') socket.resetAndDestroy()
    else ws.send(data, { binary: isBinary })
  })
}

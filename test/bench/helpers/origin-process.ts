/**
 * The origin behind every target: plain node:http, answers ready in memory. `DELAY_MS` makes it a slow one. It accepts
 * any WebSocket and says nothing on it; `/open-websockets` tells how many there are.
 */

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { json, page } from './answers.ts'
import { listen } from './listen.ts'

const chunk = Buffer.alloc(64 * 1024, 'x')
const streamMs = 20
const delayMs = Number(process.env.DELAY_MS ?? 0)
const webSockets = new Set<Duplex>()

type Handler = (req: IncomingMessage, res: ServerResponse, url: URL) => unknown

const handlers: Record<string, Handler> = {
  '/json': async (_req, res) => {
    if (delayMs > 0) await sleep(delayMs)
    answer(res, 'application/json', json)
  },
  '/page': (_req, res) => answer(res, 'text/html; charset=utf-8', page),
  '/download': async (_req, res, url) => {
    const bytes = Number(url.searchParams.get('bytes'))
    res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes })
    await pipeline(Readable.from(chunks(bytes)), res)
  },
  '/upload': async (req, res) => {
    let bytes = 0
    for await (const part of req) bytes += part.length
    answer(res, 'application/json', Buffer.from(JSON.stringify({ bytes })))
  },
  '/stream': (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain' })
    res.write('first')
    setTimeout(() => res.end('last'), streamMs)
  },
  '/open-websockets': (_req, res) =>
    answer(res, 'application/json', Buffer.from(String(webSockets.size))),
}

function answer(res: ServerResponse, type: string, body: Buffer): void {
  res.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body)
}

function* chunks(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= chunk.length) yield chunk.subarray(0, left)
}

const server = createServer((req, res) => {
  const url = new URL(req.url ?? '/', 'http://origin')
  const handler = handlers[url.pathname]
  if (!handler) {
    res.writeHead(404).end()
    return
  }
  Promise.resolve(handler(req, res, url)).catch(() => res.destroy())
})

server.on('upgrade', (req: IncomingMessage, socket: Duplex) => {
  // The accept value of RFC 6455 §4.2.2.
  const accept = createHash('sha1')
    .update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')
  const lines = ['Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`]
  socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`)
  webSockets.add(socket)
  socket.on('error', () => undefined)
  socket.on('close', () => webSockets.delete(socket))
  socket.on('end', () => socket.end())
  socket.resume()
})

listen(server)

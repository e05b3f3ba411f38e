/**
 * A private application that does what it is asked, well or badly. It answers at
 *   /echo          what it received, as JSON: method, target, raw headers, trailers, length and SHA-256 of the body
 *   /bytes/N       N bytes with a Content-Length; `?chunked` without
 *   /ways/NAME     one of the ways to misbehave in misbehaviour.ts
 *   any path at all of which a test has said `origin.at(path, handler)`, and WebSockets as origin-socket.ts says.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { freePort } from '#infra/embedded/ports.ts'
import { bodyStream, digestOfStream } from './bodies.ts'
import { type Misbehaviour, misbehaviours } from './misbehaviour.ts'
import { acceptWebSockets } from './origin-socket.ts'

export type Handler = (req: IncomingMessage, res: ServerResponse) => unknown

export interface Echo {
  method: string
  target: string
  /** Names and values as they came. */
  headers: [string, string][]
  trailers: [string, string][]
  bytes: number
  sha256: string
}

/** A request as the origin saw it arrive. */
export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  /** Whole, or broken off by the other side. Undefined while it goes on. */
  readonly end: 'answered' | 'broken' | undefined
}

export interface Origin extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** Oldest first. */
  readonly seen: readonly Seen[]
  /** The latest request to a path, with or without a query. */
  latest(path: string): Seen | undefined
  /** TCP connections that are open. */
  readonly connections: number
  /** Upgraded connections that are open. */
  readonly upgraded: number
  at(path: string, handler: Handler): void
  /** Refuses connections from now on, and cuts those that are open. */
  close(): Promise<void>
  /** Listens again, at the same port. */
  reopen(): Promise<void>
}

interface Record extends Seen {
  end: Seen['end']
}

export async function startOrigin(): Promise<Origin> {
  const seen: Record[] = []
  const handlers = new Map<string, Handler>([['/echo', echo]])
  const sockets = new Set<Socket>()
  const upgraded = new Set<Socket>()
  const server = createServer(
    { requestTimeout: 0, maxHeaderSize: 128 * 1024, keepAliveTimeout: 65_000 },
    (req, res) => {
      note(seen, req, res)
      const path = pathOf(req)
      const handler = handlers.get(path) ?? builtIn(path)
      Promise.resolve(handler(req, res)).catch(() => res.destroy())
    },
  )
  server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket)).on('error', () => undefined)
  })
  server.on('upgrade', (_req, socket: Socket) => {
    upgraded.add(socket)
    socket.once('close', () => upgraded.delete(socket))
  })
  acceptWebSockets(server)
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
    server.closeAllConnections()
    await closed
  }
  // Nobody else is given it while it is closed.
  const port = await listen(await freePort())
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    seen,
    latest: path => seen.findLast(it => it.path === path || it.path.startsWith(`${path}?`)),
    get connections() {
      return sockets.size
    },
    get upgraded() {
      return upgraded.size
    },
    at: (path, handler) => void handlers.set(path, handler),
    close,
    reopen: async () => void (await listen(port)),
    [Symbol.asyncDispose]: close,
  }
}

function note(seen: Record[], req: IncomingMessage, res: ServerResponse): void {
  const { method = '', url: path = '', headers } = req
  const record: Record = { method, path, headers, end: undefined }
  seen.push(record)
  res.once('finish', () => {
    record.end = 'answered'
  })
  res.once('close', () => {
    record.end ??= 'broken'
  })
}

function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?')[0] as string
}

function builtIn(path: string): Handler {
  if (path.startsWith('/ways/'))
    return misbehaviours[decodeURIComponent(path.slice(6)) as Misbehaviour]
  if (path.startsWith('/bytes/')) return bytes
  return (req, res) => {
    req.resume()
    res.writeHead(404, { 'content-type': 'text/plain' }).end('the origin has no such page')
  }
}

async function echo(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const digest = await digestOfStream(req)
  const facts: Echo = {
    method: req.method ?? '',
    target: req.url ?? '',
    headers: pairsOf(req.rawHeaders),
    trailers: pairsOf(req.rawTrailers),
    ...digest,
  }
  const body = Buffer.from(JSON.stringify(facts))
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
  res.end(req.method === 'HEAD' ? undefined : body)
}

async function bytes(req: IncomingMessage, res: ServerResponse): Promise<void> {
  req.resume()
  const size = Number(pathOf(req).split('/')[2])
  const isChunked = req.url?.endsWith('?chunked')
  res.writeHead(200, {
    'content-type': 'application/octet-stream',
    ...(!isChunked && { 'content-length': size }),
  })
  // Only a client that goes away ends it early.
  if (req.method === 'HEAD') res.end()
  else await pipeline(bodyStream(size), res).catch(() => undefined)
}

export function pairsOf(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, index) =>
    index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as [string, string]] : [],
  )
}

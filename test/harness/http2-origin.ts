/** A private application that speaks HTTP/2, over TLS or from the first byte (h2c), and does what a test says. */

import { once } from 'node:events'
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2'
import type { AddressInfo } from 'node:net'

export type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => unknown

export interface Http2Origin extends AsyncDisposable {
  readonly url: string
  /** Connections that are open, oldest first. */
  readonly sessions: readonly ServerHttp2Session[]
  /** Connections so far. */
  readonly connected: number
  /** Heads of all requests, with their names and values in turn. */
  readonly seen: readonly string[][]
  at(path: string, handler: StreamHandler): void
}

export interface Http2OriginOptions extends ServerOptions {
  /** Speaks TLS with it. */
  certificate?: { cert: string; key: string }
}

export async function startHttp2Origin(options: Http2OriginOptions = {}): Promise<Http2Origin> {
  const { certificate, ...rest } = options
  const server: Http2Server = certificate
    ? (createSecureServer({ ...rest, ...certificate }) as unknown as Http2Server)
    : createServer(rest)
  const sessions = new Set<ServerHttp2Session>()
  const seen: string[][] = []
  const handlers = new Map<string, StreamHandler>()
  let connected = 0
  server.on('session', session => {
    connected++
    sessions.add(session)
    session.once('close', () => sessions.delete(session)).on('error', () => undefined)
  })
  server.on('stream', (stream, headers, _flags, raw) => {
    seen.push([...raw])
    stream.on('error', () => undefined)
    const handler = handlers.get(headers[':path'] ?? '')
    if (handler) handler(stream, headers)
    else stream.respond({ ':status': 404 }, { endStream: true })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: certificate ? `https://localhost:${port}/` : `http://127.0.0.1:${port}/`,
    get sessions() {
      return [...sessions]
    },
    get connected() {
      return connected
    },
    seen,
    at: (path, handler) => void handlers.set(path, handler),
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const session of sessions) session.destroy()
      await closed
    },
  }
}

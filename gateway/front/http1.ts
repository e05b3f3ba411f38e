/**
 * The HTTP/1.1 server in front of the request path: parser limits, and the requests that do not arrive as plain ones
 * (100-continue, upgrades, CONNECT). What Node's parser lets through although it is ambiguous, `incoming.ts` refuses.
 */

import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** How a request arrived. */
export interface Arrival {
  /** The client's socket, for a request that asks to switch protocols. */
  readonly upgrade?: { readonly socket: Duplex; readonly first: Buffer }
  /** The client waits for "100 Continue" before it sends its body. */
  readonly expectsContinue?: boolean
}

export type RequestListener = (req: IncomingMessage, res: ServerResponse, how: Arrival) => void

const maxHeaderBytes = 64 * 1024
const headersTimeoutMs = 15_000
const keepAliveTimeoutMs = 65_000

export function createHttp1Server(listener: RequestListener): Server {
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      requestTimeout: 0,
      keepAliveTimeout: keepAliveTimeoutMs,
      connectionsCheckingInterval: 5_000,
      // Other protocols that a client merely offers (h2c) are answered over HTTP/1.1.
      shouldUpgradeCallback: req => req.headers.upgrade?.toLowerCase() !== 'h2c',
    },
    (req, res) => begin(req, res, {}),
  )
  const begin: RequestListener = (req, res, how) => {
    if (!server.listening) res.shouldKeepAlive = false
    listener(req, res, how)
  }
  server.on('checkContinue', (req, res) => begin(req, res, { expectsContinue: true }))
  server.on('upgrade', (req: IncomingMessage, socket: Duplex, first: Buffer) => {
    socket.on('error', () => undefined)
    const res = new ServerResponse(req)
    res.shouldKeepAlive = false
    res.assignSocket(socket as Socket)
    res.once('finish', () => socket.end())
    begin(req, res, { upgrade: { socket, first } })
  })
  server.on('connect', (_req, socket: Duplex) =>
    socket.end('HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
  )
  return server
}

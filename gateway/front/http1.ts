/**
 * The HTTP/1.1 server in front of the request path: parser limits, and the requests that do not arrive as plain ones
 * (100-continue, upgrades, CONNECT). What Node's parser lets through although it is ambiguous, `request-faults.ts`
 * refuses.
 */

import { createServer, type Server } from 'node:http'
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TlsOptions } from 'node:tls'
import type { Arrival, RequestListener } from './client.ts'
import { readEarly } from './early-bytes.ts'
import { Http1Request } from './http1-request.ts'
import { Http1Response, QueuedResponses } from './http1-response.ts'
import { Turns } from './turns.ts'
import { answerUnreadable, endGently, openResponse, type Refusal, refuse } from './unreadable.ts'

/** Target and fields; `request-faults.ts` has a bound for each of them, and says which it was. */
const maxHeaderBytes = 132 * 1024
const headersTimeoutMs = 15_000
const keepAliveTimeoutMs = 65_000

export type Http1Server =
  | Server<typeof Http1Request, typeof Http1Response>
  | SecureServer<typeof Http1Request, typeof Http1Response>

const options = {
  IncomingMessage: Http1Request,
  ServerResponse: Http1Response,
  maxHeaderSize: maxHeaderBytes,
  headersTimeout: headersTimeoutMs,
  requestTimeout: 0,
  keepAliveTimeout: keepAliveTimeoutMs,
  connectionsCheckingInterval: 5_000,
  // Other protocols that a client merely offers (h2c) are answered over HTTP/1.1, and so is what comes before the answer
  // to an earlier request: until then the connection is not free for another protocol (RFC 9110 §7.8).
  shouldUpgradeCallback: ({ headers, socket }: Http1Request) =>
    headers.upgrade?.toLowerCase() !== 'h2c' && !openResponse(socket),
}

/** With TLS options it listens as HTTPS. */
export function createHttp1Server(
  listener: RequestListener,
  refusal: Refusal,
  tls?: TlsOptions,
): Http1Server {
  const queued = new QueuedResponses()
  const turns = new Turns()
  const begin = (req: Http1Request, res: Http1Response, how: Arrival) => {
    if (!server.listening) res.closeConnection()
    if (!res.socket) queued.add(req.socket, res)
    turns.take(req, res, () => listener(req, res, how))
  }
  const plainly = (req: Http1Request, res: Http1Response) => begin(req, res, {})
  const server: Http1Server = tls
    ? createSecureServer({ ...options, ...tls }, plainly)
    : createServer(options, plainly)
  server.on('checkContinue', (req, res) => begin(req, res, { expectsContinue: true }))
  server.on('checkExpectation', plainly)
  server.on('clientError', answerUnreadable(refusal))
  server.on('upgrade', (req: Http1Request, socket: Duplex, first: Buffer) => {
    socket.on('error', () => undefined)
    const res = new Http1Response(req)
    res.closeConnection()
    res.assignSocket(socket as Socket)
    const early = readEarly(socket, res)
    res.once('finish', () => {
      early.end()
      endGently(socket)
    })
    const takeOver = () => {
      res.detachSocket(socket as Socket)
      // Of TLS, Node would end the other side with the client's (RFC 8446 §6.1).
      socket.allowHalfOpen = true
      return Buffer.concat([first, early.end()])
    }
    begin(req, res, { upgrade: { socket, takeOver } })
  })
  server.on('connect', (_req, socket: Duplex) => {
    // It would stand in the place of an answer that is still to come.
    if (openResponse(socket)) queued.destroy(socket)
    else refuse(socket, refusal('method_not_allowed'))
  })
  return server
}

/**
 * The HTTP/1.1 server in front of the request path: parser limits, and the requests that do not arrive as plain ones
 * (100-continue, upgrades, CONNECT). What Node's parser lets through although it is ambiguous, `request-faults.ts`
 * refuses.
 */

import {
  createServer,
  type IncomingMessage,
  type Server,
  ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { pairsOf, withLengthLast } from '#infra/http.ts'
import {
  type Arrival,
  type ClientResponse,
  fieldLines,
  hasLength,
  hasNoBody,
  lengthless,
  type RequestListener,
} from './client.ts'
import { answerUnreadable, endGently, openResponse, type Refusal, refuse } from './unreadable.ts'

/** Target and fields; `request-faults.ts` has a bound for each of them, and says which it was. */
const maxHeaderBytes = 132 * 1024
const headersTimeoutMs = 15_000
const keepAliveTimeoutMs = 65_000

/** A body up to this size is one string with its head, and one plain write: that is cheaper than a gathered one. */
const joinedBytes = 8 * 1024

export class Http1Response extends ServerResponse implements ClientResponse {
  isContinued = false
  /** A body that is longer than its length says would go on as the answer to the next request of the connection. */
  override strictContentLength = true

  get isGone(): boolean {
    return this.destroyed
  }

  sendHead(status: number, reason: string, headers: readonly string[]): void {
    this.#begin(status, reason, headers as string[])
    // flushHeaders would make UTF-8 of what is octets (RFC 9110 §5.5). Where there is no body the end brings the head.
    this.write('', 'latin1')
    // At once: an answer may break off before the end of this turn.
    this.socket?.uncork()
  }

  sendWhole(status: number, reason: string, headers: string[], body: Buffer): void {
    const isEmpty = hasNoBody(this.req.method, status)
    if ((!isEmpty || body.length > 0) && !hasLength(headers))
      headers.push('Content-Length', `${body.length}`)
    this.#begin(status, reason, lengthless(status, headers))
    if (isEmpty || body.length === 0) this.end()
    else if (body.length <= joinedBytes) this.end(body.toString('latin1'), 'latin1')
    else this.end(body)
  }

  sendInformation(status: number, headers: readonly string[]): void {
    const { httpVersionMinor } = this.req
    // Without a socket an earlier answer of the connection is not over; HTTP/1.0 knows no interim answers.
    if (this.headersSent || !this.socket?.writable || httpVersionMinor === 0) return
    // Whoever does not read has no use for them either.
    if (this.socket.writableNeedDrain) return
    const line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
    this.socket.write(`${line}${fieldLines(headers)}\r\n`, 'latin1')
  }

  override writeContinue(): void {
    this.isContinued = true
    super.writeContinue()
  }

  endWith(trailers: readonly string[]): void {
    if (trailers.length > 0) this.addTrailers(pairsOf(trailers))
    this.end()
  }

  abort(): void {
    // One that waits for those before it has no connection yet: it ends when its turn comes, with nothing of it said.
    if (!this.socket) this.once('socket', endGently)
    // Where the end of the connection may be that of the body, only a reset is another end (RFC 9112 §8).
    if (this.req.httpVersionMinor === 0 && this.socket && !isTls(this.socket))
      this.socket.resetAndDestroy()
    else this.destroy()
  }

  closeConnection(): void {
    this.shouldKeepAlive = false
  }

  #begin(status: number, reason: string, headers: string[]): void {
    // Node finds that a field cannot be sent only after it has settled that there will be no body, in what comes instead
    // neither: whoever read that would take the next answer for its body.
    if (hasNoBody(undefined, status)) fieldLines(headers)
    this.writeHead(status, reason, withLengthLast(headers))
  }
}

/** TLS has an end of its own, which is missing then. */
function isTls(socket: Socket): boolean {
  return (socket as TLSSocket).encrypted === true
}

/** What a client may send after its request for a WebSocket and before the answer, to which it has to wait. */
const maxEarlyBytes = 64 * 1024

export type Http1Server =
  | Server<typeof IncomingMessage, typeof Http1Response>
  | SecureServer<typeof IncomingMessage, typeof Http1Response>

const options = {
  ServerResponse: Http1Response,
  maxHeaderSize: maxHeaderBytes,
  headersTimeout: headersTimeoutMs,
  requestTimeout: 0,
  keepAliveTimeout: keepAliveTimeoutMs,
  connectionsCheckingInterval: 5_000,
  // Other protocols that a client merely offers (h2c) are answered over HTTP/1.1, and so is what comes before the answer
  // to an earlier request: until then the connection is not free for another protocol (RFC 9110 §7.8).
  shouldUpgradeCallback: ({ headers, socket }: IncomingMessage) =>
    headers.upgrade?.toLowerCase() !== 'h2c' && !openResponse(socket),
}

/** With TLS options it listens as HTTPS. */
export function createHttp1Server(
  listener: RequestListener,
  refusal: Refusal,
  tls?: TlsOptions,
): Http1Server {
  const queued = new QueuedResponses()
  const begin = (req: IncomingMessage, res: Http1Response, how: Arrival) => {
    if (!server.listening) res.closeConnection()
    if (!res.socket) queued.add(req.socket, res)
    listener(req, res, how)
  }
  const plainly = (req: IncomingMessage, res: Http1Response) => begin(req, res, {})
  const server: Http1Server = tls
    ? createSecureServer({ ...options, ...tls }, plainly)
    : createServer(options, plainly)
  server.on('checkContinue', (req, res) => begin(req, res, { expectsContinue: true }))
  server.on('checkExpectation', plainly)
  server.on('clientError', answerUnreadable(refusal))
  server.on('upgrade', (req: IncomingMessage, socket: Duplex, first: Buffer) => {
    socket.on('error', () => undefined)
    const res = new Http1Response(req)
    res.closeConnection()
    res.assignSocket(socket as Socket)
    const early = isWebSocket(req) ? readEarly(socket, res) : undefined
    res.once('finish', () => {
      early?.end()
      endGently(socket)
    })
    const takeOver = () => {
      res.detachSocket(socket as Socket)
      return early ? Buffer.concat([first, early.end()]) : first
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

function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket'
}

/**
 * Reads a connection before it is switched, or nobody would hear of a client that leaves: one of WebSockets can use
 * nothing of a connection whose end it has closed. Of other protocols it may have said all that it had to say.
 */
function readEarly(socket: Duplex, res: ServerResponse): { end(): Buffer } {
  const chunks: Buffer[] = []
  let bytes = 0
  const onData = (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxEarlyBytes) socket.pause()
  }
  const onEnd = () => void (res.headersSent || socket.destroy())
  socket.on('data', onData).on('end', onEnd)
  return {
    end() {
      socket.off('data', onData).off('end', onEnd)
      if (bytes > maxEarlyBytes) socket.resume()
      return Buffer.concat(chunks.splice(0))
    },
  }
}

/** Answers that wait for an earlier one of their connection: behind CONNECT, Node would not tell them of its end. */
class QueuedResponses {
  readonly #queued = new WeakMap<Duplex, Set<Http1Response>>()

  add(socket: Duplex, res: Http1Response): void {
    const queue = this.#queued.get(socket) ?? new Set()
    this.#queued.set(socket, queue.add(res))
    res.once('close', () => queue.delete(res))
  }

  /** Ends a connection and all that is owed to it. */
  destroy(socket: Duplex): void {
    socket.destroy()
    for (const res of this.#queued.get(socket) ?? []) res.destroy()
  }
}

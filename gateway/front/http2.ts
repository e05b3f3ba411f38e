/**
 * The HTTP/2 side of the front (RFC 9113). Requests take the shape that HTTP/1.1 would give them, so that one request
 * path serves both; answers lose what belongs to a connection of HTTP/1.1. WebSockets over HTTP/2 (RFC 8441) are not
 * offered: browsers then open an HTTP/1.1 connection for them.
 */

import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http'
import {
  constants,
  createServer,
  Http2ServerRequest,
  Http2ServerResponse,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { ReadableOptions } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { headerValue, recordOf } from '#infra/http.ts'
import {
  type Arrival,
  type ClientResponse,
  hasNoBody,
  lengthless,
  type RequestListener,
} from './client.ts'
import { Http2Connection } from './http2-connection.ts'
import { afterLastWords } from './last-words.ts'
import type { Awaited, Patience, usualPatience } from './patience.ts'

const { NGHTTP2_NO_ERROR, NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR } = constants

/** What a client may have under way on one connection (RFC 9113 §5.1.2, §6.9, §10.5). */
const settings = {
  maxConcurrentStreams: 128,
  initialWindowSize: 256 * 1024,
  maxHeaderListSize: 64 * 1024,
}
const connectionWindowBytes = 1024 * 1024

const options = {
  settings,
  maxHeaderListPairs: 2_000,
  maxSessionInvalidFrames: 100,
  // Streams that a client opens and resets: a burst, then so many a second (CVE-2023-44487).
  streamResetBurst: 1_000,
  streamResetRate: 100,
  strictSingleValueFields: false,
}

/** Frames that wait on a connection before interim answers are left out. */
const mostQueuedFrames = 100

/** How long requests may still arrive after a client was told to send no more (RFC 9113 §6.8). */
const lastRequestsMs = 500
const highestStreamId = 2 ** 31 - 1

const connections = new WeakMap<Http2Session, Http2Connection>()

class Http2Request extends Http2ServerRequest {
  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    readable: ReadableOptions,
    rawHeaders: readonly string[],
  ) {
    super(stream, headers, readable, http1Headers(rawHeaders))
  }

  get body(): this {
    return this
  }
}

class Http2Response extends Http2ServerResponse<Http2Request> implements ClientResponse, Awaited {
  isContinued = false
  #writtenBytes = 0

  get isClientsTurn(): boolean {
    return this.stream.writableLength > 0
  }

  get movedBytes(): number {
    return this.#writtenBytes - this.stream.writableLength
  }

  stalled(): void {
    const { session } = this.stream
    this.stream.close(NGHTTP2_CANCEL)
    // By a connection that takes nothing the reset does not go out, and for Node the stream would not be over.
    this.emit('close')
    if (session) connections.get(session)?.resets()
  }

  override write(chunk: Buffer): boolean {
    this.#writtenBytes += chunk.length
    return super.write(chunk)
  }

  get isGone(): boolean {
    return this.stream.destroyed || this.stream.closed
  }

  sendHead(status: number, _reason: string, headers: readonly string[]): void {
    this.#respond(status, headers, { waitForTrailers: true })
  }

  sendWhole(status: number, _reason: string, headers: string[], body: Buffer): void {
    const isEmpty = hasNoBody(this.req.method, status) || body.length === 0
    const hasLength = headerValue(headers, 'content-length') !== undefined
    if (body.length > 0 && !hasLength) headers.push('Content-Length', `${body.length}`)
    this.#respond(status, lengthless(status, headers), { endStream: isEmpty })
    if (isEmpty) this.end()
    else this.end(body)
  }

  #respond(status: number, headers: readonly string[], how: object): void {
    if (this.isGone) return
    this.stream.respond(http2Headers(headers, [':status', `${status}`]), how)
    this.statusCode = status
  }

  sendInformation(status: number, headers: readonly string[]): void {
    if (this.isGone || this.stream.headersSent) return
    // Whoever does not read has no use for them either.
    if ((this.stream.session?.state.outboundQueueSize ?? 0) > mostQueuedFrames) return
    const fields = recordOf(http2Headers(headers))
    this.stream.additionalHeaders({ ...fields, ':status': status })
  }

  override writeContinue(): void {
    this.isContinued = true
    super.writeContinue()
  }

  endWith(trailers: readonly string[]): void {
    if (trailers.length > 0) this.addTrailers(recordOf(http2Headers(trailers)))
    this.end()
  }

  abort(): void {
    this.stream.close(NGHTTP2_INTERNAL_ERROR)
  }

  breakOff(): void {
    afterLastWords(this.stream, () => this.abort())
  }

  closeConnection(): void {}
}

type Session = ServerHttp2Session<
  typeof IncomingMessage,
  typeof ServerResponse,
  typeof Http2Request,
  typeof Http2Response
>

export interface Http2Front {
  /** Takes a connection that negotiated HTTP/2. */
  accept(socket: TLSSocket): void
  /** Tells every client to send no more; connections close when their streams have ended. */
  close(): void
  destroy(): void
}

export interface Http2Options {
  patience: typeof usualPatience
  downloads: Patience
}

export function createHttp2Front(
  listener: RequestListener,
  { patience, downloads }: Http2Options,
): Http2Front {
  const server = createServer({
    ...options,
    Http2ServerRequest: Http2Request,
    Http2ServerResponse: Http2Response,
  })
  const begin = (how: Arrival) => (req: Http2Request, res: Http2Response) => {
    downloads.add(res)
    req.stream.once('close', () => {
      downloads.delete(res)
      // Of HEAD Node says so only when it has been answered.
      if (req.method === 'HEAD' && !res.writableEnded) res.emit('close')
    })
    endWhenReset(req.stream)
    listener(req, res, how)
  }
  server.on('request', begin({}))
  server.on('checkContinue', begin({ expectsContinue: true }))
  server.on('checkExpectation', begin({}))
  const sessions = new Set<Session>()
  let isClosing = false
  let arriving: TLSSocket | undefined
  server.on('session', session => {
    if (arriving) connections.set(session, new Http2Connection(arriving, downloads))
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
    session.setLocalWindowSize(connectionWindowBytes)
    closeWhenIdle(session, patience.keepAlive * 1_000)
    if (isClosing) closeGently(session)
  })
  return {
    accept(socket) {
      arriving = socket
      server.emit('connection', socket)
    },
    close() {
      isClosing = true
      for (const session of sessions) closeGently(session)
    },
    destroy() {
      for (const session of sessions) {
        session.destroy()
        // It says so first, if it can.
        setImmediate(() => connections.get(session)?.cut())
      }
    },
  }
}

/** For Node a reset without an error ends nothing while the answer waits for room; but its client has left. */
function endWhenReset(stream: ServerHttp2Stream): void {
  stream.once('aborted', () => {
    if (stream.rstCode === NGHTTP2_NO_ERROR) setImmediate(() => stream.destroy())
  })
}

/** A connection without a stream is closed after a while. */
function closeWhenIdle(session: Session, idleTimeoutMs: number): void {
  let open = 0
  session.on('stream', stream => {
    open++
    stream.once('close', () => {
      // A reset alone is no activity to Node.
      if (--open === 0) session.setTimeout(idleTimeoutMs)
    })
  })
  session.setTimeout(idleTimeoutMs)
  // Given to setTimeout it would be called once, and not again when a stream was open then.
  session.on('timeout', () => open === 0 && session.close())
}

/** Twice, as the RFC advises: requests that crossed the first notice are still served. */
function closeGently(session: Session): void {
  if (session.closed || session.destroyed) return
  session.goaway(NGHTTP2_NO_ERROR, highestStreamId)
  const last = setTimeout(() => session.close(), lastRequestsMs)
  session.once('close', () => clearTimeout(last))
}

/** Host in place of the pseudo-headers, and the crumbs of a cookie together (RFC 9113 §8.2.3, §8.3.1). */
function http1Headers(raw: readonly string[]): string[] {
  const headers: string[] = []
  let authority: string | undefined
  let cookieAt = -1
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string
    const value = raw[i + 1] as string
    if (name === ':authority') {
      authority = value.toLowerCase()
      headers.push('Host', value)
    } else if (name === 'cookie' && cookieAt >= 0) headers[cookieAt + 1] += `; ${value}`
    else if (!name.startsWith(':') && !(name === 'host' && value.toLowerCase() === authority)) {
      if (name === 'cookie') cookieAt = headers.length
      headers.push(name, value)
    }
  }
  return headers
}

/** What only has a meaning on a connection of HTTP/1.1 (RFC 9113 §8.2.2). */
const connectionSpecific = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** @throws for a field that could not stand in a message. */
function http2Headers(headers: readonly string[], fields: string[] = []): string[] {
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    const value = headers[i + 1] as string
    if (connectionSpecific.has(name)) continue
    validateHeaderName(name)
    validateHeaderValue(name, value)
    fields.push(name, value)
  }
  return fields
}

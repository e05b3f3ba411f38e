/**
 * Requests to origins that speak HTTP/2: bodies stream in both directions at once, trailers come through, and breaking
 * off on one side resets the stream on the other. Failures become the same faults as those of HTTP/1.1 origins.
 */

import { STATUS_CODES } from 'node:http'
import { type ClientHttp2Stream, constants } from 'node:http2'
import type { Readable } from 'node:stream'
import type { Application } from '#infra/contracts/application.ts'
import { headerValue, isHopByHop, recordOf } from '#infra/http.ts'
import { destinationOf } from './destination.ts'
import type { Dialer } from './dial.ts'
import { type Http2Connection, Http2Connections, type Waiting } from './http2-connections.ts'
import type { OriginRequest, OriginSink, Origins } from './origin.ts'
import { asOriginError, OriginError } from './origin-error.ts'
import { isRepeatable } from './origin-pool.ts'

const { NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM, NGHTTP2_FLAG_END_STREAM } = constants

/** The same origins, and HTTP/2 for the applications that ask for it. Upgrades are HTTP/1.1's alone. */
export function withHttp2(origins: Origins, dialer: Dialer): Origins {
  const all = new Map<string, Http2Connections>()
  const connectionsOf = (application: Application) => {
    const destination = destinationOf(application)
    let connections = all.get(destination.key)
    if (!connections) {
      connections = new Http2Connections(dialer, destination)
      all.set(destination.key, connections)
    }
    return connections
  }
  return {
    send(application, request, sink) {
      const { originHttpVersion } = application.onPremisesPublishing
      if (originHttpVersion !== 'http2') return origins.send(application, request, sink)
      const sending = new Http2Request(connectionsOf(application), { request, sink })
      sending.start()
      return () => sending.abort()
    },
    upgrade: (application, request, sink) => origins.upgrade(application, request, sink),
    async [Symbol.asyncDispose]() {
      for (const connections of all.values()) connections.destroy()
      await origins[Symbol.asyncDispose]()
    },
  }
}

interface Sending {
  readonly request: OriginRequest
  readonly sink: OriginSink
}

class Http2Request implements Waiting {
  readonly #connections: Http2Connections
  readonly #sending: Sending
  #stream: ClientHttp2Stream | undefined
  #isSendingBody = false
  #triesLeft = 1
  #hasHead = false
  #isOver = false
  #trailers: string[] = []
  #missingBytes = Number.NaN

  constructor(connections: Http2Connections, sending: Sending) {
    this.#connections = connections
    this.#sending = sending
  }

  start(): void {
    this.#connections.take(this)
  }

  abort(): void {
    this.#isOver = true
    this.#leave()
  }

  failed(error: OriginError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#sending.sink.failed(error)
    this.#leave()
  }

  connected(connection: Http2Connection): void {
    if (this.#isOver) return
    const { request } = this.#sending
    try {
      const headers = http2Headers(request, connection.session.encrypted ? 'https' : 'http')
      const stream = connection.session.request(headers, {
        endStream: request.body === null,
        waitForTrailers: isStreaming(request.body),
      })
      stream.on('wantTrailers', () => stream.sendTrailers(trailersOf(request)))
      stream.once('close', connection.enter())
      this.#stream = stream
      this.#follow(stream)
    } catch (cause) {
      return this.failed(new OriginError('bad_request', String(cause), false, { cause }))
    }
    this.#sending.sink.started()
    this.#sendBody(this.#stream, request.body)
  }

  #follow(stream: ClientHttp2Stream): void {
    const { sink } = this.#sending
    let error: Error | undefined
    stream.on('headers', (_headers, _flags, raw) => sink.information(statusOf(raw), fieldsOf(raw)))
    stream.on('response', (_headers, flags, raw) => this.#head(raw, flags))
    stream.on('data', (chunk: Buffer) => this.#data(chunk))
    stream.on('trailers', (_headers, _flags, raw) => {
      this.#trailers = fieldsOf(raw)
    })
    stream.on('end', () => this.#end(stream))
    stream.on('error', cause => {
      error = cause
    })
    stream.on('close', () => this.#broken(stream.rstCode, error))
  }

  #head(raw: readonly string[], flags: number): void {
    if (this.#isOver) return
    const { request, sink } = this.#sending
    const status = statusOf(raw)
    const headers = fieldsOf(raw)
    const isWhole = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
    if (!isWhole && request.method !== 'HEAD')
      this.#missingBytes = Number(headerValue(headers, 'content-length') ?? Number.NaN)
    this.#hasHead = true
    sink.head(status, STATUS_CODES[status] ?? '', headers, {
      pause: () => this.#stream?.pause(),
      resume: () => this.#stream?.resume(),
      abort: () => this.abort(),
    })
  }

  #data(chunk: Buffer): void {
    if (this.#isOver) return
    this.#missingBytes -= chunk.length
    this.#sending.sink.data(chunk)
  }

  #end(stream: ClientHttp2Stream): void {
    if (this.#isOver || !this.#hasHead || stream.rstCode !== 0) return
    // A reset without an error code ends the stream as if the body were complete.
    if (this.#missingBytes > 0) {
      const detail = `the answer ended ${this.#missingBytes} bytes too early`
      return this.failed(new OriginError('origin_unreachable', detail, true))
    }
    this.#isOver = true
    this.#sending.sink.end(this.#trailers)
  }

  /** The stream is gone; unless the answer was complete, for a reason. */
  #broken(rstCode: number, error: Error | undefined): void {
    if (this.#isOver) return
    const { request } = this.#sending
    const isRefused = rstCode === NGHTTP2_REFUSED_STREAM && !isBegun(request.body)
    // Refused streams were never processed (RFC 9113 §8.7); of the others a connection may have ended at that moment.
    if (!this.#hasHead && (isRefused || isRepeatable(request)) && this.#triesLeft-- > 0) {
      if (this.#isSendingBody) (request.body as Readable).pause()
      return this.#connections.take(this)
    }
    const detail = error?.message ?? `stream reset with code ${rstCode}`
    if (protocolErrors.has(rstCode))
      this.failed(new OriginError('origin_protocol_error', detail, true))
    else if (error) this.failed(startedError(error))
    else this.failed(new OriginError('origin_unreachable', detail, true))
  }

  /** A stream that has ended is not over before it was read, and takes its place on the connection until then. */
  #leave(): void {
    this.#stream?.close(NGHTTP2_CANCEL)
    this.#stream?.resume()
  }

  #sendBody(stream: ClientHttp2Stream, body: OriginRequest['body']): void {
    if (body === null || Buffer.isBuffer(body)) {
      if (body) stream.end(body)
      return
    }
    stream.on('drain', () => body.resume())
    if (this.#isSendingBody) return void (body.readableEnded ? stream.end() : body.resume())
    this.#isSendingBody = true
    body.on('data', (chunk: Buffer) => {
      if (!this.#stream?.write(chunk)) body.pause()
    })
    body.once('end', () => this.#stream?.end())
    // Nobody needs the rest: the answer is complete, or the client is gone.
    body.once('close', () => body.readableEnded || this.#stream?.close(NGHTTP2_CANCEL))
  }
}

/** Codes by which the origin says that it did not understand, or wants HTTP/1.1 (RFC 9113 §7). */
const protocolErrors = new Set<number>([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
  constants.NGHTTP2_HTTP_1_1_REQUIRED,
])

/** The connection was there, so the origin may have seen the request. */
function startedError(error: Error): OriginError {
  const { code, message } = asOriginError(error)
  return new OriginError(code, message, true, { cause: error })
}

function isStreaming(body: Buffer | Readable | null): boolean {
  return body !== null && !Buffer.isBuffer(body)
}

/** Without any, the stream ends with an empty frame. */
function trailersOf({ trailers }: OriginRequest): Record<string, string[]> {
  return recordOf(trailers?.() ?? [])
}

function isBegun(body: Buffer | Readable | null): boolean {
  return body !== null && !Buffer.isBuffer(body) && body.readableDidRead
}

function statusOf(raw: readonly string[]): number {
  return Number(raw[raw.indexOf(':status') + 1])
}

function fieldsOf(raw: readonly string[]): string[] {
  const fields: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string
    if (!name.startsWith(':')) fields.push(name, raw[i + 1] as string)
  }
  return fields
}

/** Host becomes `:authority`; of TE only `trailers` may stay (RFC 9113 §8.2.2, §8.3.1). */
function http2Headers({ method, target, headers }: OriginRequest, scheme: string): string[] {
  const authority = headerValue(headers, 'host') ?? ''
  const fields = [':method', method, ':path', target, ':scheme', scheme, ':authority', authority]
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    const value = headers[i + 1] as string
    const isTrailers = name === 'te' && value === 'trailers'
    if (name !== 'host' && (isTrailers || !isHopByHop(name))) fields.push(name, value)
  }
  return fields
}

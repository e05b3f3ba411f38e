/**
 * The HTTP client towards origins: connections kept alive per origin, certificates verified unless the application
 * says otherwise, explicit time-outs. Every failure becomes a fault; whether the origin may have seen the request
 * (`isStarted`) decides what may be sent again.
 */

import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Duplex, Readable } from 'node:stream'
import { type Dispatcher, Pool } from 'undici'
import { type Application, applicationServerTimeoutsMs } from '#infra/contracts/application.ts'
import { type FaultCode, SallyportError } from '#infra/errors.ts'

/** Longest wait for a TCP and TLS connection. */
export const connectTimeoutMs = 10_000

/** An idle connection is kept this long, unless the origin's Keep-Alive header says less. */
export const keepAliveTimeoutMs = 30_000

export interface OriginRequest {
  method: string
  target: string
  headers: string[]
  body: Buffer | Readable | null
}

/** Flow control and end of one response. */
export interface OriginControl {
  pause(): void
  resume(): void
  abort(): void
}

export interface OriginSink {
  information(status: number, headers: string[]): void
  head(status: number, reason: string, headers: string[], control: OriginControl): void
  data(chunk: Buffer): void
  end(trailers: string[]): void
  failed(error: OriginError): void
}

/** A failure towards the origin. */
export class OriginError extends SallyportError {
  /** Whether the origin may have received the request. */
  readonly isStarted: boolean
  constructor(code: FaultCode, detail: string, isStarted: boolean, options?: ErrorOptions) {
    super(code, detail, options)
    this.isStarted = isStarted
  }
}

export interface UpgradeSink {
  /** The origin switched protocols: from here on the socket carries its bytes. */
  upgraded(reason: string, headers: string[], socket: Duplex, first: Buffer): void
  /** The origin answered with an ordinary response. */
  declined(response: IncomingMessage): void
  failed(error: OriginError): void
}

export interface Origins extends AsyncDisposable {
  /** Sends a request; the returned function aborts it at any time. */
  send(application: Application, request: OriginRequest, sink: OriginSink): () => void
  /** Sends a request with an Upgrade header on a connection of its own. */
  upgrade(application: Application, request: OriginRequest, sink: UpgradeSink): () => void
}

export function createOrigins(maxConnections: number): Origins {
  const pools = new Map<string, Pool>()
  /** Found once for each state of an application. */
  const known = new WeakMap<Application, Pool>()
  const poolFor = (application: Application): Pool => {
    let pool = known.get(application)
    if (!pool) {
      pool = poolOf(application)
      known.set(application, pool)
    }
    return pool
  }
  const poolOf = (application: Application): Pool => {
    const { internalUrl, isBackendCertificateValidationEnabled: verifies } =
      application.onPremisesPublishing
    const { origin } = new URL(internalUrl)
    const key = `${verifies} ${origin}`
    let pool = pools.get(key)
    if (!pool) {
      pool = new Pool(origin, {
        connections: maxConnections,
        pipelining: 1,
        keepAliveTimeout: keepAliveTimeoutMs,
        connect: { timeout: connectTimeoutMs, rejectUnauthorized: verifies },
        maxHeaderSize: 64 * 1024,
      })
      pools.set(key, pool)
    }
    return pool
  }
  return {
    send: (application, request, sink) => send(poolFor(application), application, request, sink),
    upgrade,
    async [Symbol.asyncDispose]() {
      await Promise.all([...pools.values()].map(pool => pool.destroy()))
    },
  }
}

function send(
  pool: Pool,
  application: Application,
  request: OriginRequest,
  sink: OriginSink,
): () => void {
  const timeoutMs =
    applicationServerTimeoutsMs[application.onPremisesPublishing.applicationServerTimeout]
  let controller: Dispatcher.DispatchController | undefined
  let isAborted = false
  let hasHead = false
  let triesLeft = isRepeatable(request) ? 1 : 0
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      controller = started
      if (isAborted) started.abort(new Error('aborted'))
    },
    onResponseStart(started, status, _headers, reason) {
      if (status < 100) {
        const detail = `status ${status}`
        return started.abort(new OriginError('origin_protocol_error', detail, true))
      }
      const headers = rawHeadersOf(started)
      if (status < 200) {
        sink.information(status, headers)
        return
      }
      hasHead = true
      sink.head(status, reason ?? '', headers, {
        pause: () => started.pause(),
        resume: () => started.resume(),
        abort,
      })
    },
    onResponseData: (_controller, chunk) => sink.data(chunk),
    onResponseEnd(_controller, trailers) {
      sink.end(Object.entries(trailers).flatMap(([name, value]) => [name, String(value)]))
    },
    onResponseError(_controller, error) {
      if (isAborted) return
      // A kept connection that the origin closed at the same moment: nothing was answered, nothing can be harmed.
      if (!hasHead && triesLeft-- > 0 && isConnectionClosed(error)) return dispatch()
      sink.failed(asOriginError(error))
    },
  }
  const abort = () => {
    isAborted = true
    controller?.abort(new Error('aborted'))
  }
  const dispatch = () => {
    pool.dispatch(
      {
        path: request.target,
        method: request.method as Dispatcher.HttpMethod,
        headers: request.headers,
        body: request.body,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      },
      handler,
    )
  }
  dispatch()
  return abort
}

/** May be sent again when the connection was closed at the same moment: nothing can be harmed. */
export function isRepeatable({ method, body }: OriginRequest): boolean {
  return body === null && (method === 'GET' || method === 'HEAD' || method === 'OPTIONS')
}

function isConnectionClosed(error: Error): boolean {
  const code = codeOf(error)
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE'
}

function rawHeadersOf(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders as readonly (Buffer | string)[] | null | undefined
  return raw ? raw.map(item => (typeof item === 'string' ? item : item.toString('latin1'))) : []
}

function upgrade(application: Application, request: OriginRequest, sink: UpgradeSink): () => void {
  const { internalUrl, isBackendCertificateValidationEnabled, applicationServerTimeout } =
    application.onPremisesPublishing
  const url = new URL(internalUrl)
  const timeoutMs = applicationServerTimeoutsMs[applicationServerTimeout]
  let isConnected = false
  let isAnswered = false
  const start = url.protocol === 'https:' ? httpsRequest : httpRequest
  const outgoing = start({
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port || (url.protocol === 'https:' ? 443 : 80),
    method: request.method,
    path: request.target,
    headers: request.headers,
    setHost: false,
    agent: false,
    rejectUnauthorized: isBackendCertificateValidationEnabled,
    timeout: timeoutMs,
  })
  outgoing.on('socket', socket =>
    socket.once('connect', () => {
      isConnected = true
    }),
  )
  outgoing.on('upgrade', (response, socket, first) => {
    isAnswered = true
    socket.setTimeout(0)
    sink.upgraded(response.statusMessage ?? '', response.rawHeaders, socket, first)
  })
  outgoing.on('response', response => {
    isAnswered = true
    sink.declined(response)
  })
  outgoing.on('timeout', () =>
    outgoing.destroy(new OriginError('origin_timeout', 'no answer to the upgrade', true)),
  )
  outgoing.on('error', error => {
    if (isAnswered) return
    const failure = asOriginError(error)
    sink.failed(isConnected ? failure : new OriginError(failure.code, failure.message, false))
  })
  outgoing.end(request.body instanceof Buffer ? request.body : undefined)
  return () => outgoing.destroy()
}

/** What the client library reports, as fault and as the answer to "may the origin have seen it?". */
export function asOriginError(error: Error): OriginError {
  if (error instanceof OriginError) return error
  const code = codeOf(error)
  const detail = code ? `${code}: ${error.message}` : error.message
  const fail = (fault: FaultCode, isStarted: boolean) =>
    new OriginError(fault, detail, isStarted, { cause: error })
  if (unreachable.has(code)) return fail('origin_unreachable', false)
  if (/^(CERT_|ERR_TLS_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH)/.test(code)) {
    return fail('origin_certificate_invalid', false)
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') {
    return fail('origin_timeout', true)
  }
  return fail(isProtocolError(error, code) ? 'origin_protocol_error' : 'origin_unreachable', true)
}

/** Not every one of the client library's parser errors has a code. */
function isProtocolError(error: Error, code: string): boolean {
  return (
    error.name === 'HTTPParserError' ||
    code.startsWith('HPE_') ||
    code === 'EPROTO' ||
    code.startsWith('ERR_SSL_') ||
    code === 'ERR_HTTP2_ERROR' ||
    code === 'UND_ERR_HEADERS_OVERFLOW' ||
    code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' ||
    /bad (response|upgrade)/.test(error.message)
  )
}

const unreachable = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'ETIMEDOUT',
])

function codeOf(error: Error): string {
  const own = (error as NodeJS.ErrnoException).code
  if (typeof own === 'string') return own
  if (error instanceof AggregateError && error.errors[0] instanceof Error)
    return codeOf(error.errors[0])
  return error.cause instanceof Error ? codeOf(error.cause) : ''
}

/**
 * A request to an origin by the client library: on a connection of the destination's pool, or on one that it is given
 * with the request sent already, whose answer it is to read (plain/).
 */

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Client, type Dispatcher, Pool } from 'undici'
import type { Application } from '#infra/contracts/application.ts'
import { headerValue } from '#infra/http.ts'
import { type Destination, destinationOf } from './destination.ts'
import type { Dialer } from './dial.ts'
import type { OriginRequest, OriginSink } from './origin.ts'
import { sendAlone } from './origin-alone.ts'
import { asOriginError, codeOf, OriginError } from './origin-error.ts'
import { maxAnswerHeadBytes } from './own-connection.ts'

/** An idle connection is kept this long, unless the origin's Keep-Alive header says otherwise. */
export const keepAliveTimeoutMs = 30_000

/** Where the requests of an application go. */
export interface Target {
  readonly application: Application
  readonly dialer: Dialer
  readonly pool: Pool
  /** What the library would otherwise make of the Host header, and part connections by. */
  readonly servername: string
  /** It has sent "100 Continue" without being asked (RFC 9110 §15.2.1 has clients ignore that; the pool's fails). */
  isTalkative: boolean
}

export interface PoolOptions {
  readonly dialer: Dialer
  readonly connections: number
  readonly keepAliveTimeout: number
}

/** As of the connections of a pool, so of the one that is given. */
const common = {
  pipelining: 1,
  // Silence is the exchange's business (silence.ts), which knows who waits for whom.
  headersTimeout: 0,
  bodyTimeout: 0,
  maxHeaderSize: maxAnswerHeadBytes,
} as const

const http1 = { protocols: ['http/1.1'] }

export function openPool(destination: Destination, { dialer, ...options }: PoolOptions): Pool {
  return new Pool(destination.origin, {
    ...options,
    ...common,
    connect: (_, callback) => {
      dialer.dial(destination, http1, {
        connected: socket => callback(null, socket),
        failed: error => callback(error, null),
      })
    },
  })
}

export interface SendOptions {
  /** A connection on which the request has been sent: what is written of it goes no further, then its answer is read. */
  readonly given?: Duplex | undefined
  /** Left out, whether the request is repeatable. */
  readonly mayRepeat?: boolean
}

/** As `Origins.send`. */
export function send(
  target: Target,
  { request, sink }: { readonly request: OriginRequest; readonly sink: OriginSink },
  { given, mayRepeat = isRepeatable(request) }: SendOptions = {},
): () => void {
  const { pool, servername } = target
  let controller: Dispatcher.DispatchController | undefined
  let abortAlone: (() => void) | undefined
  let isAborted = false
  let hasHead = false
  /** As the origin told it. */
  let length: string | undefined
  let receivedBytes = 0
  let triesLeft = mayRepeat ? 1 : 0
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      controller = started
      if (isAborted) started.abort(new Error('aborted'))
      else sink.started()
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
      length = headerValue(headers, 'content-length')
      sink.head(status, octets(reason), headers, {
        pause: () => started.pause(),
        resume: () => started.resume(),
        abort,
      })
    },
    onResponseData(_controller, chunk) {
      receivedBytes += chunk.length
      sink.data(chunk)
    },
    onResponseEnd(_controller, trailers) {
      sink.end(Object.entries(trailers).flatMap(([name, value]) => [name, String(value)]))
    },
    onResponseError(_controller, error) {
      if (isAborted) return
      if (!hasHead && isUnaskedContinue(error)) {
        target.isTalkative = true
        if (mayRepeat) {
          abortAlone = sendAlone(target.dialer, target.application, request, sink)
          return
        }
      }
      // A kept connection that the origin closed at the same moment: nothing was answered, nothing can be harmed.
      if (!hasHead && triesLeft-- > 0 && isConnectionClosed(error)) return dispatch(pool)
      // The library takes space behind a length for a digit of it, and finds the body too short at its end.
      if (length !== undefined && isLengthMismatch(error) && receivedBytes === Number(length))
        return sink.end([])
      sink.failed(asOriginError(error))
    },
  }
  const abort = () => {
    isAborted = true
    controller?.abort(new Error('aborted'))
    abortAlone?.()
  }
  const dispatch = (dispatcher: Dispatcher) => {
    dispatcher.dispatch(
      {
        path: request.target,
        method: request.method as Dispatcher.HttpMethod,
        headers: request.headers,
        body: request.body,
        servername,
        ...(dispatcher !== pool && { reset: true }),
      } as Dispatcher.DispatchOptions,
      handler,
    )
  }
  dispatch(given ? clientOf(target, given) : pool)
  return abort
}

/** For one request. */
function clientOf({ application }: Target, given: Duplex): Client {
  let isGiven = false
  return new Client(destinationOf(application).origin, {
    ...common,
    connect: (_, callback) => {
      const gone = () => new OriginError('origin_unreachable', 'closed', true)
      if (isGiven) return callback(given.errored ?? gone(), null)
      isGiven = true
      // The library does not expect it at once. It takes any stream.
      queueMicrotask(() => callback(null, given as Socket))
    },
  })
}

/** May be sent again when the connection was closed at the same moment: nothing can be harmed. */
export function isRepeatable({ method, body }: OriginRequest): boolean {
  return body === null && (method === 'GET' || method === 'HEAD' || method === 'OPTIONS')
}

function isUnaskedContinue({ message }: Error): boolean {
  return message === 'bad response'
}

/** A reason phrase as the octets that it was (RFC 9112 §4); the client library takes it for UTF-8. */
function octets(reason: string | undefined): string {
  if (reason === undefined || /^[\t -~]*$/.test(reason)) return reason ?? ''
  return reason.includes('\ufffd') ? '' : Buffer.from(reason).toString('latin1')
}

function isLengthMismatch(error: Error): boolean {
  return codeOf(error) === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'
}

/** Before anything was answered it may have been closed at the moment when the request was sent. */
export function isConnectionClosed(error: Error): boolean {
  const code = codeOf(error)
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE'
}

function rawHeadersOf(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders as readonly (Buffer | string)[] | null | undefined
  return raw ? raw.map(item => (typeof item === 'string' ? item : item.toString('latin1'))) : []
}

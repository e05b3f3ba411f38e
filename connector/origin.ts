/**
 * The HTTP client towards origins: connections kept alive per origin, certificates verified unless the application
 * says otherwise, explicit time-outs.
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import { type Dispatcher, Pool } from 'undici'
import { type Application, originTimeoutsMs } from '#infra/contracts/application.ts'
import type { RequestHead } from '#infra/request-head.ts'
import { sendAlone } from './origin-alone.ts'
import { asOriginError, codeOf, OriginError } from './origin-error.ts'
import { upgrade } from './origin-upgrade.ts'

/** An idle connection is kept this long, unless the origin's Keep-Alive header says less. */
export const keepAliveTimeoutMs = 30_000

export interface OriginRequest {
  method: string
  target: string
  headers: string[]
  body: Buffer | Readable | null
  /** What follows a streaming body, once it has ended. */
  trailers?: () => readonly string[]
  /** The connection carries more than this request (raw-connection.ts). */
  raw?: RawRequest
}

export interface RawRequest {
  /** The request as the gateway sent it: what else comes on the connection must be of its kind. */
  asked: RequestHead
  /** Makes what the origin gets of a further head. Throws for what must not be passed on. */
  translate: (head: RequestHead) => RequestHead
}

/** Flow control and end of one response. */
export interface OriginControl {
  pause(): void
  resume(): void
  abort(): void
}

export interface OriginSink {
  /** There is a connection, and the request is on its way. */
  started(): void
  information(status: number, headers: string[]): void
  head(status: number, reason: string, headers: string[], control: OriginControl): void
  data(chunk: Buffer): void
  end(trailers: string[]): void
  failed(error: OriginError): void
}

export interface UpgradeSink {
  started(): void
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

/** Where the requests of an application go. */
interface Target {
  readonly application: Application
  readonly pool: Pool
  /** It has sent "100 Continue" without being asked (RFC 9110 §15.2.1 has clients ignore that; the pool's fails). */
  isTalkative: boolean
}

export function createOrigins(maxConnections: number): Origins {
  const pools = new Map<string, Pool>()
  /** Found once for each state of an application. */
  const known = new WeakMap<Application, Target>()
  const targetFor = (application: Application): Target => {
    let target = known.get(application)
    if (!target) {
      target = { application, pool: poolOf(application), isTalkative: false }
      known.set(application, target)
    }
    return target
  }
  const poolOf = (application: Application): Pool => {
    const { internalUrl, isBackendCertificateValidationEnabled: verifies } =
      application.onPremisesPublishing
    const { origin } = new URL(internalUrl)
    const { connect: timeout } = originTimeoutsMs(application.onPremisesPublishing)
    const key = `${verifies} ${timeout} ${origin}`
    let pool = pools.get(key)
    if (!pool) {
      pool = new Pool(origin, {
        connections: maxConnections,
        pipelining: 1,
        keepAliveTimeout: keepAliveTimeoutMs,
        connect: { timeout, rejectUnauthorized: verifies },
        // Silence is the exchange's business (silence.ts), which knows who waits for whom.
        headersTimeout: 0,
        bodyTimeout: 0,
        maxHeaderSize: 64 * 1024,
      })
      pools.set(key, pool)
    }
    return pool
  }
  return {
    send(application, request, sink) {
      const target = targetFor(application)
      if (target.isTalkative) return sendAlone(application, request, sink)
      return send(target, request, sink)
    },
    upgrade,
    async [Symbol.asyncDispose]() {
      await Promise.all([...pools.values()].map(pool => pool.destroy()))
    },
  }
}

function send(target: Target, request: OriginRequest, sink: OriginSink): () => void {
  const { pool } = target
  let controller: Dispatcher.DispatchController | undefined
  let abortAlone: (() => void) | undefined
  let isAborted = false
  let hasHead = false
  let triesLeft = isRepeatable(request) ? 1 : 0
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
      sink.head(status, octets(reason), headers, {
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
      if (!hasHead && isUnaskedContinue(error)) {
        target.isTalkative = true
        if (isRepeatable(request)) {
          abortAlone = sendAlone(target.application, request, sink)
          return
        }
      }
      // A kept connection that the origin closed at the same moment: nothing was answered, nothing can be harmed.
      if (!hasHead && triesLeft-- > 0 && isConnectionClosed(error)) return dispatch()
      sink.failed(asOriginError(error))
    },
  }
  const abort = () => {
    isAborted = true
    controller?.abort(new Error('aborted'))
    abortAlone?.()
  }
  const dispatch = () => {
    pool.dispatch(
      {
        path: request.target,
        method: request.method as Dispatcher.HttpMethod,
        headers: request.headers,
        body: request.body,
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

function isUnaskedContinue({ message }: Error): boolean {
  return message === 'bad response'
}

/** A reason phrase as the octets that it was (RFC 9112 §4); the client library takes it for UTF-8. */
function octets(reason: string | undefined): string {
  if (reason === undefined || /^[\t -~]*$/.test(reason)) return reason ?? ''
  return reason.includes('\ufffd') ? '' : Buffer.from(reason).toString('latin1')
}

function isConnectionClosed(error: Error): boolean {
  const code = codeOf(error)
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE'
}

function rawHeadersOf(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders as readonly (Buffer | string)[] | null | undefined
  return raw ? raw.map(item => (typeof item === 'string' ? item : item.toString('latin1'))) : []
}

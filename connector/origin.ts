/**
 * The HTTP client towards origins: connections kept alive for each destination. They are made in one place (dial.ts), which
 * judges addresses and certificates.
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import { LRUCache } from 'lru-cache'
import { type Dispatcher, Pool } from 'undici'
import type { Application } from '#infra/contracts/application.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { headerValue } from '#infra/http.ts'
import type { RequestHead } from '#infra/request-head.ts'
import { type Destination, destinationOf } from './destination.ts'
import type { Dialer } from './dial.ts'
import { sendAlone } from './origin-alone.ts'
import { asOriginError, codeOf, OriginError } from './origin-error.ts'
import { upgrade } from './origin-upgrade.ts'
import { maxAnswerHeadBytes } from './own-connection.ts'

/** An idle connection is kept this long, unless the origin's Keep-Alive header says less. */
export const keepAliveTimeoutMs = 30_000

/** The same where each user has connections of their own, and how many of them are kept in mind. */
const ownedKeepAliveTimeoutMs = 10_000
const maxOwners = 2_000

export interface OriginRequest {
  method: string
  target: string
  headers: string[]
  body: Buffer | Readable | null
  /** What follows a streaming body, once it has ended. */
  trailers?: () => readonly string[]
  /** The connection carries more than this request (raw-connection.ts). */
  raw?: RawRequest
  /** Whose request it is, for sign-on. */
  claims?: LeaseClaims
  /** Only requests of the same owner share a connection with it; left out, all of the application's do. */
  connectionOwner?: string
}

export interface RawRequest {
  /** The request as the gateway sent it: what else comes on the connection must be of its kind. */
  asked: RequestHead
  /** Makes what the origin gets of a further head. Throws for what must not be passed on. */
  translate: (head: RequestHead) => RequestHead
  /** The origin begins an answer. What comes with it says so as well, but only here is it told apart. */
  answered: (status: number) => void
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
  information(status: number, headers: string[]): void
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
  readonly dialer: Dialer
  readonly pool: Pool
  /** What the library would otherwise make of the Host header, and part connections by. */
  readonly servername: string
  /** It has sent "100 Continue" without being asked (RFC 9110 §15.2.1 has clients ignore that; the pool's fails). */
  isTalkative: boolean
}

export function createOrigins(maxConnections: number, dialer: Dialer): Origins {
  const pools = new Map<string, Pool>()
  /** Found once for each state of an application. */
  const known = new WeakMap<Application, Target>()
  const targetFor = (application: Application): Target => {
    let target = known.get(application)
    if (!target) {
      const destination = destinationOf(application)
      const pool = poolOf(destination)
      target = { application, dialer, pool, servername: destination.host, isTalkative: false }
      known.set(application, target)
    }
    return target
  }
  const poolOf = (destination: Destination): Pool => {
    const { key } = destination
    let pool = pools.get(key)
    if (!pool) {
      pool = openPool(destination, keepAliveTimeoutMs)
      pools.set(key, pool)
    }
    return pool
  }
  const openPool = (destination: Destination, keepAliveTimeout: number) =>
    new Pool(destination.origin, {
      connections: maxConnections,
      pipelining: 1,
      keepAliveTimeout,
      connect: (_, callback) => {
        dialer.dial(destination, http1, {
          connected: socket => callback(null, socket),
          failed: error => callback(error, null),
        })
      },
      // Silence is the exchange's business (silence.ts), which knows who waits for whom.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: maxAnswerHeadBytes,
    })
  const owned = new OwnedTargets(destination => openPool(destination, ownedKeepAliveTimeoutMs))
  return {
    send(application, request, sink) {
      const { connectionOwner: owner } = request
      const target =
        owner === undefined ? targetFor(application) : owned.targetFor(owner, application, dialer)
      if (target.isTalkative) return sendAlone(dialer, application, request, sink)
      return send(target, request, sink)
    },
    upgrade: (application, request, sink) => upgrade(dialer, application, request, sink),
    async [Symbol.asyncDispose]() {
      const all = [...pools.values(), ...owned.pools()]
      await Promise.all(all.map(pool => pool.destroy()))
    },
  }
}

const http1 = { protocols: ['http/1.1'] }

/** Connections that one user has for themselves: whoever is on it may be what the origin goes by. */
class OwnedTargets {
  readonly #open: (destination: Destination) => Pool
  /** Who is left out comes back with a new pool. */
  readonly #targets = new LRUCache<string, Target>({
    max: maxOwners,
    dispose: ({ pool }) => void pool.close().catch(() => undefined),
  })

  constructor(open: (destination: Destination) => Pool) {
    this.#open = open
  }

  targetFor(owner: string, application: Application, dialer: Dialer): Target {
    const destination = destinationOf(application)
    const key = `${owner}\n${destination.key}`
    let target = this.#targets.get(key)
    if (!target) {
      const pool = this.#open(destination)
      target = { application, dialer, pool, servername: destination.host, isTalkative: false }
      this.#targets.set(key, target)
    }
    return target
  }

  pools(): Pool[] {
    return [...this.#targets.values()].map(({ pool }) => pool)
  }
}

function send(target: Target, request: OriginRequest, sink: OriginSink): () => void {
  const { pool, servername } = target
  let controller: Dispatcher.DispatchController | undefined
  let abortAlone: (() => void) | undefined
  let isAborted = false
  let hasHead = false
  /** As the origin told it. */
  let length: string | undefined
  let receivedBytes = 0
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
        if (isRepeatable(request)) {
          abortAlone = sendAlone(target.dialer, target.application, request, sink)
          return
        }
      }
      // A kept connection that the origin closed at the same moment: nothing was answered, nothing can be harmed.
      if (!hasHead && triesLeft-- > 0 && isConnectionClosed(error)) return dispatch()
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
  const dispatch = () => {
    pool.dispatch(
      {
        path: request.target,
        method: request.method as Dispatcher.HttpMethod,
        headers: request.headers,
        body: request.body,
        servername,
      } as Dispatcher.DispatchOptions,
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

function isLengthMismatch(error: Error): boolean {
  return codeOf(error) === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'
}

function isConnectionClosed(error: Error): boolean {
  const code = codeOf(error)
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE'
}

function rawHeadersOf(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders as readonly (Buffer | string)[] | null | undefined
  return raw ? raw.map(item => (typeof item === 'string' ? item : item.toString('latin1'))) : []
}

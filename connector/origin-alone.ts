/**
 * Requests to origins of HTTP/1.1 by Node's own client, each over a connection of its own: those that announce trailers
 * behind their body, which the client library of the others cannot send (RFC 9112 §7.1.2), and those to origins that
 * say what that library does not bear.
 */

import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Readable } from 'node:stream'
import { type Application, originTimeoutsMs } from '#infra/contracts/application.ts'
import { headerValue } from '#infra/http.ts'
import {
  asOriginError,
  connectTimeoutDetail,
  OriginError,
  type OriginRequest,
  type OriginSink,
  type Origins,
} from './origin.ts'

/** The same origins; a body that announces trailers keeps them. */
export function withTrailers(origins: Origins): Origins {
  return {
    send(application, request, sink) {
      const isAnnounced = isStream(request.body) && headerValue(request.headers, 'trailer')
      if (!isAnnounced) return origins.send(application, request, sink)
      return sendAlone(application, request, sink)
    },
    upgrade: (application, request, sink) => origins.upgrade(application, request, sink),
    [Symbol.asyncDispose]: () => origins[Symbol.asyncDispose](),
  }
}

function isStream(body: OriginRequest['body']): body is Readable {
  return body !== null && !Buffer.isBuffer(body)
}

/** As `Origins.send`. */
export function sendAlone(
  { onPremisesPublishing }: Application,
  request: OriginRequest,
  sink: OriginSink,
): () => void {
  const { internalUrl, isBackendCertificateValidationEnabled } = onPremisesPublishing
  const timeoutMs = originTimeoutsMs(onPremisesPublishing).connect
  const url = new URL(internalUrl)
  const isSecure = url.protocol === 'https:'
  const start = isSecure ? httpsRequest : httpRequest
  const outgoing = start({
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port || (isSecure ? 443 : 80),
    method: request.method,
    path: request.target,
    headers: framed(request),
    setHost: false,
    agent: false,
    rejectUnauthorized: isBackendCertificateValidationEnabled,
    timeout: timeoutMs,
  })
  let isConnected = false
  outgoing.on('socket', socket =>
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      isConnected = true
      socket.setTimeout(0)
      sink.started()
      sendBody(outgoing, request)
    }),
  )
  outgoing.on('timeout', () =>
    outgoing.destroy(new OriginError('origin_unreachable', connectTimeoutDetail(timeoutMs), false)),
  )
  outgoing.on('error', error => {
    const { code, message } = asOriginError(error)
    sink.failed(new OriginError(code, message, isConnected, { cause: error }))
  })
  outgoing.on('information', ({ statusCode, rawHeaders }) =>
    sink.information(statusCode, rawHeaders),
  )
  outgoing.on('response', response => follow(response, sink))
  outgoing.on('upgrade', (_response, socket) => {
    socket.on('error', () => undefined).destroy()
    sink.failed(new OriginError('origin_protocol_error', 'an unasked 101', true))
  })
  return () => outgoing.destroy()
}

/** Trailers need chunks, whatever length the client had told; what has no length has none with chunks either. */
function framed({ body, headers, method }: OriginRequest): string[] {
  const length = headerValue(headers, 'content-length')
  if (isStream(body) && (length === undefined || headerValue(headers, 'trailer') !== undefined)) {
    const kept = headers.filter((_, i) => headers[i & ~1]?.toLowerCase() !== 'content-length')
    return [...kept, 'Transfer-Encoding', 'chunked']
  }
  // Of a POST without a length Node's client would make chunks.
  const isUsual = method === 'GET' || method === 'HEAD' || length !== undefined
  return isUsual ? headers : [...headers, 'Content-Length', '0']
}

function sendBody(outgoing: ClientRequest, { body, trailers, headers }: OriginRequest): void {
  if (!isStream(body)) return void (body === null ? outgoing.end() : outgoing.end(body))
  outgoing.on('drain', () => body.resume())
  body.on('data', (chunk: Buffer) => {
    if (!outgoing.write(chunk)) body.pause()
  })
  body.once('end', () => {
    if (headerValue(headers, 'trailer')) outgoing.addTrailers(pairsOf(trailers?.() ?? []))
    outgoing.end()
  })
  // Nobody needs the rest: the answer is complete, or the client is gone.
  body.once('close', () => body.readableEnded || outgoing.destroy())
}

function follow(response: IncomingMessage, sink: OriginSink): void {
  sink.head(response.statusCode ?? 502, response.statusMessage ?? '', response.rawHeaders, {
    pause: () => response.pause(),
    resume: () => response.resume(),
    abort: () => response.destroy(),
  })
  response.on('data', (chunk: Buffer) => sink.data(chunk))
  response.on('end', () => sink.end(response.rawTrailers))
  response.on('error', error => sink.failed(asOriginError(error)))
}

function pairsOf(list: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i < list.length; i += 2) pairs.push([list[i] as string, list[i + 1] as string])
  return pairs
}

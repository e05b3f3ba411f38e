/**
 * Requests to origins of HTTP/1.1 by Node's own client, each over a connection of its own: those that announce trailers
 * behind their body, which the client library of the others cannot send (RFC 9112 §7.1.2), and those to origins that
 * say what that library does not bear.
 */

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import type { Application } from '#infra/contracts/application.ts'
import { headerValue, pairsOf } from '#infra/http.ts'
import type { Dialer } from './dial.ts'
import type { OriginRequest, OriginSink, Origins } from './origin.ts'
import { OriginError } from './origin-error.ts'
import { passOn, requestAlone } from './own-connection.ts'

/** The same origins; a body that announces trailers keeps them. */
export function withTrailers(origins: Origins, dialer: Dialer): Origins {
  return {
    send(application, request, sink) {
      const isAnnounced = isStream(request.body) && headerValue(request.headers, 'trailer')
      if (!isAnnounced) return origins.send(application, request, sink)
      return sendAlone(dialer, application, request, sink)
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
  dialer: Dialer,
  application: Application,
  request: OriginRequest,
  sink: OriginSink,
): () => void {
  let answer: IncomingMessage | undefined
  const outgoing = requestAlone(
    { dialer, application },
    { ...request, headers: framed(request) },
    {
      connected() {
        sink.started()
        sendBody(outgoing, request)
      },
      // What could not be read behind a whole answer is no part of it (RFC 9112 §6.3).
      failed: error => answer?.complete || sink.failed(error),
    },
  )
  outgoing.on('information', ({ statusCode, rawHeaders }) =>
    sink.information(statusCode, rawHeaders),
  )
  outgoing.on('response', response => {
    answer = response
    passOn(response, sink)
  })
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

/**
 * A request by Node's own client over a connection of its own, for what the pool's library cannot do: upgrades, trailers,
 * and origins that say what it does not bear.
 */

import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Application } from '#infra/contracts/application.ts'
import { withLengthLast } from '#infra/http.ts'
import { destinationOf } from './destination.ts'
import type { Dialer } from './dial.ts'
import type { OriginRequest, OriginSink } from './origin.ts'
import { asOriginError, OriginError } from './origin-error.ts'

export interface OwnConnectionSink {
  /** There is a connection: from here on the origin may see the request. */
  connected(): void
  failed(error: OriginError): void
}

/** Of an answer, whichever client asks. */
export const maxAnswerHeadBytes = 64 * 1024

/** A protocol may let one side go on when the other has said all. */
const dialOptions = { protocols: ['http/1.1'], allowHalfOpen: true }

/** Answers the request, of which the caller still has to send the body. */
export function requestAlone(
  { dialer, application }: { dialer: Dialer; application: Application },
  { method, target, headers }: Pick<OriginRequest, 'method' | 'target' | 'headers'>,
  sink: OwnConnectionSink,
): ClientRequest {
  let isConnected = false
  let giveUp: (() => void) | undefined
  const outgoing = httpRequest({
    method,
    path: target,
    headers: withLengthLast(headers),
    setHost: false,
    maxHeaderSize: maxAnswerHeadBytes,
    // TLS, where there is any, is there already: for the client it is a connection like any other.
    createConnection(_options, created) {
      giveUp = dialer.dial(destinationOf(application), dialOptions, {
        connected(socket) {
          isConnected = true
          created(null, socket)
          sink.connected()
        },
        failed: error => created(error, undefined as never),
      })
      return undefined
    },
  })
  outgoing.once('close', () => giveUp?.())
  outgoing.on('error', error => {
    const { code, message } = asOriginError(error)
    sink.failed(new OriginError(code, message, isConnected, { cause: error }))
  })
  return outgoing
}

/** Gives an ordinary answer to such a request to whoever waits for it. */
export function passOn(response: IncomingMessage, sink: OriginSink): void {
  const { statusCode: status = 0 } = response
  // A 101 too that does not say to what it switches; the others come another way.
  if (status < 200) {
    response.destroy()
    return sink.failed(new OriginError('origin_protocol_error', `status ${status}`, true))
  }
  sink.head(status, response.statusMessage ?? '', response.rawHeaders, {
    pause: () => response.pause(),
    resume: () => response.resume(),
    abort: () => response.destroy(),
  })
  response.on('data', (chunk: Buffer) => sink.data(chunk))
  response.on('end', () => sink.end(response.rawTrailers))
  response.on('error', error => sink.failed(asOriginError(error)))
}

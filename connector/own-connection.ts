/**
 * A request by Node's own client over a connection of its own, for what the pool's library cannot do: upgrades, trailers,
 * and origins that say what it does not bear.
 */

import { type ClientRequest, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { type Application, originTimeoutsMs } from '#infra/contracts/application.ts'
import type { OriginRequest } from './origin.ts'
import { asOriginError, connectTimeoutDetail, OriginError } from './origin-error.ts'

/** How long a connection may be silent before TCP itself asks whether the other side is still there. */
export const tcpKeepAliveMs = 30_000

export interface OwnConnectionSink {
  /** There is a connection: from here on the origin may see the request. */
  connected(): void
  failed(error: OriginError): void
}

/** Where an internal URL leads, as Node's clients want it. */
export function addressOf(internalUrl: string): { host: string; port: number; isSecure: boolean } {
  const { protocol, hostname, port } = new URL(internalUrl)
  const isSecure = protocol === 'https:'
  const host = hostname.replace(/^\[|\]$/g, '')
  return { host, port: Number(port || (isSecure ? 443 : 80)), isSecure }
}

/** Answers the request, of which the caller still has to send the body. */
export function requestAlone(
  { onPremisesPublishing }: Application,
  { method, target, headers }: Pick<OriginRequest, 'method' | 'target' | 'headers'>,
  sink: OwnConnectionSink,
): ClientRequest {
  const { internalUrl, isBackendCertificateValidationEnabled } = onPremisesPublishing
  const timeoutMs = originTimeoutsMs(onPremisesPublishing).connect
  const { host, port, isSecure } = addressOf(internalUrl)
  const outgoing = (isSecure ? httpsRequest : httpRequest)({
    host,
    port,
    method,
    path: target,
    headers,
    ...halfOpen,
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
      // Nothing may be said for hours: what has vanished without a word is found, and no firewall forgets the connection.
      socket.setKeepAlive(true, tcpKeepAliveMs)
      sink.connected()
    }),
  )
  outgoing.on('timeout', () =>
    outgoing.destroy(new OriginError('origin_unreachable', connectTimeoutDetail(timeoutMs), false)),
  )
  outgoing.on('error', error => {
    const { code, message } = asOriginError(error)
    sink.failed(new OriginError(code, message, isConnected, { cause: error }))
  })
  return outgoing
}

/** A protocol may let one side go on when the other has said all. Goes to the socket; the types do not say so. */
const halfOpen: object = { allowHalfOpen: true }

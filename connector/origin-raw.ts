/**
 * Connections to origins that carry a client's connection as bytes (raw-connection.ts): one of its own for each client,
 * never shared, never kept.
 */

import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Application, originTimeoutsMs } from '#infra/contracts/application.ts'
import type { OriginRequest, Origins, UpgradeSink } from './origin.ts'
import { asOriginError, connectTimeoutDetail, OriginError } from './origin-error.ts'
import { addressOf, tcpKeepAliveMs } from './own-connection.ts'
import { RawConnection } from './raw-connection.ts'

/** The same origins; upgrades that ask for a raw connection get one. */
export function withRaw(origins: Origins): Origins {
  return {
    send: (application, request, sink) => origins.send(application, request, sink),
    upgrade: (application, request, sink) =>
      request.raw
        ? connectRaw(application, request, sink)
        : origins.upgrade(application, request, sink),
    [Symbol.asyncDispose]: () => origins[Symbol.asyncDispose](),
  }
}

function connectRaw(
  { onPremisesPublishing }: Application,
  { raw, method, target, headers }: OriginRequest,
  sink: UpgradeSink,
): () => void {
  const { internalUrl, isBackendCertificateValidationEnabled } = onPremisesPublishing
  const { connect, firstByte } = originTimeoutsMs(onPremisesPublishing)
  const socket = dial(internalUrl, isBackendCertificateValidationEnabled)
  socket.setTimeout(connect, () =>
    socket.destroy(new OriginError('origin_unreachable', connectTimeoutDetail(connect), false)),
  )
  const failed = (error: Error) => {
    const { code, message } = asOriginError(error)
    sink.failed(new OriginError(code, message, false, { cause: error }))
  }
  socket.once('error', failed)
  socket.once('encrypted' in socket ? 'secureConnect' : 'connect', () => {
    socket.off('error', failed).setTimeout(0)
    socket.setNoDelay(true).setKeepAlive(true, tcpKeepAliveMs)
    sink.started()
    if (!raw) return
    const first = { method, target, headers }
    const connection = new RawConnection({ ...raw, socket, first, firstByteMs: firstByte })
    sink.upgraded('', [], connection, Buffer.alloc(0))
  })
  return () => socket.destroy()
}

function dial(internalUrl: string, verifiesCertificate: boolean): Socket {
  const { host, port, isSecure } = addressOf(internalUrl)
  if (!isSecure) return connectTcp({ host, port, allowHalfOpen: true })
  const isAddress = /^[\d.]+$|:/.test(host)
  return connectTls({
    host,
    port,
    rejectUnauthorized: verifiesCertificate,
    ...(!isAddress && { servername: host }),
  })
}

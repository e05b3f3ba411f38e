/**
 * Connections to origins that carry a client's connection as bytes (raw-connection.ts): one of its own for each client,
 * never shared, never kept. Those that name the same connection go to the same one of several servers.
 */

import { type Application, originTimeoutsMs } from '#infra/contracts/application.ts'
import { headerValue } from '#infra/http.ts'
import { destinationOf } from './destination.ts'
import type { Dialer } from './dial.ts'
import type { OriginRequest, Origins, UpgradeSink } from './origin.ts'
import { RawConnection } from './raw-connection.ts'

/** The same origins; upgrades that ask for a raw connection get one. */
export function withRaw(origins: Origins, dialer: Dialer): Origins {
  return {
    send: (application, request, sink) => origins.send(application, request, sink),
    upgrade: (application, request, sink) =>
      request.raw
        ? connectRaw(dialer, application, request, sink)
        : origins.upgrade(application, request, sink),
    [Symbol.asyncDispose]: () => origins[Symbol.asyncDispose](),
  }
}

function connectRaw(
  dialer: Dialer,
  application: Application,
  { raw, method, target, headers }: OriginRequest,
  sink: UpgradeSink,
): () => void {
  const firstByteMs = originTimeoutsMs(application.onPremisesPublishing).firstByte
  // The two channels of a Remote Desktop Gateway find each other inside of one server (MS-TSGU §3.3.5.1).
  const affinity = headerValue(headers, 'rdg-connection-id')
  const options = { protocols: [], allowHalfOpen: true, affinity }
  return dialer.dial(destinationOf(application), options, {
    connected(socket) {
      sink.started()
      if (!raw) return
      const first = { method, target, headers }
      const connection = new RawConnection({ ...raw, socket, first, firstByteMs })
      sink.upgraded('', [], connection, Buffer.alloc(0))
    },
    failed: error => sink.failed(error),
  })
}

/**
 * Ends a connection that nobody has said all on, so that the other side cannot take what it has got for all of it: a
 * protocol without lengths of its own knows a whole stream by its FIN (RFC 9293 §3.6), a broken one by a reset.
 */

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'

/** TLS has an end of its own, which is missing then (RFC 8446 §6.1). */
export function breakOff(connection: Duplex): void {
  if (!isTcp(connection)) return void connection.destroy()
  const { writableEnded, writableFinished, writableLength } = connection
  // A FIN that is just being sent cannot be overtaken: Node would neither reset the connection nor close it.
  if (writableEnded && !writableFinished && writableLength === 0)
    connection.once('finish', () => reset(connection))
  else reset(connection)
}

function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy()
}

function isTcp(connection: Duplex): connection is Socket {
  return 'resetAndDestroy' in connection && (connection as TLSSocket).encrypted !== true
}

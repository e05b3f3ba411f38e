/** What a client sends behind its request for a WebSocket before that is answered, and whether it leaves meanwhile. */

import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** The client has to wait for the answer; whoever sends more is not read any further. */
const maxEarlyBytes = 64 * 1024

/**
 * Reads a connection before it is switched, or nobody would hear of a client that leaves: one of WebSockets can use
 * nothing of a connection whose end it has closed. Of other protocols it may have said all that it had to say.
 */
export function readEarly(socket: Duplex, res: ServerResponse): { end(): Buffer } {
  const chunks: Buffer[] = []
  let bytes = 0
  const onData = (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxEarlyBytes) socket.pause()
  }
  const onEnd = () => void (res.headersSent || socket.destroy())
  socket.on('data', onData).on('end', onEnd)
  return {
    end() {
      socket.off('data', onData).off('end', onEnd)
      if (bytes > maxEarlyBytes) socket.resume()
      return Buffer.concat(chunks.splice(0))
    },
  }
}

/** What a client sends behind its request for another protocol before that is answered, and whether it leaves meanwhile. */

import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** The client has to wait for the answer; whoever sends more is not read any further. */
const maxEarlyBytes = 64 * 1024

/**
 * Reads a connection before it is switched, or nobody would hear of a client that leaves, with a reset or without: as with
 * every other request, whoever has closed its end waits for no answer. Only the other protocol may go on with one end.
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

/**
 * What has been said of an answer that breaks off may be all that there is to learn from it: the last events of a stream,
 * the last lines of a log. The end of a connection, or the reset of a stream, would overtake what was written before it.
 */

import type { Duplex } from 'node:stream'

/** Whoever takes nothing more is not waited for. */
const longestMs = 500
const sweepMs = 10

/** Ends a connection, or a stream of one, when what has been written to it is out: at once where nothing waits. */
export function afterLastWords(connection: Duplex, end: () => void): void {
  // An answer is written at the end of the turn.
  while (connection.writableCorked > 0) connection.uncork()
  const until = performance.now() + longestMs
  const look = () => {
    const waits = connection.writableLength > 0 && !connection.destroyed
    if (waits && performance.now() < until) setTimeout(look, sweepMs)
    else end()
  }
  look()
}

/**
 * The rest of a request body that nobody wants any more. Closing the connection while it still arrives would reset it,
 * and the client would never see the answer that tells why (RFC 9112 §9.6): so the rest is read and dropped for a
 * while, and only then is the connection cut. HTTP/2 can ask for no more without that (RFC 9113 §8.1), but a stream of
 * which something lies unread is never over.
 */

import { constants, type ServerHttp2Stream } from 'node:http2'
import type { ClientRequest } from './front/client.ts'

/** The connection is cut when nothing more comes for so long, or when it all takes too long. */
const idleMs = 2_000
const longestMs = 30_000

/** How often an answer is looked at of which nothing but its end is missing. */
const endSweepMs = 10

/** Calls back once, when the body is over or its connection is. */
export function discardBody(req: ClientRequest, onEnd: () => void = () => undefined): void {
  if (req.complete || req.body.destroyed) return onEnd()
  if (req.stream) {
    onEnd()
    askForNoMore(req.stream)
    req.body.removeAllListeners('data')
    return void req.body.resume()
  }
  const until = performance.now() + longestMs
  const idle = setTimeout(() => req.socket.destroy(), idleMs)
  let isOver = false
  const over = () => {
    if (isOver) return
    isOver = true
    clearTimeout(idle)
    onEnd()
  }
  req.body.removeAllListeners('data')
  req.body.on('data', () => {
    if (performance.now() > until) req.socket.destroy()
    else idle.refresh()
  })
  req.body.once('end', over).once('close', over)
  req.body.resume()
}

/** Once the answer is out, its end included; one that is broken off resets the stream by itself. */
function askForNoMore(stream: ServerHttp2Stream): void {
  if (stream.endAfterHeaders || !stream.writableEnded) return
  const close = () => {
    if (stream.destroyed || stream.closed) return
    // Trailers, or the empty frame in place of them, follow what was written, and the reset would overtake them.
    if (stream.state.localClose) stream.close(constants.NGHTTP2_NO_ERROR)
    else setTimeout(close, endSweepMs)
  }
  if (stream.writableFinished) close()
  else stream.once('finish', close)
}

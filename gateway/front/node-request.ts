/** A head of HTTP/1.1 that we have read, in the shape that Node gives its own. */

import { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { RequestHead } from '#infra/request-head.ts'

/** Whatever body there is, is not read as one. */
export function nodeRequest(
  socket: Socket,
  { method, target, headers }: RequestHead,
): IncomingMessage {
  const req = new IncomingMessage(socket)
  req.httpVersion = '1.1'
  req.httpVersionMajor = 1
  req.httpVersionMinor = 1
  req.method = method
  req.url = target
  req.rawHeaders = [...headers]
  req.complete = true
  req.push(null)
  return req
}

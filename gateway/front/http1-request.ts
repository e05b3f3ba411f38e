/** Requests of HTTP/1.1 as Node gives them, and a head that we have read in that shape. */

import { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { RequestHead } from '#infra/request-head.ts'
import type { ClientRequest } from './client.ts'

export class Http1Request extends IncomingMessage implements ClientRequest {
  get body(): this {
    return this
  }
}

/** Whatever body there is, is not read as one. */
export function nodeRequest(socket: Socket, { method, target, headers }: RequestHead) {
  const req = new Http1Request(socket)
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

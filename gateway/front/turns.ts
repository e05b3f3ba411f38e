/**
 * Requests of a connection whose answers are still owed when the next one comes (RFC 9112 §9.3.2). Those that change
 * nothing are served at once, side by side; any other begins when all before it are answered, and those behind it when it
 * is: what a client wrote first is not overtaken by what it wrote or read afterwards.
 */

import type { Socket } from 'node:net'
import { methodClassOf } from '#infra/contracts/http-methods.ts'
import type { Http1Request } from './http1-request.ts'
import type { Http1Response } from './http1-response.ts'

export class Turns {
  /** The latest of a connection that may change something. */
  readonly #unsafe = new WeakMap<Socket, Http1Response>()

  /** Calls back when the request may begin, which is never if the connection ends before that. */
  take(req: Http1Request, res: Http1Response, begin: () => void): void {
    const { socket, method = '', rawHeaders: headers } = req
    const before = this.#unsafe.get(socket)
    const isUnsafe = methodClassOf({ method, headers, isUpgrade: false }) === 'unsafe'
    if (isUnsafe) this.#unsafe.set(socket, res)
    // An answer has the connection once those before it are out.
    const mayBegin = res.socket || (!isUnsafe && before?.writableFinished !== false)
    if (mayBegin) begin()
    else res.once('socket', begin)
  }
}

/**
 * An answer over HTTP/1.1: Node's own, with what it gets wrong set right, so that nothing that a connector says can be
 * taken by a client for another answer, or half of one for a whole.
 */

import { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { pairsOf, withLengthLast } from '#infra/http.ts'
import {
  type ClientResponse,
  fieldLines,
  hasNoBody,
  informationHead,
  namesProtocol,
  withLength,
} from './client.ts'
import type { Http1Request } from './http1-request.ts'
import { afterLastWords } from './last-words.ts'
import { endGently } from './unreadable.ts'

/** A body up to this size is one string with its head, and one plain write: that is cheaper than a gathered one. */
export const joinedBytes = 8 * 1024

export class Http1Response extends ServerResponse<Http1Request> implements ClientResponse {
  isContinued = false

  get isGone(): boolean {
    return this.destroyed
  }

  sendHead(status: number, reason: string, headers: readonly string[]): void {
    // A body that is longer than its length says would go on as the answer to the next request of the connection.
    this.strictContentLength = true
    this.#begin(status, reason, headers as string[])
    // flushHeaders would make UTF-8 of what is octets (RFC 9110 §5.5). Where there is no body the end brings the head.
    this.write('', 'latin1')
    // At once: an answer may break off before the end of this turn.
    this.socket?.uncork()
  }

  sendWhole(status: number, reason: string, headers: string[], body: Buffer): void {
    const { method } = this.req
    this.#begin(status, reason, withLength(method, status, headers, body))
    if (hasNoBody(method, status) || body.length === 0) this.end()
    else if (body.length <= joinedBytes) this.end(body.toString('latin1'), 'latin1')
    else this.end(body)
  }

  sendInformation(status: number, headers: readonly string[]): void {
    const { httpVersionMinor } = this.req
    // Without a socket an earlier answer of the connection is not over; HTTP/1.0 knows no interim answers.
    if (this.headersSent || !this.socket?.writable || httpVersionMinor === 0) return
    // Whoever does not read has no use for them either.
    if (this.socket.writableNeedDrain) return
    this.socket.write(informationHead(status, headers), 'latin1')
  }

  override writeContinue(): void {
    this.isContinued = true
    super.writeContinue()
  }

  endWith(trailers: readonly string[]): void {
    if (trailers.length > 0) this.addTrailers(pairsOf(trailers))
    this.end()
  }

  abort(): void {
    // One that waits for those before it has no connection yet: it ends when its turn comes, with nothing of it said.
    if (!this.socket) this.once('socket', endGently)
    // Where the end of the connection may be that of the body, only a reset is another end (RFC 9112 §8).
    if (this.req.httpVersionMinor === 0 && this.socket && !isTls(this.socket))
      this.socket.resetAndDestroy()
    else this.destroy()
  }

  breakOff(): void {
    if (this.socket) afterLastWords(this.socket, () => this.abort())
    else this.abort()
  }

  closeConnection(): void {
    this.shouldKeepAlive = false
  }

  #begin(status: number, reason: string, headers: string[]): void {
    // Node finds that a field cannot be sent only after it has settled that there will be no body, in what comes instead
    // neither: whoever read that would take the next answer for its body.
    if (hasNoBody(undefined, status)) fieldLines(headers)
    // It is no field without being named as one of the connection's; HTTP/1.0 knows none (RFC 9110 §7.8).
    if (namesProtocol(headers) && this.req.httpVersionMinor > 0)
      headers.push('Connection', this.shouldKeepAlive ? 'Upgrade, keep-alive' : 'Upgrade, close')
    const fields = this.req.httpVersionMinor > 0 ? headers : withoutTrailer(headers)
    this.writeHead(status, reason, withLengthLast(fields))
  }
}

/** HTTP/1.0 knows no trailers, and Node would not send what announces some. */
function withoutTrailer(headers: string[]): string[] {
  return headers.filter((_, i) => headers[i & ~1]?.toLowerCase() !== 'trailer')
}

/** TLS has an end of its own, which is missing then. */
function isTls(socket: Socket): boolean {
  return (socket as TLSSocket).encrypted === true
}

/** Answers that wait for an earlier one of their connection: behind CONNECT, Node would not tell them of its end. */
export class QueuedResponses {
  readonly #queued = new WeakMap<Duplex, Set<Http1Response>>()

  add(socket: Duplex, res: Http1Response): void {
    const queue = this.#queued.get(socket) ?? new Set()
    this.#queued.set(socket, queue.add(res))
    res.once('close', () => queue.delete(res))
  }

  /** Ends a connection and all that is owed to it. */
  destroy(socket: Duplex): void {
    socket.destroy()
    for (const res of this.#queued.get(socket) ?? []) res.destroy()
  }
}

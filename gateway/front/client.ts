/**
 * A client's request and the answer to it, whichever HTTP version carries them. Both are Node's own objects with a few
 * methods more (http1.ts, http2.ts), for what the versions do differently: heads, trailers, breaking off.
 */

import { type IncomingHttpHeaders, validateHeaderName, validateHeaderValue } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex, Readable, Writable } from 'node:stream'
import { headerValue } from '#infra/http.ts'

export interface ClientRequest extends Readable {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersionMajor: number
  readonly httpVersionMinor: number
  readonly headers: IncomingHttpHeaders
  /** Names and values in turn, as HTTP/1.1 would have them: Host first for HTTP/2, no pseudo-headers. */
  readonly rawHeaders: string[]
  /** What followed the body, once it has ended. */
  readonly rawTrailers: string[]
  readonly socket: Socket
  /** The client broke off: an `end` after that is not the end of the body. */
  readonly aborted: boolean
  /** Nothing more will be read. */
  readonly complete: boolean
  /** Of HTTP/2 alone. A request line may claim any version; this cannot be forged. */
  readonly stream?: ServerHttp2Stream
}

export interface ClientResponse extends Writable {
  readonly req: ClientRequest
  readonly headersSent: boolean
  statusCode: number
  /** The connection, or the stream of HTTP/2, is gone. */
  readonly isGone: boolean
  /**
   * Sends the head of an answer whose body is written afterwards.
   * @throws for what is no HTTP; nothing has been sent then.
   */
  sendHead(status: number, reason: string, headers: readonly string[]): void
  /** Sends a whole answer and its length, but no body where there is none (HEAD, 204, 304). Throws likewise. */
  sendWhole(status: number, reason: string, headers: string[], body: Buffer): void
  endWith(trailers: readonly string[]): void
  /** Breaks the answer off so that the client cannot take it for whole. */
  abort(): void
  /** No further request on this connection. HTTP/2 says so for the connection, not with an answer. */
  closeConnection(): void
  writeContinue(): unknown
  /** The client was told to send the body with which it had waited. */
  readonly isContinued: boolean
  /** An interim answer (RFC 9110 §15.2), if the client can take one now. Throws for what is no HTTP. */
  sendInformation(status: number, headers: readonly string[]): void
}

/** How a request arrived. */
export interface Arrival {
  /** For a request that asks to switch protocols. */
  readonly upgrade?: Upgrade
  /** The client waits for "100 Continue" before it sends its body. */
  readonly expectsContinue?: boolean
}

export interface Upgrade {
  readonly socket: Duplex
  /** From here on the socket is no HTTP any more. Answers what the client has sent behind its request. */
  takeOver(): Buffer
  /** The origin's answers are bytes of the connection too, the first one included (front/raw.ts). */
  readonly isRaw?: boolean
}

export type RequestListener = (req: ClientRequest, res: ClientResponse, how: Arrival) => void

/** HEAD is answered without a body, and so are these (RFC 9110 §6.4.1). */
export function hasNoBody(method: string | undefined, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304
}

/** 204 must not have a length (RFC 9110 §8.6), whatever an origin says. */
export function lengthless(status: number, headers: string[]): string[] {
  if (status !== 204 || headerValue(headers, 'content-length') === undefined) return headers
  return headers.filter((_, i) => headers[i & ~1]?.toLowerCase() !== 'content-length')
}

/** Field lines as HTTP/1.1 writes them, in Latin-1. Throws for what could not stand in a message. */
export function fieldLines(headers: readonly string[]): string {
  let lines = ''
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    validateHeaderName(name)
    validateHeaderValue(name, value)
    lines += `${name}: ${value}\r\n`
  }
  return lines
}

/** A record of header fields as a flat list. */
export function flatHeaders(record: Readonly<Record<string, string | readonly string[]>>) {
  return Object.entries(record).flatMap(([name, value]) =>
    typeof value === 'string' ? [name, value] : value.flatMap(one => [name, one]),
  )
}

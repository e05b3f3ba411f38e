/**
 * A client's request and the answer to it, whichever HTTP version carries them. Most are Node's own objects with a few
 * methods more (http1-response.ts, http2.ts), for what the versions do differently: heads, trailers, breaking off.
 */

import type { EventEmitter } from 'node:events'
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import { headerValue } from '#infra/http.ts'

export interface ClientRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersionMajor: number
  readonly httpVersionMinor: number
  /** Names and values in turn, as HTTP/1.1 would have them: Host first for HTTP/2, no pseudo-headers. */
  readonly rawHeaders: readonly string[]
  readonly body: Readable
  /** What followed the body, once it has ended. */
  readonly rawTrailers: readonly string[]
  readonly socket: Socket
  /** The client broke off: an `end` after that is not the end of the body. */
  readonly aborted: boolean
  /** Nothing more will be read. */
  readonly complete: boolean
  /** Of HTTP/2 alone. A request line may claim any version; this cannot be forged. */
  readonly stream?: ServerHttp2Stream
}

/** Emits `close` when its client has left, and `drain` when it takes more again. */
export interface ClientResponse extends EventEmitter {
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
  /** Writes more of a body; false: it should wait for `drain`. */
  write(chunk: Buffer | string): boolean
  end(): unknown
  endWith(trailers: readonly string[]): void
  /** Breaks the answer off so that the client cannot take it for whole; what was written and is not out yet is lost. */
  abort(): void
  /** The same, when all that was written is out, or half a second later (last-words.ts). */
  breakOff(): void
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

/**
 * The fields of a whole answer, with the length of its body.
 * @throws where they say another length: what is missing or too much would be taken from the next answer.
 */
export function withLength(
  method: string | undefined,
  status: number,
  headers: string[],
  body: Buffer,
): string[] {
  const isEmpty = hasNoBody(method, status)
  const length = headerValue(headers, 'content-length')
  if (length === undefined) {
    if (!isEmpty || body.length > 0) headers.push('Content-Length', `${body.length}`)
  } else if (!isEmpty && Number(length) !== body.length) {
    throw new Error(`a body of ${body.length} octets where the head says ${length}`)
  }
  return lengthless(status, headers)
}

/** Whether an answer asks for another protocol: over HTTP/1.1 Connection has to name that field (RFC 9110 §7.8). */
export function namesProtocol(headers: readonly string[]): boolean {
  return headerValue(headers, 'upgrade') !== undefined
}

/** An interim answer as HTTP/1.1 writes it. Throws for what could not stand in a message. */
export function informationHead(status: number, headers: readonly string[]): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${fieldLines(headers)}\r\n`
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

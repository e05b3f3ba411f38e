/**
 * A plain request (plain.ts) and its answer. One that is whole when it is sent is written as it is; for any other, Node's
 * own answer takes the connection until it is over.
 */

import { EventEmitter } from 'node:events'
import { validateHeaderValue } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { headerValue } from '#infra/http.ts'
import {
  type ClientRequest,
  type ClientResponse,
  fieldLines,
  hasNoBody,
  informationHead,
  namesProtocol,
  withLength,
} from './client.ts'
import { nodeRequest } from './http1-request.ts'
import { Http1Response, joinedBytes } from './http1-response.ts'
import { afterLastWords } from './last-words.ts'
import type { PlainConnection } from './plain.ts'
import type { PlainMessage } from './plain-message.ts'

export class PlainRequest implements ClientRequest {
  readonly message: PlainMessage
  readonly httpVersionMajor = 1
  readonly httpVersionMinor = 1
  readonly rawTrailers: string[] = []
  readonly socket: Socket
  readonly complete = true
  #body: Readable | undefined

  constructor(socket: Socket, message: PlainMessage) {
    this.socket = socket
    this.message = message
  }

  get method(): string {
    return this.message.method
  }

  get url(): string {
    return this.message.target
  }

  get rawHeaders(): readonly string[] {
    return this.message.headers
  }

  get aborted(): boolean {
    return this.socket.destroyed
  }

  /** Made when somebody wants it: most requests have none. */
  get body(): Readable {
    this.#body ??= new Whole(this.message.body)
    return this.#body
  }
}

class Whole extends Readable {
  readonly #octets: Buffer

  constructor(octets: Buffer) {
    super()
    this.#octets = octets
  }

  override _read(): void {
    if (this.#octets.length > 0) this.push(this.#octets)
    this.push(null)
  }
}

export class PlainResponse extends EventEmitter implements ClientResponse {
  readonly req: PlainRequest
  readonly isContinued = false
  statusCode = 200
  headersSent = false
  readonly #connection: PlainConnection
  /** For an answer that is not whole. */
  #streamed: Http1Response | undefined
  #isLast = false
  #isOver = false

  constructor(connection: PlainConnection, req: PlainRequest) {
    super()
    this.#connection = connection
    this.req = req
  }

  get isGone(): boolean {
    return this.#isOver || this.#connection.socket.destroyed
  }

  sendWhole(status: number, reason: string, headers: string[], body: Buffer): void {
    const { method } = this.req
    const isEmpty = hasNoBody(method, status) || body.length === 0
    const fields = fieldLines(withLength(method, status, headers, body))
    const head = statusLine(status, reason) + fields + this.#closingLines(headers)
    this.#said(status)
    if (!this.isGone) this.#write(head, isEmpty ? noBytes : body)
    this.#over(this.#isLast)
  }

  sendHead(status: number, reason: string, headers: readonly string[]): void {
    const isUsual = !this.#isLast && !namesProtocol(headers)
    const date = isDated(headers) ? [] : ['Date', httpDate()]
    const how = isUsual ? [...date, 'Connection', 'keep-alive', 'Keep-Alive', this.#keepAlive] : []
    try {
      this.#streaming().sendHead(status, reason, [...headers, ...how])
    } catch (error) {
      this.#streamed?.detachSocket(this.#connection.socket)
      this.#streamed = undefined
      throw error
    }
    this.#said(status)
  }

  sendInformation(status: number, headers: readonly string[]): void {
    const { socket } = this.#connection
    // Whoever does not read has no use for it either.
    if (this.headersSent || !socket.writable || socket.writableNeedDrain) return
    socket.write(informationHead(status, headers), 'latin1')
  }

  write(chunk: Buffer | string): boolean {
    return this.#streaming().write(chunk)
  }

  end(): void {
    this.#streaming().end()
  }

  endWith(trailers: readonly string[]): void {
    this.#streaming().endWith(trailers)
  }

  abort(): void {
    this.#connection.socket.destroy()
  }

  breakOff(): void {
    afterLastWords(this.#connection.socket, () => this.abort())
  }

  closeConnection(): void {
    this.#isLast = true
    this.#streamed?.closeConnection()
  }

  /** Nobody waits for a body that there is not. */
  writeContinue(): void {}

  /** The client has left. */
  lost(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.emit('close')
  }

  get #keepAlive(): string {
    return `timeout=${this.#connection.keepAliveSeconds}`
  }

  #said(status: number): void {
    this.statusCode = status
    this.headersSent = true
  }

  #closingLines(headers: readonly string[]): string {
    const date = isDated(headers) ? '' : `Date: ${httpDate()}\r\n`
    const how = this.#isLast ? 'close' : 'keep-alive'
    if (namesProtocol(headers)) return `Connection: Upgrade, ${how}\r\n${date}\r\n`
    const keepAlive = this.#isLast ? '' : `Keep-Alive: ${this.#keepAlive}\r\n`
    return `${date}Connection: ${how}\r\n${keepAlive}\r\n`
  }

  #write(head: string, body: Buffer): void {
    const { socket } = this.#connection
    if (body.length <= joinedBytes) {
      socket.write(head + body.toString('latin1'), 'latin1')
      return
    }
    socket.cork()
    socket.write(head, 'latin1')
    socket.write(body)
    socket.uncork()
  }

  #streaming(): Http1Response {
    if (this.#streamed) return this.#streamed
    const { socket } = this.#connection
    const res = new Http1Response(nodeRequest(socket, this.req.message))
    this.#streamed = res
    if (this.#isLast) res.closeConnection()
    res.assignSocket(socket)
    res.once('finish', () => {
      res.detachSocket(socket)
      this.#over(this.#isLast || !res.shouldKeepAlive)
    })
    return res
  }

  #over(isLast: boolean): void {
    this.#isOver = true
    this.#connection.answered(isLast)
  }
}

const noBytes = Buffer.alloc(0)

/** @throws for what is no status line. */
function statusLine(status: number, reason: string): string {
  if (!(Number.isInteger(status) && status >= 200 && status <= 999))
    throw new RangeError(`${status} is not the status of an answer`)
  validateHeaderValue('reason', reason)
  return `HTTP/1.1 ${status} ${reason}\r\n`
}

function isDated(headers: readonly string[]): boolean {
  return headerValue(headers, 'date') !== undefined
}

let dateOfSecond = 0
let dateText = ''

/** RFC 9110 §6.6.1; made once in a second. */
function httpDate(): string {
  const second = Math.floor(Date.now() / 1_000)
  if (second !== dateOfSecond) {
    dateOfSecond = second
    dateText = new Date(second * 1_000).toUTCString()
  }
  return dateText
}

/**
 * One connection to an origin, for one plain exchange after the other: a request is written at once, and its answer read
 * as far as it can be read in one way only. Any other is given to the client library with all that has come of it, and
 * the connection with it. It is kept only when request and answer are both over and nothing else has come.
 */

import type { Socket } from 'node:net'
import { errors } from 'undici'
import { type Reads, takeReads } from '#infra/socket-reads.ts'
import { keepAliveTimeoutMs } from '../origin-pool.ts'
import { maxAnswerHeadBytes } from '../own-connection.ts'
import { Chunks, type ChunksSink } from './chunks.ts'
import type { Holder, PlainExchange } from './exchange.ts'
import { GivenConnection } from './given.ts'
import { isPlainBeginning, type PlainHead, readPlainHead } from './head.ts'

export interface ConnectionOwner {
  /** May serve another exchange, or be idle. */
  released(connection: PlainConnection): void
  /** To be served by another connection: the origin has seen nothing, and this one is gone. */
  returned(exchange: PlainExchange): void
  /** Whether an answer is one of those that are read here. */
  judged(isPlain: boolean): void
  closed(connection: PlainConnection): void
}

const headEnd = '\r\n\r\n'
/** A head in more pieces than that is not waited for, since each has it looked at again. */
const maxPieces = 4

export class PlainConnection implements Holder, ChunksSink {
  /** When it has been idle for long enough; by the monotonic clock. */
  idleUntil = 0
  readonly #socket: Socket
  readonly #owner: ConnectionOwner
  readonly #reads: Reads
  #exchange: PlainExchange | undefined
  #isSent = false
  /** Of a head, in so many pieces. */
  #held: Buffer | undefined
  #pieces = 0
  /** Of the answer that is being read, with the text that it was if its body is in chunks. */
  #head: PlainHead | undefined
  #headText = ''
  /** Octets of its body that are still to come, unless it is in chunks. */
  #left = 0
  #chunks: Chunks | undefined
  #error: Error | undefined

  constructor(socket: Socket, owner: ConnectionOwner) {
    this.#socket = socket
    this.#owner = owner
    socket.on('end', this.#onEnd).on('error', this.#onError)
    socket.on('close', () => this.#closed())
    this.#reads = takeReads(socket, octets => this.#read(octets))
  }

  /** Of a new connection. */
  begin(exchange: PlainExchange): void {
    this.#exchange = exchange
    exchange.heldBy(this)
    this.#send(exchange)
  }

  /** Of one that was kept: what has come unasked is read first, or it would be taken for the answer. */
  serve(exchange: PlainExchange): void {
    this.#exchange = exchange
    exchange.heldBy(this)
    setImmediate(sendOn, this)
  }

  sendOn(): void {
    if (this.#socket.destroyed) return
    if (this.#exchange) this.#send(this.#exchange)
    else this.#owner.released(this)
  }

  leave(exchange: PlainExchange): void {
    if (this.#exchange !== exchange) return
    this.#exchange = undefined
    if (this.#isSent) this.#socket.destroy()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  destroy(error?: Error): void {
    this.#error ??= error
    this.#socket.destroy()
  }

  data(chunk: Buffer): boolean {
    const exchange = this.#exchange
    exchange?.data(chunk)
    return exchange !== undefined && this.#exchange === exchange
  }

  complete(excessBytes: number): void {
    const exchange = this.#exchange
    const { keepAliveMs: idleMs = keepAliveTimeoutMs } = this.#head ?? {}
    this.#exchange = undefined
    this.#isSent = false
    this.#head = undefined
    this.#chunks = undefined
    if (excessBytes > 0 || idleMs === 0 || this.#socket.writableLength > 0) this.#socket.destroy()
    else {
      this.idleUntil = performance.now() + idleMs
      if (this.#socket.isPaused()) this.#socket.resume()
      this.#owner.released(this)
    }
    exchange?.end([])
  }

  /** The rest of a body in chunks: for the other parser it is all of it. */
  odd(bytes: Buffer): void {
    const head = Buffer.from(this.#headText + headEnd, 'latin1')
    if (this.#exchange) this.#give(this.#exchange, Buffer.concat([head, bytes]))
  }

  #send(exchange: PlainExchange): void {
    this.#isSent = true
    exchange.started()
    if (this.#exchange) this.#socket.write(exchange.octets, 'latin1')
  }

  #read(chunk: Buffer): void {
    const exchange = this.#exchange
    if (!exchange || !this.#isSent) return void this.#socket.destroy()
    try {
      if (this.#head) this.#readBody(chunk)
      else this.#readHead(exchange, chunk)
    } catch (error) {
      // By what came, or by whom it was passed on to.
      if (this.#exchange === exchange) this.destroy(error as Error)
      else exchange.broken(error as Error)
    }
  }

  #readHead(exchange: PlainExchange, chunk: Buffer): void {
    const bytes = this.#held ? Buffer.concat([this.#held, chunk]) : chunk
    const end = bytes.indexOf(headEnd, 0, 'latin1')
    if (end === -1) return this.#hold(exchange, bytes)
    const text = end > maxAnswerHeadBytes ? '' : bytes.toString('latin1', 0, end)
    const head = readPlainHead(text)
    if (!head) return this.#give(exchange, bytes)
    this.#owner.judged(true)
    this.#begin(head, text)
    exchange.head(head.status, head.reason, head.headers, this)
    if (this.#exchange === exchange) this.#readBody(bytes.subarray(end + headEnd.length))
  }

  #hold(exchange: PlainExchange, bytes: Buffer): void {
    this.#held = bytes
    const isTooMuch = ++this.#pieces >= maxPieces || bytes.length > maxAnswerHeadBytes
    if (isTooMuch || !isPlainBeginning(bytes.toString('latin1'))) this.#give(exchange, bytes)
  }

  #begin(head: PlainHead, text: string): void {
    this.#held = undefined
    this.#pieces = 0
    this.#head = head
    if (head.length !== 'chunked') {
      this.#left = head.length
      return
    }
    this.#headText = text
    this.#chunks = new Chunks(this)
  }

  #readBody(bytes: Buffer): void {
    if (this.#chunks) return this.#chunks.read(bytes)
    const excessBytes = bytes.length - this.#left
    const body = excessBytes > 0 ? bytes.subarray(0, this.#left) : bytes
    this.#left -= body.length
    const goesOn = body.length === 0 || this.data(body)
    if (this.#left === 0 && goesOn) this.complete(excessBytes)
  }

  #give(exchange: PlainExchange, bytes: Buffer): void {
    this.#exchange = undefined
    this.#reads.giveBack()
    this.#socket.off('end', this.#onEnd).off('error', this.#onError)
    this.#owner.judged(false)
    exchange.givenTo(new GivenConnection(this.#socket, bytes))
  }

  /** Of an answer behind which the connection ends anyway, the client library says something else. */
  readonly #onEnd = () => {
    const { isLast = false } = this.#head ?? {}
    this.destroy(isLast ? lengthMismatch() : new errors.SocketError('other side closed'))
  }

  readonly #onError = (error: Error) => {
    const isCutShort = this.#head?.isLast && (error as NodeJS.ErrnoException).code === 'ECONNRESET'
    this.#error ??= isCutShort ? lengthMismatch() : error
  }

  #closed(): void {
    this.#owner.closed(this)
    const exchange = this.#exchange
    this.#exchange = undefined
    if (!exchange) return
    if (this.#isSent) exchange.broken(this.#error ?? new errors.SocketError('closed'))
    else this.#owner.returned(exchange)
  }
}

function sendOn(connection: PlainConnection): void {
  connection.sendOn()
}

function lengthMismatch(): Error {
  return new errors.ResponseContentLengthMismatchError()
}

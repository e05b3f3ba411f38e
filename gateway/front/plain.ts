/**
 * Connections of HTTP/1.1 as long as they carry plain requests (plain-message.ts), one after the other, each answered
 * before the next is read: without Node's HTTP server, which costs more than all that is done for such a request. With
 * the first octets that are anything else the connection is Node's for good, and finds them as if nobody had looked.
 */

import type { Socket } from 'node:net'
import { type Reads, takeReads } from '#infra/socket-reads.ts'
import type { RequestListener } from './client.ts'
import { readPlainMessage } from './plain-message.ts'
import { PlainRequest, PlainResponse } from './plain-response.ts'

export interface PlainOptions {
  listener: RequestListener
  /** Between two requests, in seconds. */
  keepAliveSeconds: number
  /** Whether another request may come on a connection. */
  isOpen: () => boolean
  /** Takes a connection with what it said last. */
  handOver: (socket: Socket, octets: Buffer) => void
}

const sweepMs = 1_000

/** What a client is told is a little less than what it gets: it may be about to send. */
const graceMs = 1_000

/** As much may come before an answer is out as a request may have. */
const maxEarlyBytes = 64 * 1024

export class PlainConnections {
  readonly options: PlainOptions
  readonly #connections = new Set<PlainConnection>()
  readonly #sweeper: NodeJS.Timeout

  constructor(options: PlainOptions) {
    this.options = options
    const idleMs = options.keepAliveSeconds * 1_000 + graceMs
    this.#sweeper = setInterval(() => this.#close(performance.now() - idleMs), sweepMs).unref()
  }

  /** Takes a connection with the first that it said. */
  accept(socket: Socket, first: Buffer): void {
    const connection = new PlainConnection(this, socket)
    this.#connections.add(connection)
    connection.read(first)
  }

  /** Closes those that are between two requests. */
  closeIdle(): void {
    this.#close(performance.now())
  }

  /** Cuts them all. */
  destroy(): void {
    for (const { socket } of this.#connections) socket.destroy()
  }

  forget(connection: PlainConnection): void {
    this.#connections.delete(connection)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper)
  }

  #close(idleSince: number): void {
    for (const { socket, quietSince } of this.#connections) {
      const isIdle = quietSince !== undefined && socket.writableLength === 0
      if (isIdle && quietSince <= idleSince) socket.destroy()
    }
  }
}

export class PlainConnection {
  readonly socket: Socket
  /** Since when it has been between two requests, though an answer may still be on its way; undefined within one. */
  quietSince: number | undefined
  readonly #all: PlainConnections
  readonly #reads: Reads
  #response: PlainResponse | undefined
  /** What came before the answer to the request before it was out. */
  #early: Buffer | undefined
  readonly #onDrain = () => {
    if (this.#response) this.#response.emit('drain')
    else this.quietSince = performance.now()
    this.#readEarly()
  }
  readonly #onEnd = () => void this.socket.end()
  readonly #onClose = () => {
    this.#all.forget(this)
    this.#response?.lost()
  }

  constructor(all: PlainConnections, socket: Socket) {
    this.#all = all
    this.socket = socket
    socket.on('error', ignore).on('end', this.#onEnd).on('close', this.#onClose)
    socket.on('drain', this.#onDrain)
    this.#reads = takeReads(socket, octets => this.read(octets))
  }

  get keepAliveSeconds(): number {
    return this.#all.options.keepAliveSeconds
  }

  read(octets: Buffer): void {
    // Behind the last answer nothing is taken any more (RFC 9112 §9.6), nor what nobody could be answered.
    if (!this.socket.writable) return
    // Whoever does not take its answers can wait for the next one.
    if (this.#response || this.socket.writableNeedDrain) return this.#hold(octets)
    const message = readPlainMessage(octets)
    if (!message) return this.#handOver(octets)
    const { listener, isOpen } = this.#all.options
    this.quietSince = undefined
    const request = new PlainRequest(this.socket, message)
    const response = new PlainResponse(this, request)
    this.#response = response
    if (!isOpen()) response.closeConnection()
    listener(request, response, {})
  }

  /** The answer has been written. */
  answered(isLast: boolean): void {
    this.#response = undefined
    if (isLast) return this.socket.destroySoon()
    this.quietSince = performance.now()
    if (this.#early) process.nextTick(() => this.#readEarly())
  }

  /** Goes on reading for a while: a client that leaves should be noticed. */
  #hold(octets: Buffer): void {
    this.#early = this.#early ? Buffer.concat([this.#early, octets]) : octets
    if (this.#early.length > maxEarlyBytes) this.socket.pause()
  }

  #readEarly(): void {
    const octets = this.#early
    if (!octets || this.#response || this.socket.destroyed || this.socket.writableNeedDrain) return
    this.#early = undefined
    this.socket.resume()
    this.read(octets)
  }

  #handOver(octets: Buffer): void {
    const { socket } = this
    this.#all.forget(this)
    socket.off('error', ignore).off('end', this.#onEnd).off('close', this.#onClose)
    socket.off('drain', this.#onDrain)
    this.#reads.giveBack()
    this.#all.options.handOver(socket, octets)
  }
}

function ignore(): void {}

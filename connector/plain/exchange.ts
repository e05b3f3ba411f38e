/**
 * One plain request on its way: it waits for a connection, is sent once, and its answer passes through here, whoever
 * reads it. Nothing is passed on once it is over.
 */

import type { Duplex } from 'node:stream'
import type { OriginControl, OriginRequest, OriginSink } from '../origin.ts'
import { asOriginError, type OriginError } from '../origin-error.ts'
import { isConnectionClosed, isRepeatable, send, type Target } from '../origin-pool.ts'

/** Whoever has it: a queue, an attempt to connect, a connection. */
export interface Holder {
  /** Nobody waits for it any more. */
  leave(exchange: PlainExchange): void
}

/** Of what is being read. */
type Flow = Omit<OriginControl, 'abort'>

interface Asked {
  readonly request: OriginRequest
  readonly sink: OriginSink
  /** The request as it is sent; in Latin-1 where it is text. */
  readonly octets: Buffer | string
}

export class PlainExchange implements OriginSink, OriginControl {
  readonly octets: Buffer | string
  readonly #target: Target
  readonly #request: OriginRequest
  readonly #sink: OriginSink
  #holder: Holder | undefined
  #control: Flow | undefined
  #isStarted = false
  #hasHead = false
  #isPaused = false
  #isOver = false

  constructor(target: Target, { request, sink, octets }: Asked) {
    this.#target = target
    this.#request = request
    this.#sink = sink
    this.octets = octets
  }

  heldBy(holder: Holder): void {
    this.#holder = holder
  }

  started(): void {
    if (!this.#isStarted) this.#sink.started()
    this.#isStarted = true
  }

  information(status: number, headers: string[]): void {
    this.#sink.information(status, headers)
  }

  head(status: number, reason: string, headers: string[], control: Flow): void {
    this.#control = control
    // Of a body that another parser reads from here on.
    if (this.#hasHead) return void (this.#isPaused && control.pause())
    this.#hasHead = true
    this.#sink.head(status, reason, headers, this)
  }

  data(chunk: Buffer): void {
    this.#sink.data(chunk)
  }

  end(trailers: string[]): void {
    // The connection may serve somebody else by now.
    this.#control = undefined
    this.#sink.end(trailers)
    this.#isOver = true
  }

  failed(error: OriginError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#sink.failed(error)
  }

  /** A connection that the origin closed at the same moment: nothing was answered, nothing can be harmed. */
  broken(error: Error): void {
    const mayRepeat = !this.#hasHead && isRepeatable(this.#request) && isConnectionClosed(error)
    if (mayRepeat && !this.#isOver) this.#goOn(undefined)
    else this.failed(asOriginError(error))
  }

  /** Another parser reads the answer, from the beginning. */
  givenTo(connection: Duplex): void {
    this.#goOn(connection)
  }

  pause(): void {
    this.#isPaused = true
    this.#control?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#control?.resume()
  }

  abort(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#holder?.leave(this)
  }

  /** By the client library. */
  #goOn(given: Duplex | undefined): void {
    const request = this.#request
    const mayRepeat = given !== undefined && !this.#hasHead && isRepeatable(request)
    const abort = send(this.#target, { request, sink: this }, { given, mayRepeat })
    this.#holder = { leave: abort }
  }
}

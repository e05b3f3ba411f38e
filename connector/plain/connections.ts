/**
 * The connections to one destination that carry plain exchanges: bounded, kept for a while, and in order for those who
 * wait. Where answers are not plain they do not pay: the more of them in a row, the more requests go the other way before
 * the next one is tried here.
 */

import type { Socket } from 'node:net'
import { errors } from 'undici'
import type { Destination } from '../destination.ts'
import type { Dialer } from '../dial.ts'
import type { OriginRequest, OriginSink } from '../origin.ts'
import type { Target } from '../origin-pool.ts'
import { type ConnectionOwner, PlainConnection } from './connection.ts'
import { type Holder, PlainExchange } from './exchange.ts'
import { encodePlain } from './request.ts'

const http1 = { protocols: ['http/1.1'] }

/** At most 2^10 requests go the other way. */
const longestRow = 10

export interface PlainOptions {
  readonly dialer: Dialer
  readonly maxConnections: number
}

export class PlainConnections implements ConnectionOwner, Holder {
  readonly #destination: Destination
  readonly #options: PlainOptions
  /** The latest one last. */
  #idle: PlainConnection[] = []
  readonly #open = new Set<PlainConnection>()
  readonly #dialing = new Map<PlainExchange, () => void>()
  readonly #waiting = new Set<PlainExchange>()
  /** Answers that were not plain, without one that was between them. */
  #oddInRow = 0
  #passesBy = 0
  #isDestroyed = false

  constructor(destination: Destination, options: PlainOptions) {
    this.#destination = destination
    this.#options = options
  }

  /** As `Origins.send`; undefined for what is not plain. */
  send(target: Target, request: OriginRequest, sink: OriginSink): (() => void) | undefined {
    if (this.#isDestroyed) return undefined
    const octets = encodePlain(request)
    if (!octets) return undefined
    if (this.#passesBy > 0) return void this.#passesBy--
    const exchange = new PlainExchange(target, { request, sink, octets })
    this.#take(exchange)
    return () => exchange.abort()
  }

  leave(exchange: PlainExchange): void {
    this.#waiting.delete(exchange)
  }

  released(connection: PlainConnection): void {
    const [next] = this.#waiting
    if (!next) return void this.#idle.push(connection)
    this.#waiting.delete(next)
    connection.serve(next)
  }

  returned(exchange: PlainExchange): void {
    if (this.#isDestroyed) exchange.broken(new errors.ClientDestroyedError())
    else this.#take(exchange)
  }

  judged(isPlain: boolean): void {
    this.#oddInRow = isPlain ? 0 : Math.min(this.#oddInRow + 1, longestRow)
    if (!isPlain) this.#passesBy = 2 ** this.#oddInRow
  }

  closed(connection: PlainConnection): void {
    this.#open.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
    this.#dialNext()
  }

  /** Leaves connections that have been idle for long enough. */
  sweep(now: number): void {
    for (const connection of this.#idle) if (connection.idleUntil <= now) connection.destroy()
  }

  destroy(): void {
    this.#isDestroyed = true
    const error = new errors.ClientDestroyedError()
    for (const connection of this.#open) connection.destroy(error)
    const exchanges = [...this.#dialing.keys(), ...this.#waiting]
    for (const giveUp of this.#dialing.values()) giveUp()
    this.#dialing.clear()
    this.#waiting.clear()
    for (const exchange of exchanges) exchange.broken(error)
  }

  #take(exchange: PlainExchange): void {
    const connection = this.#takeIdle()
    if (connection) return connection.serve(exchange)
    if (this.#hasRoom()) return this.#dial(exchange)
    exchange.heldBy(this)
    this.#waiting.add(exchange)
  }

  #takeIdle(): PlainConnection | undefined {
    const now = performance.now()
    for (let last = this.#idle.pop(); last; last = this.#idle.pop()) {
      if (last.idleUntil > now) return last
      last.destroy()
    }
    return undefined
  }

  #hasRoom(): boolean {
    return this.#open.size + this.#dialing.size < this.#options.maxConnections
  }

  #dialNext(): void {
    const [next] = this.#waiting
    if (!next || !this.#hasRoom()) return
    this.#waiting.delete(next)
    this.#dial(next)
  }

  #dial(exchange: PlainExchange): void {
    const giveUp = this.#options.dialer.dial(this.#destination, http1, {
      connected: socket => {
        this.#dialing.delete(exchange)
        this.#connected(socket, exchange)
      },
      failed: error => {
        this.#dialing.delete(exchange)
        this.#dialNext()
        exchange.broken(error)
      },
    })
    this.#dialing.set(exchange, giveUp)
    exchange.heldBy({
      leave: () => {
        giveUp()
        this.#dialing.delete(exchange)
        this.#dialNext()
      },
    })
  }

  #connected(socket: Socket, exchange: PlainExchange): void {
    const connection = new PlainConnection(socket, this)
    this.#open.add(connection)
    connection.begin(exchange)
  }
}

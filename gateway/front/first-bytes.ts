/**
 * The first two octets of a connection decide who reads it. Node's parser has a fixed list of methods, and gives up on
 * those of the Remote Desktop Gateway; no method of that list begins with RD or RP, theirs all do. Once per connection.
 * Nothing is made for it but an entry in a map.
 */

import type { Socket } from 'node:net'

export interface FirstBytesOptions {
  /** A connection that says nothing for so long is closed. */
  silenceSeconds: number
  /** Takes an ordinary connection, with what has arrived. */
  ordinary: (socket: Socket, first: Buffer) => void
  /** Takes a connection of a method that the parser does not know, with what has arrived. */
  raw: (socket: Socket, first: Buffer) => void
}

const sweepMs = 250

const letterR = 0x52
const letterD = 0x44
const letterP = 0x50

export class FirstBytes {
  readonly #options: FirstBytesOptions
  /** Since when connections have said nothing, oldest first. */
  readonly #silent = new Map<Socket, number>()
  /** Those that have said R and nothing else. */
  readonly #held = new WeakMap<Socket, Buffer>()
  readonly #sweeper: NodeJS.Timeout
  /** Listeners of every connection, which they find in `this`. */
  readonly #look: (this: Socket, chunk: Buffer) => void
  readonly #leave: (this: Socket) => void

  constructor(options: FirstBytesOptions) {
    this.#options = options
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs).unref()
    const all = this
    this.#look = function (this: Socket, chunk: Buffer) {
      all.#take(this, chunk)
    }
    this.#leave = function (this: Socket) {
      all.#forget(this)
      this.destroy()
    }
  }

  accept(socket: Socket): void {
    this.#silent.set(socket, performance.now())
    socket.on('error', ignore).on('end', this.#leave).on('close', this.#leave)
    socket.on('data', this.#look)
  }

  /** Closes the connections that have said nothing so far. */
  close(): void {
    clearInterval(this.#sweeper)
    for (const socket of this.#silent.keys()) socket.destroy()
  }

  #take(socket: Socket, chunk: Buffer): void {
    const held = this.#held.get(socket)
    const first = held ? Buffer.concat([held, chunk]) : chunk
    if (first.length === 1 && first[0] === letterR) return void this.#held.set(socket, first)
    this.#forget(socket)
    if (isRaw(first)) return this.#options.raw(socket, first)
    this.#options.ordinary(socket, first)
  }

  #forget(socket: Socket): void {
    this.#silent.delete(socket)
    socket.off('data', this.#look).off('error', ignore)
    socket.off('end', this.#leave).off('close', this.#leave)
  }

  #sweep(): void {
    const silentBefore = performance.now() - this.#options.silenceSeconds * 1_000
    for (const [socket, since] of this.#silent) {
      if (since > silentBefore) return
      socket.destroy()
    }
  }
}

function ignore(): void {}

function isRaw(first: Buffer): boolean {
  return first[0] === letterR && (first[1] === letterD || first[1] === letterP)
}

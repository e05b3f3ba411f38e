/**
 * The bytes of one large body, beside the bus, on a connection that the gateway has offered to the connector (BULK in
 * wire.ts, direct.ts). Everything else of the exchange goes as before, END included. TCP holds back a sender here, no
 * credit does, and nothing is cut into frames.
 *
 *   connector                                              gateway
 *      │◄─► f64 bytes of this direction that went the other way, then all the rest: each direction that has more
 */

import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Bodies of this length are worth a connection; of unknown length, when so much has come, and not by trickles. */
export const largeBodyBytes = 2 ** 20

/** So much is read before others have their turn. */
const turnBytes = 128 * 1024

const beginBytes = 8

/** After this silence TCP asks whether the other side is still there: a reader may stand still for minutes. */
const tcpKeepAliveMs = 30_000

export interface BulkListener {
  /** So many bytes of this direction came, or come, over the bus. Nothing is read before `resume`. */
  begins(busBytes: number): void
  data(chunk: Buffer): void
}

export class BulkConnection {
  readonly #socket: Duplex
  #beginning: Buffer = Buffer.alloc(0)
  #hasBegun = false
  #isPaused = false
  #isYielding = false
  /** Read without a turn for others. */
  #turnBytes = 0

  /** `first` has been read from the socket already. */
  constructor(socket: Duplex, first: Buffer) {
    this.#socket = socket
    socket.on('error', () => undefined)
    // Servers of HTTP leave their own direction open, and nobody has a use for half of a connection.
    socket.once('end', () => socket.destroy())
    if (socket instanceof Socket) socket.setKeepAlive(true, tcpKeepAliveMs)
    if (first.length > 0) socket.unshift(first)
  }

  /** Calls back when it has ended, whoever ended it. */
  onClosed(listener: () => void): void {
    if (this.#socket.closed) setImmediate(listener)
    else this.#socket.once('close', listener)
  }

  /** Said once, before the first `write`. */
  begin(busBytes: number): void {
    const beginning = Buffer.allocUnsafe(beginBytes)
    beginning.writeDoubleBE(busBytes)
    this.#socket.write(beginning)
  }

  /** False: the source must pause until `onWritable`. */
  write(chunk: Buffer): boolean {
    return this.#socket.write(chunk)
  }

  onWritable(listener: () => void): void {
    this.#socket.on('drain', listener)
  }

  /** Calls back when the kernel has all that was written; never when it will not get it. */
  whenFlushed(listener: () => void): void {
    this.#socket.write(Buffer.alloc(0), error => !error && listener())
  }

  /** Reads, at first what the other side begins with. For one listener. */
  listen(listener: BulkListener): void {
    this.#socket.on('data', (chunk: Buffer) => {
      if (!this.#hasBegun) return this.#readBeginning(chunk, listener)
      listener.data(chunk)
      this.#turnBytes += chunk.length
      if (this.#turnBytes > turnBytes && !this.#isYielding) this.#yield()
    })
    this.#socket.resume()
  }

  /** Lets others have their turn: who reads a fast socket is given its data as long as there is some. */
  #yield(): void {
    this.#isYielding = true
    this.#socket.pause()
    setImmediate(() => {
      this.#isYielding = false
      this.#turnBytes = 0
      if (!this.#isPaused) this.#socket.resume()
    })
  }

  #readBeginning(chunk: Buffer, listener: BulkListener): void {
    this.#beginning = Buffer.concat([this.#beginning, chunk])
    if (this.#beginning.length < beginBytes) return
    this.#hasBegun = true
    this.#socket.pause()
    const rest = this.#beginning.subarray(beginBytes)
    if (rest.length > 0) this.#socket.unshift(rest)
    listener.begins(this.#beginning.readDoubleBE())
  }

  pause(): void {
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (!this.#isYielding) this.#socket.resume()
  }

  /**
   * Nothing more will be written, and what comes is of no interest. The other side closes the connection when it has read
   * all: a kernel gives up what it still holds of one that was closed here, when its reader stands still for minutes.
   */
  finish(): void {
    this.#socket.end()
    // A sink that is full would pause it, and what nobody reads hides its end.
    this.#socket.removeAllListeners('data')
    this.#isPaused = false
    this.#socket.resume()
    if (this.#socket instanceof Socket) this.#socket.unref()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

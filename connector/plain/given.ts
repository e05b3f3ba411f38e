/**
 * A connection whose answer another parser is to read from its beginning, though some of that has been read: it shows
 * the octets again. The request went out before, so what is written goes nowhere; and since a parser takes what comes
 * before its request for unasked, nothing is shown until that has been written.
 */

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

export class GivenConnection extends Duplex {
  readonly #socket: Socket
  #first: Buffer | undefined
  #hasEnded = false

  /** The socket stands still. */
  constructor(socket: Socket, first: Buffer) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#first = first
    socket.on('data', (chunk: Buffer) => this.push(chunk) || socket.pause()).pause()
    socket.on('end', () => {
      this.#hasEnded = true
      this.push(null)
    })
    socket.on('error', error => this.destroy(error))
    // What came before its end may still have to be read.
    socket.on('close', () => this.#hasEnded || this.destroy())
  }

  override _write(_chunk: Buffer, _encoding: string, callback: () => void): void {
    const first = this.#first
    this.#first = undefined
    if (first && this.push(first)) this.#socket.resume()
    callback()
  }

  override _read(): void {
    if (this.#first === undefined) this.#socket.resume()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    // Not before it is closed, as with any socket: what was read until then goes on first.
    if (this.#socket.closed) callback(error)
    else this.#socket.once('close', () => callback(error)).destroy()
  }
}

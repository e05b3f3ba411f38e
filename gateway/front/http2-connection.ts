/**
 * The connection under a session of HTTP/2. Node's session does not give it out, and ends only when all that it writes has
 * been taken: with a client that reads nothing never, not even when that has gone.
 */

import type { TLSSocket } from 'node:tls'
import type { Awaited, Patience } from './patience.ts'

export class Http2Connection implements Awaited {
  readonly #socket: TLSSocket
  readonly #downloads: Patience
  /** What had been written when a stream was reset. */
  #bytesBefore: number | undefined

  constructor(socket: TLSSocket, downloads: Patience) {
    this.#socket = socket
    this.#downloads = downloads
    socket.once('close', () => downloads.delete(this))
  }

  get isClientsTurn(): boolean {
    return this.movedBytes === this.#bytesBefore
  }

  get movedBytes(): number {
    return this.#socket.bytesWritten
  }

  /** A stream is reset now; a connection by which not even that goes out is cut after a while. */
  resets(): void {
    if (this.isClientsTurn) return
    this.#bytesBefore = this.movedBytes
    this.#downloads.add(this)
  }

  stalled(): void {
    this.cut()
  }

  cut(): void {
    this.#socket.destroy()
  }
}

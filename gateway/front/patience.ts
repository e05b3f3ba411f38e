/**
 * How long clients may do nothing when it is their turn: to send the body that is awaited, or to take what has been
 * written. One sweep looks at what has moved since the last one; no timer is armed for a request.
 */

import type { Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Server as TlsServer } from 'node:tls'

/** In seconds. */
export const usualPatience = {
  /** For the head of a request, and between the start of a connection and its first request. */
  head: 15,
  /** Between two requests of a connection. */
  keepAlive: 65,
  /** For somebody who takes nothing of what was written. */
  download: 300,
}

export interface Awaited {
  readonly isClientsTurn: boolean
  /** Grows with every sign of life. */
  readonly movedBytes: number
  /** The client has done nothing for too long. Called once. */
  stalled(): void
}

const sweepMs = 1_000

/** After this silence TCP itself asks whether the client is still there: a WebSocket may say nothing for hours. */
const tcpKeepAliveMs = 30_000

export class Patience implements Disposable {
  readonly seconds: number
  readonly #awaited = new Map<Awaited, Standstill | undefined>()
  readonly #timer: NodeJS.Timeout

  constructor(seconds: number) {
    this.seconds = seconds
    this.#timer = setInterval(() => this.#sweep(performance.now()), sweepMs).unref()
  }

  add(awaited: Awaited): void {
    this.#awaited.set(awaited, undefined)
  }

  delete(awaited: Awaited): void {
    this.#awaited.delete(awaited)
  }

  #sweep(now: number): void {
    for (const [awaited, before] of this.#awaited) {
      const { isClientsTurn, movedBytes } = awaited
      if (!isClientsTurn) {
        if (before) this.#awaited.set(awaited, undefined)
      } else if (before?.movedBytes !== movedBytes) {
        this.#awaited.set(awaited, { movedBytes, since: now })
      } else if (now - before.since >= this.seconds * 1_000) {
        this.#awaited.delete(awaited)
        awaited.stalled()
      }
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

interface Standstill {
  readonly movedBytes: number
  readonly since: number
}

/** Whatever is written to a connection of HTTP/1.1, upgraded ones included, its client has to take. */
export function followConnections(server: NetServer, downloads: Patience): void {
  server.on(
    server instanceof TlsServer ? 'secureConnection' : 'connection',
    (socket: Socket & { alpnProtocol?: string | false }) => {
      socket.setKeepAlive(true, tcpKeepAliveMs)
      // Node's own HTTP/2 writes past the socket; http2.ts looks at its streams.
      if (socket.alpnProtocol !== 'h2') follow(socket, downloads)
    },
  )
}

/** Connections of connectors: how long an origin may take nothing is for the time-outs of its application to say. */
const spared = new WeakSet<Duplex>()

/** From here on this connection may take as long as it wants. */
export function spare(socket: Duplex): void {
  spared.add(socket)
}

function follow(socket: Socket, downloads: Patience): void {
  const reader: Awaited = {
    get isClientsTurn() {
      return socket.writableLength > 0 && !spared.has(socket)
    },
    get movedBytes() {
      return socket.bytesWritten - socket.writableLength
    },
    stalled: () => void socket.destroy(),
  }
  downloads.add(reader)
  socket.once('close', () => downloads.delete(reader))
}

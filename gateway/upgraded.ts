/**
 * A client's connection after the switch of protocols: two streams of bytes under credit, between the client's socket
 * and the bus. When it has to end from our side, a WebSocket client is told so with a Close frame, if what it has is
 * whole frames; any other protocol is broken off.
 */

import type { Duplex } from 'node:stream'
import { BodyReceiver } from '#infra/body-receiver.ts'
import { BodySender } from '#infra/body-sender.ts'
import { breakOff } from '#infra/break-off.ts'
import type { FaultCode } from '#infra/errors.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import { initialCreditBytes } from '#infra/wire.ts'
import { closeCodes, closeFrame, FrameBoundary } from './websocket.ts'

export interface UpgradedOptions {
  socket: Duplex
  /** What the client sent together with its request. */
  first: Buffer
  isWebSocket: boolean
  /** Puts a frame on the bus. */
  send: (frame: Buffer) => void
  budget: StreamBudget
  /** The client is gone: after both sides had said all (`isWhole`), and the origin is sent all of it, or before that. */
  onClosed: (isWhole: boolean) => void
}

/** A client that does not answer a Close frame in time is cut off. */
const closeTimeoutMs = 1_000

export class UpgradedConnection {
  readonly receiver: BodyReceiver
  readonly #sender: BodySender
  readonly #socket: Duplex
  readonly #frames: FrameBoundary | undefined

  constructor({ socket, first, isWebSocket, send, budget, onClosed }: UpgradedOptions) {
    this.#socket = socket
    this.#frames = isWebSocket ? new FrameBoundary() : undefined
    const sender = new BodySender({
      send,
      creditBytes: initialCreditBytes,
      onWritable: () => socket.resume(),
      onEnded: () => socket.closed && onClosed(true),
    })
    this.#sender = sender
    this.receiver = new BodyReceiver({
      budget,
      send,
      deliver: chunk => this.#toClient(chunk),
      onEnd: () => socket.end(),
    })
    socket.on('drain', () => this.receiver.drained())
    socket.on('data', (chunk: Buffer) => {
      if (!sender.write(chunk)) socket.pause()
    })
    socket.on('end', () => sender.end())
    socket.on('error', () => undefined)
    socket.once('close', () => {
      const isWhole = socket.readableEnded && this.receiver.isComplete && !socket.errored
      if (!isWhole) onClosed(false)
      else if (sender.hasSentEnd) onClosed(true)
    })
    if (first.length > 0) sender.write(first)
    // The client may have said its last word before anybody listened.
    if (socket.readableEnded) sender.end()
  }

  get sentBytes(): number {
    return this.#sender.sentBytes
  }

  get receivedBytes(): number {
    return this.receiver.receivedBytes
  }

  data(chunk: Buffer): void {
    this.receiver.data(chunk)
  }

  end(bodyBytes: number, trailers: readonly string[]): void {
    this.receiver.end(bodyBytes, trailers)
  }

  /** The connector takes so many more bytes. */
  credit(bytes: number): void {
    this.#sender.grant(bytes)
  }

  /**
   * Ends the connection: with a Close frame of this status for a WebSocket, else with a reset. So ends one of which a frame
   * is on its way: the rest of that will not come any more, and would not be for this client.
   */
  close(code: number, reason: string): void {
    if (!this.#frames?.isBetweenFrames) return breakOff(this.#socket)
    this.#socket.end(closeFrame(code, reason))
    setTimeout(() => this.#socket.destroy(), closeTimeoutMs).unref()
  }

  /** What the origin broke off ends as abruptly for the client; what we break off is explained. */
  fail(fault: FaultCode): void {
    switch (fault) {
      case 'session_revoked':
        return this.close(closeCodes.accessEnded, 'access has ended')
      case 'read_only':
        return this.close(closeCodes.readOnly, 'reading only')
      case 'site_veto':
        return this.close(closeCodes.siteVeto, 'refused by the site')
      case 'connector_lost':
      case 'bus_unavailable':
        return this.close(closeCodes.serviceRestart, 'connection lost, come again')
      case 'bad_request':
        // The client has been told by the connector what it did.
        return this.#end()
      default:
        breakOff(this.#socket)
    }
  }

  /** Ends the connection with what has been said so far. */
  #end(): void {
    this.#socket.end()
    setTimeout(() => this.#socket.destroy(), closeTimeoutMs).unref()
  }

  #toClient(chunk: Buffer): boolean {
    const hasRoom = this.#socket.write(chunk)
    this.#frames?.observe(chunk)
    return hasRoom
  }
}

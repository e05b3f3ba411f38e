/**
 * Connections past the bus, as this gateway offers them (infra/direct.ts). A key opens one connection, and is known to
 * the connector alone to whose private subject it was sent. Whoever comes with another key came to the wrong gateway, of
 * several behind one address, or for nothing.
 */

import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { directProtocol, directReady } from '#infra/direct.ts'
import { SallyportError } from '#infra/errors.ts'
import { headerValue } from '#infra/http.ts'
import { spare } from './front/patience.ts'
import type { EndpointVisit } from './visit.ts'

const keyBytes = 32
const readyWithinMs = 5_000

export interface DirectTaker {
  /** A connector has come with the key, and has not said yet that it is there: what it sends may overtake that. */
  coming(): void
  /** `first` has been read from the socket already; nothing more is read before it is resumed. */
  take(socket: Duplex, first: Buffer): void
  /** It has gone without saying so. */
  failed(): void
}

export class DirectOffers {
  readonly #offers = new Map<string, DirectTaker>()

  /** The key of a connection for this one. */
  offer(taker: DirectTaker): string {
    const key = randomBytes(keyBytes).toString('base64url')
    this.#offers.set(key, taker)
    return key
  }

  withdraw(key: string): void {
    this.#offers.delete(key)
  }

  /**
   * A key of nobody here is answered with 421 (RFC 9110 §15.5.20), which is nothing to record: it is usual where several
   * gateways share an address. @throws SallyportError `bad_request` for what asks for no such connection.
   */
  accept({ incoming, upgrade, res }: EndpointVisit): void {
    const [, key = ''] = /^Bearer ([\w-]+)$/.exec(authorizationOf(incoming.headers)) ?? []
    const taker = this.#offers.get(key)
    if (!taker) return res.sendWhole(421, 'Misdirected Request', [], Buffer.alloc(0))
    if (!upgrade || incoming.protocolUpgrade?.toLowerCase() !== directProtocol) {
      throw new SallyportError('bad_request', `Upgrade: ${directProtocol} is missing`)
    }
    this.#offers.delete(key)
    const { socket } = upgrade
    const first = upgrade.takeOver()
    res.closeConnection()
    spare(socket)
    socket.write(switching)
    if (first.length > 0) socket.unshift(first)
    awaitConnector(socket, taker)
  }
}

const switching = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${directProtocol}\r\n\r\n`

/** A connector that has given up waiting for the answer goes on over the bus, and nothing may go this way. */
function awaitConnector(socket: Duplex, taker: DirectTaker): void {
  taker.coming()
  const late = setTimeout(() => socket.destroy(), readyWithinMs)
  const gone = () => {
    clearTimeout(late)
    taker.failed()
  }
  socket.once('close', gone)
  socket.once('data', (said: Buffer) => {
    if (said[0] !== directReady[0]) return void socket.destroy()
    clearTimeout(late)
    socket.off('close', gone)
    socket.pause()
    taker.take(socket, said.subarray(1))
  })
}

const authorizationOf = (headers: readonly string[]) => headerValue(headers, 'authorization') ?? ''

/**
 * Connections of HTTP/2 to one origin. A connection serves once the origin has sent its settings: from then on it is
 * known to speak HTTP/2, and how many streams it takes at once. When all are full, or have been told to go away,
 * another one is opened.
 */

import { type ClientHttp2Session, connect } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { keepAliveTimeoutMs } from './origin.ts'
import { asOriginError, connectTimeoutDetail, OriginError } from './origin-error.ts'
import { tcpKeepAliveMs } from './own-connection.ts'

export interface OriginAddress {
  /** `https://host:port`, or `http://host:port` for HTTP/2 from the first byte (h2c). */
  readonly origin: string
  readonly verifiesCertificate: boolean
  readonly connectTimeoutMs: number
}

/** Whoever waits for a connection. */
export interface Waiting {
  connected(connection: Http2Connection): void
  failed(error: OriginError): void
}

const options = {
  settings: { enablePush: false, initialWindowSize: 256 * 1024, maxHeaderListSize: 64 * 1024 },
  maxHeaderListPairs: 2_000,
  strictSingleValueFields: false,
}
const connectionWindowBytes = 4 * 1024 * 1024

export class Http2Connections {
  readonly #address: OriginAddress
  readonly #open = new Set<Http2Connection>()

  constructor(address: OriginAddress) {
    this.#address = address
  }

  /** Gives a connection with room for one more stream, at once where there is one. */
  take(waiting: Waiting): void {
    for (const connection of this.#open) {
      if (connection.hasRoom) return waiting.connected(connection)
    }
    for (const connection of this.#open) {
      if (connection.isConnecting) return connection.wait(waiting)
    }
    const connection = new Http2Connection(this.#address, {
      ready: waiters => this.#ready(connection, waiters),
      gone: () => this.#open.delete(connection),
    })
    this.#open.add(connection)
    connection.wait(waiting)
  }

  /** The first takes it in any case; for the others there may have to be a further one. */
  #ready(connection: Http2Connection, [first, ...others]: readonly Waiting[]): void {
    first?.connected(connection)
    for (const waiting of others) this.take(waiting)
  }

  destroy(): void {
    for (const { session } of this.#open) session.destroy()
  }
}

interface Listener {
  ready(waiting: readonly Waiting[]): void
  gone(): void
}

export class Http2Connection {
  readonly session: ClientHttp2Session
  readonly #listener: Listener
  #waiting: Waiting[] | undefined = []
  #streams = 0
  #maxStreams = 1
  #error: Error | undefined

  constructor(address: OriginAddress, listener: Listener) {
    const { origin, verifiesCertificate, connectTimeoutMs } = address
    this.#listener = listener
    const session = connect(origin, { ...options, rejectUnauthorized: verifiesCertificate })
    this.session = session
    const late = setTimeout(
      () => session.destroy(tooLate(connectTimeoutDetail(connectTimeoutMs))),
      connectTimeoutMs,
    )
    session.once('connect', (_session, socket) => this.#connected(socket))
    session.on('remoteSettings', ({ maxConcurrentStreams = 100 }) => {
      clearTimeout(late)
      this.#maxStreams = maxConcurrentStreams
      this.#ready()
    })
    session.on('error', error => {
      this.#error = error
    })
    session.setTimeout(keepAliveTimeoutMs, () => this.#streams === 0 && session.close())
    session.once('close', () => {
      clearTimeout(late)
      this.#gone()
    })
  }

  get isConnecting(): boolean {
    return this.#waiting !== undefined
  }

  get hasRoom(): boolean {
    const { closed, destroyed } = this.session
    return !this.#waiting && !closed && !destroyed && this.#streams < this.#maxStreams
  }

  wait(waiting: Waiting): void {
    this.#waiting?.push(waiting)
  }

  /** Counts a stream; the returned function counts it out. */
  enter(): () => void {
    this.#streams++
    return () => this.#streams--
  }

  #connected(socket: Socket | TLSSocket): void {
    socket.setKeepAlive(true, tcpKeepAliveMs)
    const { alpnProtocol } = this.session
    if (alpnProtocol !== 'h2' && alpnProtocol !== 'h2c') {
      return this.session.destroy(new OriginError(...noHttp2))
    }
    this.session.setLocalWindowSize(connectionWindowBytes)
  }

  #ready(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting) this.#listener.ready(waiting)
  }

  #gone(): void {
    this.#listener.gone()
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    const { code, message } = asOriginError(this.#error ?? new Error('the connection was closed'))
    for (const one of waiting) one.failed(new OriginError(code, message, false))
  }
}

const tooLate = (detail: string) => new OriginError('origin_unreachable', detail, false)
const noHttp2 = ['origin_protocol_error', 'the origin does not offer HTTP/2', false] as const

/**
 * Connections of HTTP/2 to one destination. A connection serves once the origin has sent its settings: from then on it is
 * known to speak HTTP/2, and how many streams it takes at once. When all are full, or have been told to go away,
 * another one is opened.
 */

import { type ClientHttp2Session, connect } from 'node:http2'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Destination } from './destination.ts'
import type { Dialer } from './dial.ts'
import { asOriginError, connectTimeoutDetail, OriginError } from './origin-error.ts'
import { keepAliveTimeoutMs } from './origin-pool.ts'

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

/** A connection by which nothing has gone out for so long, although a request waits, gets no further ones … */
const blockedMs = 1_000
/** … and is cut after this time. */
const cutMs = 300_000

const dialOptions = { protocols: ['h2'] }

export class Http2Connections {
  readonly #dialer: Dialer
  readonly #destination: Destination
  readonly #keepAliveMs: number
  readonly #open = new Set<Http2Connection>()

  /** Without TLS it is HTTP/2 from the first byte (h2c). */
  constructor(dialer: Dialer, destination: Destination, keepAliveMs = keepAliveTimeoutMs) {
    this.#dialer = dialer
    this.#destination = destination
    this.#keepAliveMs = keepAliveMs
  }

  /** Gives a connection with room for one more stream, at once where there is one. */
  take(waiting: Waiting): void {
    for (const connection of this.#open) {
      if (connection.hasRoom) return waiting.connected(connection)
    }
    for (const connection of this.#open) {
      if (connection.isConnecting) return connection.wait(waiting)
    }
    const connection = new Http2Connection(this.#destination, this.#keepAliveMs, {
      ready: waiters => this.#ready(connection, waiters),
      gone: () => this.#open.delete(connection),
    })
    this.#open.add(connection)
    connection.wait(waiting)
    connection.connect(this.#dialer)
  }

  /** The first takes it in any case; for the others there may have to be a further one. */
  #ready(connection: Http2Connection, [first, ...others]: readonly Waiting[]): void {
    first?.connected(connection)
    for (const waiting of others) this.take(waiting)
  }

  destroy(): void {
    for (const connection of this.#open) connection.destroy()
  }
}

interface Listener {
  ready(waiting: readonly Waiting[]): void
  gone(): void
}

export class Http2Connection {
  readonly #destination: Destination
  readonly #keepAliveMs: number
  readonly #listener: Listener
  readonly #late: NodeJS.Timeout
  #socket: Socket | undefined
  #session: ClientHttp2Session | undefined
  #watch: NodeJS.Timeout | undefined
  #isBlocked = false
  #waiting: Waiting[] | undefined = []
  #streams = 0
  #maxStreams = 1
  #giveUp: (() => void) | undefined
  #error: Error | undefined

  constructor(destination: Destination, keepAliveMs: number, listener: Listener) {
    this.#destination = destination
    this.#keepAliveMs = keepAliveMs
    this.#listener = listener
    const { connectTimeoutMs } = destination
    const detail = connectTimeoutDetail(connectTimeoutMs)
    this.#late = setTimeout(() => this.#fail(tooLate(detail)), connectTimeoutMs)
  }

  connect(dialer: Dialer): void {
    this.#giveUp = dialer.dial(this.#destination, dialOptions, {
      connected: socket => this.#connected(socket),
      failed: error => this.#fail(error),
    })
  }

  /** There is one as soon as it does not connect any more. */
  get session(): ClientHttp2Session {
    if (!this.#session) throw new TypeError('not connected')
    return this.#session
  }

  get isConnecting(): boolean {
    return this.#waiting !== undefined
  }

  get hasRoom(): boolean {
    if (this.#waiting || !this.#session || this.#isBlocked) return false
    const { closed, destroyed } = this.#session
    return !closed && !destroyed && this.#streams < this.#maxStreams
  }

  wait(waiting: Waiting): void {
    this.#waiting?.push(waiting)
  }

  /** Counts a stream; the returned function counts it out. */
  enter(): () => void {
    this.#streams++
    this.#watchWrites(this.#socket?.bytesWritten, performance.now())
    return () => {
      this.#streams--
      // A reset alone is no activity to Node.
      this.#session?.setTimeout(this.#keepAliveMs)
    }
  }

  destroy(): void {
    this.#fail(new Error('the connection was closed'))
  }

  /**
   * Node stops reading while it cannot write, and drops the error of a write under way when more is to be written: a
   * connection that the origin has cut may look open, and an origin that does not read may never do so again.
   */
  #watchWrites(bytes: number | undefined, since: number): void {
    this.#watch ??= setTimeout(() => {
      this.#watch = undefined
      this.#isBlocked = this.#socket?.bytesWritten === bytes && this.#streams > 0
      if (!this.#isBlocked) return
      if (performance.now() - since > cutMs) this.#socket?.destroy()
      else this.#watchWrites(bytes, since)
    }, blockedMs).unref()
  }

  #connected(socket: Socket): void {
    this.#socket = socket
    if (socket instanceof TLSSocket && socket.alpnProtocol !== 'h2') {
      socket.destroy()
      return this.#fail(new OriginError(...noHttp2))
    }
    const session = connect(this.#destination.origin, {
      ...options,
      createConnection: () => socket,
    })
    this.#session = session
    session.once('connect', () => session.setLocalWindowSize(connectionWindowBytes))
    session.on('remoteSettings', ({ maxConcurrentStreams = 100 }) => {
      clearTimeout(this.#late)
      this.#maxStreams = maxConcurrentStreams
      this.#ready()
    })
    session.on('error', error => {
      this.#error = error
    })
    session.setTimeout(this.#keepAliveMs)
    // Given to setTimeout it would be called once, and not again when a stream was open then.
    session.on('timeout', () => this.#streams === 0 && session.close())
    session.once('close', () => this.#gone())
  }

  #fail(error: Error): void {
    this.#error = error
    if (this.#session) return void this.#session.destroy(error)
    this.#giveUp?.()
    this.#gone()
  }

  #ready(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting) this.#listener.ready(waiting)
  }

  #gone(): void {
    clearTimeout(this.#late)
    clearTimeout(this.#watch)
    this.#listener.gone()
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    const { code, message } = asOriginError(this.#error ?? new Error('the connection was closed'))
    for (const one of waiting) one.failed(new OriginError(code, message, false))
  }
}

const tooLate = (detail: string) => new OriginError('origin_unreachable', detail, false)
const noHttp2 = ['origin_protocol_error', 'the origin does not offer HTTP/2', false] as const

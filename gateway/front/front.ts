/**
 * The listening socket: plain TCP for HTTP/1.1, or TLS with ALPN. A TLS client that negotiated `h2` speaks HTTP/2,
 * everybody else HTTP/1.1. HTTP/2 over plain TCP is not offered: browsers do not speak it. Of HTTP/1.1 the first two
 * octets tell whether Node's parser can read it; as long as requests are plain, it need not.
 */

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Server as NetServer, type Socket } from 'node:net'
import { type TLSSocket, type TlsOptions, Server as TlsServer } from 'node:tls'
import { problemMessage } from '../problem.ts'
import type { Certificate } from './certificate.ts'
import type { RequestListener } from './client.ts'
import { FirstBytes } from './first-bytes.ts'
import { createHttp1Server, type Http1Server } from './http1.ts'
import { createHttp2Front, type Http2Front } from './http2.ts'
import { listen } from './listen.ts'
import { followConnections, Patience, usualPatience } from './patience.ts'
import { PlainConnections } from './plain.ts'
import { createRawFront, type RawFront } from './raw.ts'
import type { Refusal } from './unreadable.ts'

export interface FrontOptions {
  listener: RequestListener
  /** The answer to what could not be read. */
  refusal?: Refusal
  /** Without one it speaks HTTP/1.1 over plain TCP. */
  certificate?: Certificate | undefined
  /** With clients that are slow, in seconds. */
  patience?: Partial<typeof usualPatience>
}

export interface Front {
  /** Gets every TCP connection, before any TLS. */
  readonly server: NetServer
  /** Resolves with the port, which may be shared with other workers. */
  listen(host: string, port: number, isShared?: boolean): Promise<number>
  /** Takes no new connection; resolves when the requests under way and their connections have ended. */
  close(): Promise<void>
  /** Cuts every connection. */
  destroy(): void
}

const idleSweepMs = 100

/** After it has stopped to listen, requests that are already on their way are still answered for so long. */
const lastRequestsMs = 500

const tlsOptions = {
  ALPNProtocols: ['h2', 'http/1.1'],
  minVersion: 'TLSv1.2',
  handshakeTimeout: 10_000,
} satisfies TlsOptions

interface Parts {
  readonly http1: Http1Server
  readonly http2: Http2Front | undefined
  readonly raw: RawFront
  readonly plain: PlainConnections
  readonly firstBytes: FirstBytes
}

const usualRefusal: Refusal = fault => problemMessage(fault, randomUUID())

export function createFront({ listener, certificate, ...options }: FrontOptions): Front {
  const refusal = options.refusal ?? usualRefusal
  const tls = certificate && { ...tlsOptions, ...certificate.current }
  const http1 = createHttp1Server(listener, refusal, tls)
  const patience = { ...usualPatience, ...options.patience }
  const downloads = new Patience(patience.download)
  const http2 = certificate && createHttp2Front(listener, { patience, downloads })
  http1.headersTimeout = patience.head * 1_000
  http1.keepAliveTimeout = patience.keepAlive * 1_000
  const raw = createRawFront(listener, { refusal, headSeconds: patience.head })
  const { plain, firstBytes } = shareConnections({ http1, http2, raw, listener, patience })
  followConnections(http1, downloads)
  certificate?.onChange(pair => {
    if (http1 instanceof TlsServer) http1.setSecureContext({ ...tlsOptions, ...pair })
  })
  return {
    server: http1,
    listen: (host, port, isShared) => listen(http1, host, port, isShared),
    close: () =>
      close({ http1, http2, raw, plain, firstBytes }).finally(() => downloads[Symbol.dispose]()),
    destroy() {
      http2?.destroy()
      raw.close()
      plain.destroy()
      http1.closeAllConnections()
    },
  }
}

interface Readers extends Pick<Parts, 'http1' | 'http2' | 'raw'> {
  listener: RequestListener
  patience: typeof usualPatience
}

/** Each connection goes to whoever can read it: by the protocol that was negotiated, then by its first bytes. */
function shareConnections(readers: Readers): Pick<Parts, 'plain' | 'firstBytes'> {
  const { http1, http2, raw, listener, patience } = readers
  const event = http1 instanceof TlsServer ? 'secureConnection' : 'connection'
  const serveHttp1 = http1.listeners(event)
  http1.removeAllListeners(event)
  const plain = new PlainConnections({
    listener,
    keepAliveSeconds: patience.keepAlive,
    isOpen: () => http1.listening,
    handOver(socket, octets) {
      for (const serve of serveHttp1) serve.call(http1, socket)
      // The reader listens before it is given back what was read.
      socket.unshift(octets)
    },
  })
  const firstBytes = new FirstBytes({
    silenceSeconds: patience.head,
    ordinary: (socket, first) => plain.accept(socket, first),
    raw: (socket, first) => raw.accept(socket, first),
  })
  http1.on(event, (socket: Socket) => {
    if (http2 && (socket as TLSSocket).alpnProtocol === 'h2') http2.accept(socket as TLSSocket)
    else firstBytes.accept(socket)
  })
  return { plain, firstBytes }
}

async function close({ http1, http2, raw, plain, firstBytes }: Parts): Promise<void> {
  const closed = once(http1, 'close')
  // The close of HTTP would cut idle connections at once, and with them whatever has just been sent on one. Each is told
  // with its next answer that there will be no other.
  NetServer.prototype.close.call(http1)
  http2?.close()
  let sweeper: NodeJS.Timeout | undefined
  const last = setTimeout(() => {
    firstBytes.close()
    raw.close()
    const closeIdle = () => {
      plain.closeIdle()
      http1.closeIdleConnections()
    }
    closeIdle()
    // One that becomes idle only now is of no more use either.
    sweeper = setInterval(closeIdle, idleSweepMs)
  }, lastRequestsMs)
  await closed
  clearTimeout(last)
  clearInterval(sweeper)
  firstBytes.close()
  plain[Symbol.dispose]()
}

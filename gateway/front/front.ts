/**
 * The listening socket: plain TCP for HTTP/1.1, or TLS with ALPN. A TLS client that negotiated `h2` speaks HTTP/2,
 * everybody else HTTP/1.1. HTTP/2 over plain TCP is not offered: browsers do not speak it.
 */

import { once } from 'node:events'
import type { AddressInfo, Server as NetServer } from 'node:net'
import { type TLSSocket, type TlsOptions, Server as TlsServer } from 'node:tls'
import { SallyportError } from '#infra/errors.ts'
import type { Certificate } from './certificate.ts'
import type { RequestListener } from './client.ts'
import { createHttp1Server, type Http1Server } from './http1.ts'
import { createHttp2Front, type Http2Front } from './http2.ts'

export interface FrontOptions {
  listener: RequestListener
  /** Without one it speaks HTTP/1.1 over plain TCP. */
  certificate?: Certificate | undefined
}

export interface Front {
  /** Gets every TCP connection, before any TLS. */
  readonly server: NetServer
  /** Resolves with the port. */
  listen(host: string, port: number): Promise<number>
  /** Takes no new connection; resolves when the requests under way and their connections have ended. */
  close(): Promise<void>
  /** Cuts every connection. */
  destroy(): void
}

const backlog = 4_096
const idleSweepMs = 100

const tlsOptions = {
  ALPNProtocols: ['h2', 'http/1.1'],
  minVersion: 'TLSv1.2',
  handshakeTimeout: 10_000,
} satisfies TlsOptions

export function createFront({ listener, certificate }: FrontOptions): Front {
  const tls = certificate && { ...tlsOptions, ...certificate.current }
  const http1 = createHttp1Server(listener, tls)
  const http2 = certificate && createHttp2Front(listener)
  if (http1 instanceof TlsServer && http2) shareConnections(http1, http2)
  certificate?.onChange(pair => {
    if (http1 instanceof TlsServer) http1.setSecureContext({ ...tlsOptions, ...pair })
  })
  return {
    server: http1,
    listen: (host, port) => listen(http1, host, port),
    close: () => close(http1, http2),
    destroy() {
      http2?.destroy()
      http1.closeAllConnections()
    },
  }
}

/** Each TLS connection goes to the server whose protocol was negotiated. */
function shareConnections(http1: TlsServer, http2: Http2Front): void {
  const serveHttp1 = http1.listeners('secureConnection')
  http1.removeAllListeners('secureConnection')
  http1.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === 'h2') http2.accept(socket)
    else for (const serve of serveHttp1) serve.call(http1, socket)
  })
}

async function listen(server: NetServer, host: string, port: number): Promise<number> {
  server.listen({ host, port, backlog })
  try {
    await once(server, 'listening')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const reason =
      code === 'EADDRINUSE' ? 'another program uses this port' : (code ?? 'unknown error')
    throw new SallyportError('internal', `cannot listen on ${host}:${port}: ${reason}`, { cause })
  }
  return (server.address() as AddressInfo).port
}

async function close(http1: Http1Server, http2: Http2Front | undefined) {
  const closed = once(http1, 'close')
  http1.close()
  http2?.close()
  // One that becomes idle only now is of no more use either.
  const sweeper = setInterval(() => http1.closeIdleConnections(), idleSweepMs)
  http1.closeIdleConnections()
  await closed
  clearInterval(sweeper)
}

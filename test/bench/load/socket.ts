/** Bare sockets and the text of requests, for what wrk and node:http cannot do. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Target } from '../targets/target.ts'

/** Connected, with TLS where the target speaks it. Its certificate is one of the bench's own and is not checked. */
export async function openSocket({
  port,
  isSecure,
}: Pick<Target, 'port' | 'isSecure'>): Promise<Socket> {
  const place = { port, host: '127.0.0.1' }
  if (isSecure) {
    const socket = connectTls({ ...place, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
    await once(socket, 'secureConnect')
    return socket.setNoDelay()
  }
  const socket = connect({ ...place, noDelay: true })
  await once(socket, 'connect')
  return socket
}

/** The head of a request. */
export function requestText(
  target: Target,
  method: string,
  path: string,
  more: Record<string, string> = {},
): string {
  const headers = { Host: `127.0.0.1:${target.port}`, ...target.headers, ...more }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}

export interface Answer {
  readonly status: string
  readonly bodyBytes: number
  /** Of what came first: the head, and what of the body came with it. */
  readonly text: string
}

/** A whole answer by its Content-Length, and then the end of the connection. The body is counted, not kept. */
export async function readAnswer(socket: Socket): Promise<Answer> {
  let first = ''
  let bodyBytes = 0
  let expected = Number.POSITIVE_INFINITY
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    if (expected === Number.POSITIVE_INFINITY) {
      first += chunk.toString('latin1')
      const headEnd = first.indexOf('\r\n\r\n')
      if (headEnd < 0) continue
      expected = Number(/\r\ncontent-length: *(\d+)/i.exec(first)?.[1] ?? Number.NaN)
      bodyBytes = first.length - headEnd - 4
    } else bodyBytes += chunk.length
    if (bodyBytes >= expected) break
  }
  socket.destroy()
  return { status: first.split('\r\n')[0] ?? '', bodyBytes, text: first }
}

/** The status line, once it has come. The rest is left unread. */
export async function statusLine(socket: Socket): Promise<string> {
  await once(socket, 'readable')
  const received: Buffer | null = socket.read()
  if (received === null) throw new Error('the connection ended before an answer')
  socket.unshift(received)
  return received.toString('latin1').split('\r\n')[0] ?? ''
}

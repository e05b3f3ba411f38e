/**
 * An HTTP client for tests of HTTP itself: headers in order and with duplicates, bodies as streams, connections that
 * the test holds, bytes that no library would send. Every request ends within a bound, or the test fails by it.
 */

import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { type Digest, digestOfStream } from './bodies.ts'
import { pairsOf } from './origin.ts'
import type { Visitor } from './visitor.ts'

export interface SendOptions {
  method?: string
  /** After Host and Cookie of the visitor, in this order. */
  headers?: readonly (readonly [string, string])[]
  /** A buffer goes with a Content-Length, a stream chunked unless `bytes` says its length. */
  body?: Buffer | Readable
  bytes?: number
  signal?: AbortSignal
  /** After which it counts as hanging. */
  limitMs?: number
  agent?: http.Agent | false
  /** Gets the request before it is sent. */
  prepare?: (request: ClientRequest) => void
}

/** The head of an answer, whose body is read as it comes. */
export interface Opened {
  readonly status: number
  readonly headers: readonly [string, string][]
  header(name: string): string | undefined
  /** All values, in order. */
  all(name: string): string[]
  readonly stream: IncomingMessage
  readonly request: ClientRequest
}

export interface Whole extends Omit<Opened, 'stream' | 'request'> {
  readonly body: Buffer
  readonly text: string
  /** The body as JSON. */
  json<T = Record<string, unknown>>(): T
  readonly trailers: readonly [string, string][]
}

/** Longer than anything may take. */
const hangsAfterMs = 15_000

/** Speaks to one gateway with one visitor's Host and cookies. */
export class Client implements Disposable {
  readonly gateway: URL
  readonly #visitor: Pick<Visitor, 'headers'>
  readonly #agent = new http.Agent({ keepAlive: true })

  constructor(gateway: string, visitor: Pick<Visitor, 'headers'>) {
    this.gateway = new URL(gateway)
    this.#visitor = visitor
  }

  async open(path: string, options: SendOptions = {}): Promise<Opened> {
    const request = this.start(path, options)
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    request.once('response', resolve).once('error', reject)
    return opened(request, await promise)
  }

  /** One request and its whole answer; an answer that breaks off is an error. */
  async send(path: string, options: SendOptions = {}): Promise<Whole> {
    const { stream, request: _, ...answer } = await this.open(path, options)
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const text = body.toString()
    const trailers = pairsOf(stream.rawTrailers)
    return { ...answer, body, text, json: () => JSON.parse(text), trailers }
  }

  /** One request and what its body amounts to. */
  async digest(path: string, options: SendOptions = {}): Promise<Digest> {
    return digestOfStream((await this.open(path, options)).stream)
  }

  /** Sends a request of which the test follows the events itself. */
  start(path: string, options: SendOptions = {}): ClientRequest {
    const { body, bytes, method = body ? 'POST' : 'GET', signal, agent, prepare } = options
    const length = Buffer.isBuffer(body) ? body.length : bytes
    const ours = Object.entries(this.#visitor.headers)
    const framing: [string, string][] = body
      ? [length === undefined ? ['Transfer-Encoding', 'chunked'] : ['Content-Length', `${length}`]]
      : []
    const limit = AbortSignal.timeout(options.limitMs ?? hangsAfterMs)
    const request = http.request(this.gateway, {
      path,
      method,
      headers: [...ours, ...(options.headers ?? []), ...framing].flat(),
      agent: agent ?? this.#agent,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    })
    request.on('error', () => undefined)
    prepare?.(request)
    if (Buffer.isBuffer(body) || body === undefined) request.end(body)
    else body.once('close', () => body.readableEnded || request.destroy()).pipe(request)
    return request
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }
}

function opened(request: ClientRequest, stream: IncomingMessage): Opened {
  const headers = pairsOf(stream.rawHeaders)
  const all = (name: string) =>
    headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
  return {
    status: stream.statusCode ?? 0,
    headers,
    header: name => all(name)[0],
    all,
    stream,
    request,
  }
}

/** A connection that speaks in bytes. */
export interface RawConnection extends Disposable {
  readonly socket: Socket
  /** Everything that has arrived so far. */
  readonly received: string
  write(text: string): void
  /** Resolves when what has arrived matches. */
  until(pattern: RegExp): Promise<string>
  /** Everything, once the other side has closed. */
  readonly closed: Promise<string>
}

export async function connectRaw(gateway: string): Promise<RawConnection> {
  const { port } = new URL(gateway)
  const socket = connect({ port: Number(port), host: '127.0.0.1' })
  let received = ''
  socket.on('data', chunk => {
    received += chunk.toString('latin1')
  })
  socket.on('error', () => undefined)
  const closed = new Promise<string>(resolve => socket.once('close', () => resolve(received)))
  await new Promise(resolve => socket.once('connect', resolve))
  const until = (pattern: RegExp) =>
    new Promise<string>((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`no ${pattern} in: ${received}`)),
        hangsAfterMs,
      )
      const look = () => {
        if (!pattern.test(received)) return
        clearTimeout(late)
        socket.off('data', look)
        resolve(received)
      }
      socket.on('data', look)
      look()
    })
  return {
    socket,
    get received() {
      return received
    },
    write: text => void socket.write(text, 'latin1'),
    until,
    closed,
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

/** Sends bytes and answers everything that comes back until the other side closes. */
export async function exchangeRaw(gateway: string, text: string): Promise<string> {
  using connection = await connectRaw(gateway)
  connection.write(text)
  const late = setTimeout(() => connection.socket.destroy(), hangsAfterMs)
  const answer = await connection.closed
  clearTimeout(late)
  return answer
}

/**
 * A client of HTTP/2 for tests: one connection, whose streams the test follows one by one. Everything ends within a
 * bound, or the test fails by it.
 */

import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  connect,
  constants,
  type SecureClientSessionOptions,
} from 'node:http2'
import { connect as connectTls } from 'node:tls'
import { pairsOf } from './origin.ts'

export interface Http2Options extends SecureClientSessionOptions {
  /** `https://127.0.0.1:PORT` */
  gateway: string
  ca: string
  /** Name of the application, or the portal. */
  host: string
  /** Go with every request. */
  headers?: Readonly<Record<string, string>>
}

export interface Http2Answer {
  readonly status: number
  readonly headers: readonly [string, string][]
  header(name: string): string | undefined
  all(name: string): string[]
  readonly body: Buffer
  readonly text: string
  readonly trailers: readonly [string, string][]
  /** Of the stream: zero unless it was reset with an error. */
  readonly code: number
}

export interface Http2Send extends ClientSessionRequestOptions {
  /** Also pseudo-headers; lists for several fields of a name. */
  headers?: Readonly<Record<string, string | string[]>>
  body?: Buffer
}

const hangsAfterMs = 15_000

export class Http2Client implements Disposable {
  readonly session: ClientHttp2Session
  readonly #options: Http2Options
  readonly authority: string
  /** Resolves with the code and the last stream of the server's GOAWAY. */
  readonly goneAway: Promise<{ code: number; lastStreamId: number }>

  constructor(options: Http2Options) {
    this.#options = options
    const { port } = new URL(options.gateway)
    this.authority = `${options.host}.sallyport.localhost:${port}`
    const servername = `${options.host}.sallyport.localhost`
    const socket = () =>
      connectTls({
        port: Number(port),
        host: '127.0.0.1',
        ca: options.ca,
        servername,
        ALPNProtocols: ['h2'],
      })
    this.session = connect(`https://${this.authority}`, { createConnection: socket, ...options })
    this.session.on('error', () => undefined)
    this.goneAway = new Promise(resolve =>
      this.session.once('goaway', (code, lastStreamId) => resolve({ code, lastStreamId })),
    )
  }

  /** Opens a stream. Without a body, and unless `endStream` says otherwise, the request is complete. */
  start(path: string, { headers, body, ...options }: Http2Send = {}): ClientHttp2Stream {
    const all = { ':path': path, ...this.#options.headers, ...headers }
    const stream = this.session.request(all, { endStream: body === undefined, ...options })
    stream.on('error', () => undefined)
    stream.setTimeout(hangsAfterMs, () => stream.close(constants.NGHTTP2_CANCEL))
    if (body) stream.end(body)
    return stream
  }

  /** One request and its whole answer; one that broke off has a code. */
  send(path: string, options: Http2Send = {}): Promise<Http2Answer> {
    return answerOf(this.start(path, options))
  }

  [Symbol.dispose](): void {
    this.session.destroy()
  }
}

/** The head of an answer. */
export async function headOf(stream: ClientHttp2Stream) {
  const [, , raw] = (await once(stream, 'response')) as [unknown, number, string[]]
  return readHead(pairsOf(raw))
}

/** Waits until the stream is closed. One that was reset while it still sends is never closed by Node's client. */
export async function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  const chunks: Buffer[] = []
  let head: [string, string][] = []
  let trailers: [string, string][] = []
  stream.on('response', (_headers, _flags, raw) => {
    head = pairsOf(raw)
  })
  stream.on('trailers', (_headers, _flags, raw) => {
    trailers = pairsOf(raw)
  })
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await new Promise(resolve => {
    stream.once('close', resolve)
    stream.once('end', () => stream.closed && resolve(undefined))
  })
  const body = Buffer.concat(chunks)
  return { ...readHead(head), body, text: body.toString(), trailers, code: stream.rstCode ?? 0 }
}

function readHead(pairs: [string, string][]) {
  const headers = pairs.filter(([name]) => !name.startsWith(':'))
  const all = (name: string) => headers.filter(([key]) => key === name).map(([, value]) => value)
  const status = Number(pairs.find(([name]) => name === ':status')?.[1] ?? 0)
  return { status, headers, all, header: (name: string) => all(name)[0] }
}

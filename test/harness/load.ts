/**
 * Many requests of one session, spread over the gateways as a load balancer does it: round robin, connections kept
 * alive. A GET whose kept connection was closed before a byte came back goes out once more (RFC 9112 §9.3.1), which is
 * what every browser and balancer does; nothing else is repeated. Each reply says how it went, none of it throws.
 */

import http, { type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { numberHeader } from './counting-origin.ts'

export interface LoadOptions {
  /** Where to connect now; asked again for every request. */
  gateways: () => readonly string[]
  /** Host and cookies of the session. */
  headers: Readonly<Record<string, string>>
  /** Requests under way at once. */
  concurrency?: number
  /** So many requests, or as many as go until `signal` aborts. */
  count?: number
  signal?: AbortSignal
  /** Default: GET of `/`. */
  request?: (number: number) => { method: string; path: string; body?: string }
  onReply?: (reply: Reply) => void
  /**
   * As a load balancer for TCP: a gateway that takes no connection is passed over, and whatever has been sent is never
   * sent again.
   */
  isBalancer?: boolean
}

export interface Reply {
  readonly number: number
  readonly method: string
  /** Unix time in ms. */
  readonly startedAtMs: number
  readonly ms: number
  /** Undefined when no whole answer came. */
  readonly status?: number
  /** Fault code of a problem that Sallyport reported. */
  readonly code?: string
  readonly retryAfter?: string
  /** As it stands in the audit. */
  readonly requestId?: string
  /** Why no whole answer came. */
  readonly error?: string
}

type Outcome = Pick<Reply, 'status' | 'code' | 'retryAfter' | 'requestId' | 'error'>

/** Longer than anything may take. */
const hangsAfterMs = 20_000

/** Sends requests until they are all answered. */
export async function drive(options: LoadOptions): Promise<Reply[]> {
  const { concurrency = 16, count = Number.POSITIVE_INFINITY, signal, onReply } = options
  using load = new Load(options)
  const replies: Reply[] = []
  let next = 0
  const worker = async () => {
    while (next < count && !signal?.aborted) {
      const reply = await load.send(next++)
      replies.push(reply)
      onReply?.(reply)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return replies
}

/** Requests without end, until `stop`. */
export interface Driving extends AsyncDisposable {
  readonly replies: readonly Reply[]
  /** Resolves when so many more have been answered. */
  untilAnswered(count: number): Promise<void>
  /** Lets those under way finish, and gives all replies. */
  stop(): Promise<Reply[]>
}

export function startDriving(options: Omit<LoadOptions, 'count' | 'signal'>): Driving {
  const stopping = new AbortController()
  const replies: Reply[] = []
  const waiting = new Map<() => void, number>()
  const done = drive({
    ...options,
    signal: stopping.signal,
    onReply: reply => {
      replies.push(reply)
      for (const [resolve, count] of waiting) if (replies.length >= count) resolve()
    },
  })
  const stop = () => {
    stopping.abort()
    return done
  }
  return {
    replies,
    untilAnswered: async count => {
      const { promise, resolve } = Promise.withResolvers<void>()
      waiting.set(resolve, replies.length + count)
      await promise
      waiting.delete(resolve)
    },
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  }
}

/** Replies that are not what the origin says, in short, for messages. */
export function failures(replies: readonly Reply[]): string[] {
  return replies
    .filter(({ status }) => status !== 200)
    .map(
      ({ method, number, status, code, error, ms }) =>
        `${method} ${number}: ${status ?? ''} ${code ?? error ?? ''} after ${Math.round(ms)} ms`,
    )
}

export function medianMs(replies: readonly Reply[]): number {
  const sorted = replies.map(({ ms }) => ms).toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

let loads = 0

class Load implements Disposable {
  readonly #options: LoadOptions
  readonly #agent = new http.Agent({ keepAlive: true })
  /** Numbers of different loads must not meet at one origin. */
  readonly #base = ++loads * 1_000_000
  #turn = 0

  constructor(options: LoadOptions) {
    this.#options = options
  }

  async send(index: number): Promise<Reply> {
    const number = this.#base + index
    const { method, path, body } = this.#options.request?.(number) ?? { method: 'GET', path: '/' }
    const startedAtMs = Date.now()
    const started = performance.now()
    const mayRepeat = method === 'GET' && !this.#options.isBalancer
    const outcome = await this.#attempt(number, { method, path, body }, mayRepeat)
    return { number, method, startedAtMs, ms: performance.now() - started, ...outcome }
  }

  async #attempt(
    number: number,
    asked: { method: string; path: string; body: string | undefined },
    mayRepeat: boolean,
    refusedBy: readonly string[] = [],
  ): Promise<Outcome> {
    const gateways = this.#options.gateways().filter(one => !refusedBy.includes(one))
    const gateway = gateways[this.#turn++ % gateways.length] as string
    const url = new URL(asked.path, gateway)
    const request = http.request(url, {
      method: asked.method,
      agent: this.#agent,
      headers: { ...this.#options.headers, [numberHeader]: `${number}` },
      signal: AbortSignal.timeout(hangsAfterMs),
    })
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    request.once('response', resolve).on('error', reject).end(asked.body)
    let response: IncomingMessage
    try {
      response = await promise
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException
      const wasKept = request.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(code)
      if (mayRepeat && wasKept) return this.#attempt(number, asked, false)
      const isUnsent = this.#options.isBalancer && code === 'ECONNREFUSED'
      const [, ...others] = gateways
      if (isUnsent && others.length > 0)
        return this.#attempt(number, asked, false, [...refusedBy, gateway])
      return { error: `no answer: ${code || message}` }
    }
    return read(response, number)
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }
}

async function read(response: IncomingMessage, number: number): Promise<Outcome> {
  const { statusCode: status = 0, headers } = response
  const requestId = String(headers['sallyport-request-id'])
  let body: string
  try {
    body = await text(response)
  } catch (error) {
    return { requestId, error: `cut off: ${(error as Error).message}` }
  }
  if (status !== 200) {
    const retryAfter = headers['retry-after']
    return { requestId, status, code: codeOf(body), ...(retryAfter && { retryAfter }) }
  }
  const isItsOwn = body.includes(`"number":"${number}"`)
  if (!isItsOwn) return { requestId, error: `another's answer: ${body.slice(0, 100)}` }
  return { requestId, status }
}

function codeOf(body: string): string {
  return /"code":"(\w+)"/.exec(body)?.[1] ?? body.slice(0, 100)
}

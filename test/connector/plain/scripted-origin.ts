/** An origin that answers octets, and what a connector makes of them: with plain exchanges, or by the client library alone. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createDialer } from '../../../connector/dial.ts'
import {
  createOrigins,
  type OriginControl,
  type OriginRequest,
  type OriginSink,
} from '../../../connector/origin.ts'
import { application } from '../../harness/application.ts'

/** Gets each request that is complete, and the how manieth it is on its connection. */
export type Script = (socket: Socket, request: string, turn: number) => unknown

export interface ScriptedOrigin extends Disposable {
  readonly url: string
  /** Whole, as they came. */
  readonly requests: readonly string[]
  /** Of all that have been made, those that are open. */
  readonly open: ReadonlySet<Socket>
  readonly made: number
  script: Script
}

export async function startScripted(script: Script): Promise<ScriptedOrigin> {
  const requests: string[] = []
  const open = new Set<Socket>()
  const server = createServer(socket => {
    origin.made++
    open.add(socket)
    socket.on('error', () => undefined).on('close', () => open.delete(socket))
    let held = ''
    let turn = 0
    socket.on('data', chunk => {
      held += chunk.toString('latin1')
      for (let whole = wholeOf(held); whole; whole = wholeOf(held)) {
        held = held.slice(whole.length)
        requests.push(whole)
        origin.script(socket, whole, turn++)
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    requests,
    open,
    made: 0,
    script,
    [Symbol.dispose]() {
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
  return origin
}

function wholeOf(text: string): string | undefined {
  const end = text.indexOf('\r\n\r\n') + 4
  const bytes = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
  return end > 3 && text.length >= end + bytes ? text.slice(0, end + bytes) : undefined
}

export interface Heard extends PromiseLike<void> {
  /** In order; neighbouring data as one. */
  readonly events: unknown[][]
  control: OriginControl | undefined
  abort(): void
}

export type Asking = Partial<OriginRequest> & {
  on?: Partial<{ [K in keyof OriginSink]: (heard: Heard) => void }>
}

/** How to send requests there; each is over when it has ended, or failed. */
export function connectorTo({ url }: Pick<ScriptedOrigin, 'url'>, maxConnections = 4) {
  const app = application('app', 'https://app.test/', { internalUrl: url })
  const origins = createOrigins(maxConnections, createDialer({ refusesLoopback: false }))
  const ask = ({ on = {}, ...more }: Asking = {}): Heard => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const events: unknown[][] = []
    const note =
      (name: keyof OriginSink) =>
      (...args: unknown[]) => {
        events.push([name, ...args])
        on[name]?.(heard)
        if (name === 'end' || name === 'failed') resolve()
      }
    const heard: Heard = {
      events,
      control: undefined,
      abort: () => abort(),
      // biome-ignore lint/suspicious/noThenProperty: it is awaited like a promise, and asked while it is not over
      then: (...args) => promise.then(...args),
    }
    const request = { method: 'GET', target: '/', headers: ['Host', 'app'], body: null, ...more }
    const abort = origins.send(app, request, {
      // The library says so again when it tries again.
      started: () => events.length > 0 || note('started')(),
      information: note('information'),
      head(status, reason, headers, control) {
        heard.control = control
        note('head')(status, reason, headers)
      },
      data(chunk) {
        const last = events.at(-1)
        if (last?.[0] === 'data') last[1] += chunk.toString('latin1')
        else events.push(['data', chunk.toString('latin1')])
        on.data?.(heard)
      },
      end: note('end'),
      failed: ({ code, message, isStarted }) => note('failed')(code, message, isStarted),
    })
    return heard
  }
  return {
    ask,
    /** By the client library, whatever it is. */
    askLibrary: (asking: Asking = {}) => ask({ ...asking, connectionOwner: 'somebody' }),
    [Symbol.asyncDispose]: () => origins[Symbol.asyncDispose](),
  }
}

export const ok = (body: string, ...fields: string[]) =>
  ['HTTP/1.1 200 OK', `Content-Length: ${body.length}`, ...fields, '', body].join('\r\n')

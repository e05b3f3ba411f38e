/**
 * Many open streams of clients: WebSockets, event streams and downloads without end, held by a process of their own,
 * and an origin for them that sends something on each of them once a second.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { WebSocketServer } from 'ws'

export const streamKinds = ['websocket', 'events', 'download'] as const
export type StreamKind = (typeof streamKinds)[number]

export interface StreamWish {
  readonly gateway: string
  readonly kind: StreamKind
  readonly headers: Readonly<Record<string, string>>
}

export interface StreamState {
  readonly gateway: string
  readonly kind: StreamKind
  /** As the answer's head names it. */
  requestId: string
  /** Carried so far. */
  bytes: number
  /** When its client saw the end (Unix time in ms), and as what: a WebSocket's code, `cut`, or `whole`. */
  end?: { readonly atMs: number; readonly how: string }
}

/** To the process: what to open first; it answers with the states. */
export interface Order {
  readonly open?: readonly StreamWish[]
}

export interface StreamHolder extends AsyncDisposable {
  /** Resolves when each of them has carried something. */
  open(wishes: readonly StreamWish[]): Promise<void>
  /** Of all of them, in the order in which they began. */
  states(): Promise<StreamState[]>
}

const program = fileURLToPath(new URL('./stream-process.ts', import.meta.url))

export async function startStreamHolder(): Promise<StreamHolder> {
  const child = fork(program, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await once(child, 'message')
  const ask = async (order: Order): Promise<StreamState[]> => {
    const answer = once(child, 'message')
    child.send(order)
    const [{ states, error }] = await answer
    if (error !== undefined) throw new Error(error)
    return states
  }
  return {
    open: async wishes => void (await ask({ open: wishes })),
    states: () => ask({}),
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}

export interface StreamOrigin extends AsyncDisposable {
  readonly url: string
  /** Open now, as the origin sees it. */
  readonly open: number
  /** Requests other than streams that have arrived, each answered with 200: the values of their header `x-who`. */
  readonly asked: readonly string[]
}

const tickMs = 1_000
const chunk = Buffer.alloc(4_096, 'x')

/** At `/live/…`; whatever else is asked is answered with 200. */
export async function startStreamOrigin(): Promise<StreamOrigin> {
  const streams = new Set<(tick: number) => void>()
  const sockets = new Set<Socket>()
  const asked: string[] = []
  const hold = (send: (tick: number) => void) => {
    streams.add(send)
    send(0)
    return () => void streams.delete(send)
  }
  const answer = (res: ServerResponse, headers: Record<string, string>, sent: string | Buffer) => {
    res.writeHead(200, headers).flushHeaders()
    res
      .on('error', () => undefined)
      .once(
        'close',
        hold(() => void res.write(sent)),
      )
  }
  const server = createServer({ keepAliveTimeout: 65_000 }, (req, res) => {
    if (req.url === '/live/events')
      answer(res, { 'content-type': 'text/event-stream' }, 'data: tick\n\n')
    else if (req.url === '/live/download') answer(res, { 'content-length': String(2 ** 40) }, chunk)
    else {
      asked.push(String(req.headers['x-who']))
      res.end('answered')
    }
  })
  const webSockets = new WebSocketServer({ server })
  webSockets.on('connection', ws => {
    ws.on('error', () => undefined).once(
      'close',
      hold(tick => ws.send(`tick ${tick}`)),
    )
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket))
  })
  let ticks = 0
  const ticking = setInterval(() => {
    ticks++
    for (const send of streams) send(ticks)
  }, tickMs)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get open() {
      return streams.size
    },
    asked,
    async [Symbol.asyncDispose]() {
      clearInterval(ticking)
      for (const socket of sockets) socket.destroy()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}

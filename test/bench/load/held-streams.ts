/** Many connections that are opened and then left alone: WebSockets without a word, downloads that nobody reads. */

import type { Socket } from 'node:net'
import type { Target } from '../targets/target.ts'
import { openSocket, requestText, statusLine } from './socket.ts'

export type Held = 'websocket' | 'download'

export interface HeldStreams extends Disposable {
  readonly count: number
}

/** So many are being opened at once. */
const atOnce = 50
const opensWithinMs = 20_000

/** More than all buffers on the way hold. */
const downloadBytes = 64 * 2 ** 20

/** Resolves when all of them have been answered. @throws when one is refused. */
export async function holdStreams(
  target: Target,
  { kind, count, signal }: { kind: Held; count: number; signal: AbortSignal },
): Promise<HeldStreams> {
  using stack = new DisposableStack()
  const sockets: Socket[] = []
  stack.defer(() => {
    for (const socket of sockets) socket.destroy()
  })
  while (sockets.length < count) {
    signal.throwIfAborted()
    const batch = Math.min(atOnce, count - sockets.length)
    sockets.push(...(await Promise.all(Array.from({ length: batch }, () => hold(target, kind)))))
  }
  const owned = stack.move()
  return { count, [Symbol.dispose]: () => owned.dispose() }
}

const webSocketHeaders = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': Buffer.alloc(16, 'k').toString('base64'),
}

async function hold(target: Target, kind: Held): Promise<Socket> {
  const socket = await openSocket(target)
  socket.on('error', () => undefined)
  const late = setTimeout(() => socket.destroy(new Error('no answer in time')), opensWithinMs)
  const [text, expected] =
    kind === 'websocket'
      ? [requestText(target, 'GET', '/websocket', webSocketHeaders), 'HTTP/1.1 101']
      : [requestText(target, 'GET', `/download?bytes=${downloadBytes}`), 'HTTP/1.1 200']
  socket.write(text)
  const status = await statusLine(socket)
  clearTimeout(late)
  if (status.startsWith(expected)) return socket
  socket.destroy()
  throw new Error(`${target.name}: a ${kind} was answered with "${status}"`)
}

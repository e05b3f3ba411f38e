/** One large body through a target, down or up, on a socket of its own. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Target } from '../targets/target.ts'
import { requestText } from './socket.ts'

/** Longest a transfer may stand still. */
const stalledMs = 30_000

export interface Transfer {
  direction: 'down' | 'up'
  bytes: number
  signal: AbortSignal
}

/** Milliseconds that it took. @throws when fewer bytes arrived or the answer was not 200. */
export async function transfer(
  target: Target,
  { direction, bytes, signal }: Transfer,
): Promise<number> {
  const startedMs = performance.now()
  const answer = new CountedAnswer()
  const socket = answer.connect(target.port)
  const stop = () => socket.destroy(new Error('stopped'))
  signal.addEventListener('abort', stop, { once: true })
  socket.setTimeout(stalledMs, () => socket.destroy(new Error(`${target.name} stands still`)))
  await (direction === 'down' ? download : upload)({ target, socket, bytes, answer })
  signal.removeEventListener('abort', stop)
  socket.destroy()
  return performance.now() - startedMs
}

interface OneTransfer {
  target: Target
  socket: Socket
  bytes: number
  answer: CountedAnswer
}

const readBytes = 256 * 1024

/** An answer by its Content-Length, read into one buffer over and over: a client that costs next to nothing. */
class CountedAnswer {
  /** The head, and what of the body came with it. */
  text = ''
  bodyBytes = 0
  readonly whole: Promise<void>
  readonly #end = Promise.withResolvers<void>()
  #expectedBytes: number | undefined

  constructor() {
    this.whole = this.#end.promise
    // Whoever waits for it only after a failed write must find it, and not be too late.
    this.whole.catch(() => undefined)
  }

  connect(port: number): Socket {
    const callback = (count: number, buffer: Uint8Array) => {
      this.#take(count, buffer)
      return true
    }
    const onread = { buffer: Buffer.alloc(readBytes), callback }
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
    socket.once('error', this.#end.reject)
    socket.once('close', () => this.#end.reject(new Error('the connection ended too early')))
    return socket
  }

  get status(): string {
    return this.text.split('\r\n')[0] ?? ''
  }

  #take(count: number, buffer: Uint8Array): void {
    if (this.#expectedBytes !== undefined) this.bodyBytes += count
    else this.#takeHead(Buffer.from(buffer.buffer, buffer.byteOffset, count).toString('latin1'))
    if (this.#expectedBytes !== undefined && this.bodyBytes >= this.#expectedBytes)
      this.#end.resolve()
  }

  #takeHead(received: string): void {
    this.text += received
    const headEnd = this.text.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    this.#expectedBytes = Number(/\r\ncontent-length: *(\d+)/i.exec(this.text)?.[1])
    this.bodyBytes = this.text.length - headEnd - 4
  }
}

async function download({ target, socket, bytes, answer }: OneTransfer): Promise<void> {
  socket.write(requestText(target, 'GET', `/download?bytes=${bytes}`))
  await answer.whole
  const { status, bodyBytes } = answer
  if (!status.startsWith('HTTP/1.1 200') || bodyBytes !== bytes) {
    throw new Error(`${target.name}: ${bodyBytes} of ${bytes} bytes came down after "${status}"`)
  }
}

const uploaded = Buffer.alloc(256 * 1024, 'x')

async function upload({ target, socket, bytes, answer }: OneTransfer): Promise<void> {
  socket.write(requestText(target, 'POST', '/upload', { 'content-length': String(bytes) }))
  for (let left = bytes; left > 0 && !socket.destroyed; left -= uploaded.length) {
    if (!socket.write(uploaded.subarray(0, left))) {
      await Promise.race([once(socket, 'drain'), answer.whole])
    }
  }
  await answer.whole
  if (!answer.text.includes(`{"bytes":${bytes}}`)) {
    throw new Error(`${target.name}: ${bytes} bytes up were answered with "${answer.status}"`)
  }
}

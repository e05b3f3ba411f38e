/** One large body through a target, down or up, on a socket of its own; and the time to the first byte of a stream. */

import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { requestText } from './own-load.ts'
import type { Target } from './targets/target.ts'

/** Longest a transfer may stand still. */
const stalledMs = 30_000

/** Milliseconds that it took. @throws when fewer bytes arrived or the answer was not 200. */
export async function transfer(
  target: Target,
  direction: 'down' | 'up',
  bytes: number,
): Promise<number> {
  const startedMs = performance.now()
  await (direction === 'down' ? download(target, bytes) : upload(target, bytes))
  return performance.now() - startedMs
}

async function download(target: Target, bytes: number): Promise<void> {
  const socket = open(target)
  const close = { connection: 'close' }
  socket.write(requestText(target, 'GET', `/download?bytes=${bytes}`, close))
  let [received, head] = [0, '']
  for await (const chunk of socket) {
    if (received === 0) head = chunk.toString('latin1', 0, 15)
    received += chunk.length
  }
  if (!head.startsWith('HTTP/1.1 200') || received < bytes) {
    throw new Error(`${target.name}: ${received} of ${bytes} bytes came down after "${head}"`)
  }
}

const uploaded = Buffer.alloc(256 * 1024, 'x')

async function upload(target: Target, bytes: number): Promise<void> {
  const socket = open(target)
  const answer = new Promise<string>((resolve, reject) => {
    let text = ''
    socket.on('data', chunk => {
      text += chunk
    })
    socket.once('close', () => resolve(text)).once('error', reject)
  })
  const about = { 'content-length': String(bytes), connection: 'close' }
  socket.write(requestText(target, 'POST', '/upload', about))
  for (let left = bytes; left > 0 && !socket.destroyed; left -= uploaded.length) {
    if (!socket.write(uploaded.subarray(0, left))) {
      await Promise.race([once(socket, 'drain'), answer])
    }
  }
  const text = await answer
  if (!text.includes(`{"bytes":${bytes}}`)) {
    throw new Error(`${target.name}: ${bytes} bytes up were answered with "${text.slice(0, 200)}"`)
  }
}

function open(target: Target) {
  const socket = connect({ port: target.port, host: '127.0.0.1', noDelay: true })
  socket.setTimeout(stalledMs, () => socket.destroy(new Error(`${target.name} stands still`)))
  return socket
}

/** Milliseconds to the first byte of the body, one request after the other on a connection kept alive. */
export async function firstBytes(target: Target, path: string, count: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times: number[] = []
  for (let i = 0; i < count; i++) times.push(await firstByte(target, path, agent))
  agent.destroy()
  return times
}

async function firstByte(target: Target, path: string, agent: Agent): Promise<number> {
  const startedMs = performance.now()
  const { port, headers } = target
  const signal = AbortSignal.timeout(stalledMs)
  const req = request({ host: '127.0.0.1', port, path, headers, agent, signal }).end()
  const [res] = await once(req, 'response')
  // On a busy machine the whole answer may come at once: both are listened for before either can happen.
  const [elapsedMs] = await Promise.all([
    once(res, 'data').then(() => performance.now() - startedMs),
    once(res, 'end'),
  ])
  if (res.statusCode !== 200) throw new Error(`${target.name} ${path}: status ${res.statusCode}`)
  return elapsedMs
}

/**
 * A small load generator on bare sockets, for machines without wrk: each connection sends its next request when the
 * answer to the last one is complete. It understands as much HTTP as the bench's own answers need.
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { LoadOptions, LoadResult } from './load.ts'
import { percentile } from './statistics.ts'
import type { Target } from './targets/target.ts'

export async function generateLoad(
  target: Target,
  { path, connections, seconds }: LoadOptions,
): Promise<LoadResult> {
  const request = requestText(target, 'GET', path)
  const untilMs = performance.now() + seconds * 1_000
  const startedMs = performance.now()
  const latencies = await Promise.all(
    Array.from({ length: connections }, () => repeat(target, request, untilMs)),
  )
  const elapsedMs = performance.now() - startedMs
  const all = latencies.flat()
  return {
    requests: all.length,
    requestsPerSecond: (all.length / elapsedMs) * 1_000,
    p50Ms: percentile(all, 0.5),
    p99Ms: percentile(all, 0.99),
  }
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

/** Latencies in ms of the requests of one connection. */
async function repeat(target: Target, request: string, untilMs: number): Promise<number[]> {
  const socket = connect({ port: target.port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const latencies: number[] = []
  while (performance.now() < untilMs) {
    const sentMs = performance.now()
    socket.write(request)
    await wholeAnswer(socket)
    latencies.push(performance.now() - sentMs)
  }
  socket.destroy()
  return latencies
}

/** Resolves when an answer has arrived completely. */
function wholeAnswer(socket: Socket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let received: Buffer = Buffer.alloc(0)
  const onData = (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    try {
      if (isComplete(received)) resolve()
    } catch (error) {
      reject(error)
    }
  }
  const onEnd = () => reject(new Error('the connection ended within an answer'))
  socket.on('data', onData).once('error', reject).once('close', onEnd)
  return promise.finally(() => {
    socket.off('data', onData).off('error', reject).off('close', onEnd)
  })
}

function isComplete(received: Buffer): boolean {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return false
  const head = received.toString('latin1', 0, headEnd)
  if (!/^HTTP\/1\.1 2/.test(head))
    throw new Error(`an answer was not 2xx: ${head.split('\r\n')[0]}`)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  return length === undefined
    ? received.subarray(-5).equals(Buffer.from('0\r\n\r\n'))
    : received.length >= headEnd + 4 + Number(length)
}

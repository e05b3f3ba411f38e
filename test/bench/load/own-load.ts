/**
 * A small load generator on bare sockets, for machines without wrk: each connection sends its next request when the
 * answer to the last one is complete. It understands as much HTTP as the bench's own answers need.
 */

import type { Socket } from 'node:net'
import { bodyBytes } from '../helpers/answers.ts'
import { percentile } from '../machine/statistics.ts'
import type { Target } from '../targets/target.ts'
import type { LoadOptions, LoadResult } from './requests.ts'
import { openSocket, requestText } from './socket.ts'

export async function generateLoad(
  target: Target,
  { path, connections, seconds, signal }: LoadOptions,
): Promise<LoadResult> {
  const startedMs = performance.now()
  const untilMs = startedMs + seconds * 1_000
  const isOver = () => signal.aborted || performance.now() >= untilMs
  const latencies = await Promise.all(
    Array.from({ length: connections }, () => repeat(target, path, isOver)),
  )
  signal.throwIfAborted()
  const elapsedMs = performance.now() - startedMs
  const all = latencies.flat()
  return {
    requests: all.length,
    requestsPerSecond: (all.length / elapsedMs) * 1_000,
    p50Ms: percentile(all, 0.5),
    p99Ms: percentile(all, 0.99),
  }
}

/** Latencies in ms of the requests of one connection. */
async function repeat(target: Target, path: string, isOver: () => boolean): Promise<number[]> {
  const request = requestText(target, 'GET', path)
  const socket = await openSocket(target)
  const latencies: number[] = []
  while (!isOver()) {
    const sentMs = performance.now()
    socket.write(request)
    await wholeAnswer(socket, bodyBytes(path))
    latencies.push(performance.now() - sentMs)
  }
  socket.destroy()
  return latencies
}

/** Resolves when an answer has arrived completely. */
function wholeAnswer(socket: Socket, leastBytes: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let received: Buffer = Buffer.alloc(0)
  const onData = (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    try {
      if (isComplete(received, leastBytes)) resolve()
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

function isComplete(received: Buffer, leastBytes: number): boolean {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return false
  const head = received.toString('latin1', 0, headEnd)
  if (!head.startsWith('HTTP/1.1 200'))
    throw new Error(`an answer was not a 200: ${head.split('\r\n')[0]}`)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length !== undefined && Number(length) < leastBytes)
    throw new Error(`an answer has ${length} bytes; the origin's have ${leastBytes}`)
  return length === undefined
    ? received.subarray(-5).equals(Buffer.from('0\r\n\r\n'))
    : received.length >= headEnd + 4 + Number(length)
}

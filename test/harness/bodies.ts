/**
 * Bodies of any size that are never in memory as a whole: pseudo-random, the same for the same size, and repeated with
 * a period that no chunk size divides, so that a chunk lost, doubled or exchanged changes the hash.
 */

import { createCipheriv, createHash, hash } from 'node:crypto'
import { Readable } from 'node:stream'

const period = 1_048_583
const block = createCipheriv('aes-128-ctr', 'sallyport bodies', Buffer.alloc(16)).update(
  Buffer.alloc(period),
)

export interface Digest {
  bytes: number
  sha256: string
}

/** The body of this size, for small ones. */
export function bodyOf(bytes: number): Buffer {
  return Buffer.concat([...chunksOf(bytes)])
}

/** The body of this size, piece by piece. */
export function bodyStream(bytes: number): Readable {
  return Readable.from(chunksOf(bytes), { objectMode: false, highWaterMark: 64 * 1024 })
}

export function* chunksOf(bytes: number): Generator<Buffer> {
  const most = 128 * 1024
  for (let at = 0; at < bytes; ) {
    const from = at % period
    const size = Math.min(most, period - from, bytes - at)
    yield block.subarray(from, from + size)
    at += size
  }
}

/** What has to arrive. */
export function digestOfBody(bytes: number): Digest {
  const sum = createHash('sha256')
  for (const chunk of chunksOf(bytes)) sum.update(chunk)
  return { bytes, sha256: sum.digest('hex') }
}

export function digestOf(body: Uint8Array): Digest {
  return { bytes: body.length, sha256: hash('sha256', body) }
}

/** Reads to the end. A stream that breaks off is an error. */
export async function digestOfStream(stream: AsyncIterable<Buffer>): Promise<Digest> {
  const sum = createHash('sha256')
  let bytes = 0
  for await (const chunk of stream) {
    sum.update(chunk)
    bytes += chunk.length
  }
  return { bytes, sha256: sum.digest('hex') }
}

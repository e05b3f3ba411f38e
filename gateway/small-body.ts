/** Bodies that travel in one message with the head of their request. */

import { SallyportError } from '#infra/errors.ts'
import { singleMessageBytes } from '#infra/wire.ts'
import type { ClientRequest } from './front/client.ts'
import type { Patience } from './front/patience.ts'
import type { Incoming } from './incoming.ts'

/** Whether there is a body that goes with the head in one message. */
export function isSmall({ hasBody, trailer, contentLength }: Incoming): boolean {
  if (!hasBody || trailer !== undefined) return false
  return contentLength !== undefined && contentLength <= singleMessageBytes
}

/**
 * A small body, whole; undefined when the client went away meanwhile.
 * @throws SallyportError `request_timeout` when the client sends nothing of it for too long.
 */
export function readBody(req: ClientRequest, uploads: Patience): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const stalled = () =>
      reject(new SallyportError('request_timeout', `nothing of the body for ${uploads.seconds} s`))
    const awaited = { isClientsTurn: true, movedBytes: 0, stalled }
    const over = (body: Buffer | undefined) => {
      uploads.delete(awaited)
      resolve(body)
    }
    const { body: stream } = req
    if (stream.destroyed) return resolve(undefined)
    uploads.add(awaited)
    stream.on('data', (chunk: Buffer) => {
      awaited.movedBytes += chunk.length
      chunks.push(chunk)
    })
    stream.on('end', () => {
      if (req.aborted) over(undefined)
      else over(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))
    })
    stream.on('close', () => over(undefined))
  })
}

/**
 * Connections whose method Node's parser does not know: the Remote Desktop Gateway's RDG_* and RPC_*. The first head is
 * read here, strictly, and goes the way of every request; when access is granted, the bytes of the connection go to the
 * origin and back, over a connection of its own there, since such clients sign in to the connection and not to a
 * request. What else the client sends on it, the connector holds to what was granted (connector/raw-connection.ts).
 */

import type { Socket } from 'node:net'
import type { FaultCode } from '#infra/errors.ts'
import {
  framingOf,
  headEnd,
  maxHeadBytes,
  parseRequestHead,
  type RequestHead,
  RequestHeadError,
} from '#infra/request-head.ts'
import type { RequestListener } from './client.ts'
import { nodeRequest } from './http1-request.ts'
import { Http1Response } from './http1-response.ts'
import { endGently, type Refusal, refuse } from './unreadable.ts'

export interface RawFront {
  /** Takes a connection with what has been read of it. */
  accept(socket: Socket, first: Buffer): void
  /** Closes the connections whose head has not arrived yet. */
  close(): void
}

interface Read {
  readonly head: RequestHead
  /** What came after it. */
  readonly rest: Buffer
}

/** Those of the Remote Desktop Gateway's two transports. */
const methods = new Set(['RDG_IN_DATA', 'RDG_OUT_DATA', 'RPC_IN_DATA', 'RPC_OUT_DATA'])

export interface RawFrontOptions {
  refusal: Refusal
  /** For the head to arrive. */
  headSeconds: number
}

export function createRawFront(
  listener: RequestListener,
  { refusal, headSeconds }: RawFrontOptions,
): RawFront {
  const waiting = new Set<Socket>()
  return {
    accept(socket, first) {
      waiting.add(socket)
      collectHead({ socket, first, headSeconds }, read => {
        waiting.delete(socket)
        if (read === undefined) return
        if (typeof read === 'string') refuse(socket, refusal(read))
        else begin(listener, socket, read)
      })
    },
    close() {
      for (const socket of waiting) socket.destroy()
    },
  }
}

/** Calls back once: with the head, with what is wrong, or with nothing when the client went away. */
function collectHead(
  { socket, first, headSeconds }: { socket: Socket; first: Buffer; headSeconds: number },
  done: (read: Read | FaultCode | undefined) => void,
): void {
  let received = Buffer.alloc(0)
  const over = (read: Read | FaultCode | undefined) => {
    clearTimeout(late)
    socket.off('data', take).off('end', gone).off('close', gone).pause()
    done(read)
  }
  const late = setTimeout(() => over('request_timeout'), headSeconds * 1_000)
  const gone = () => {
    over(undefined)
    socket.destroy()
  }
  const take = (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    const read = readHead(received)
    if (read) over(read)
  }
  socket
    .on('error', () => undefined)
    .on('end', gone)
    .on('close', gone)
    .on('data', take)
  take(first)
}

/** Undefined until it is complete. */
function readHead(received: Buffer): Read | FaultCode | undefined {
  const end = received.indexOf(headEnd)
  if (end > maxHeadBytes || (end === -1 && received.length > maxHeadBytes)) {
    return 'headers_too_large'
  }
  if (end === -1) return undefined
  try {
    const head = parseRequestHead(received.toString('latin1', 0, end))
    if (!methods.has(head.method)) return 'method_not_implemented'
    framingOf(head.headers)
    return { head, rest: received.subarray(end + headEnd.length) }
  } catch (error) {
    if (error instanceof RequestHeadError) return error.fault
    throw error
  }
}

function begin(listener: RequestListener, socket: Socket, { head, rest }: Read): void {
  const req = nodeRequest(socket, head)
  const res = new Http1Response(req)
  res.closeConnection()
  res.assignSocket(socket)
  res.once('finish', () => endGently(socket))
  const takeOver = () => {
    res.detachSocket(socket)
    socket.resume()
    return rest
  }
  listener(req, res, { upgrade: { socket, takeOver, isRaw: true } })
}

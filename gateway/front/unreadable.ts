/**
 * What the parser of HTTP/1.1 gives up on is answered by name, as far as the client can still be answered: the
 * connection ends after that (RFC 9112 §9.6: the rest of what the client sends is read for a while, since a reset
 * would take the answer with it).
 */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { FaultCode } from '#infra/errors.ts'

/** The whole answer, head and body. */
export type Refusal = (fault: FaultCode) => string

interface ParserError extends Error {
  code?: string
  /** The packet in which the error was found. */
  rawPacket?: Buffer
}

const lingerMs = 2_000

const faults: Readonly<Record<string, FaultCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
}

export function answerUnreadable(refusal: Refusal): (error: Error, socket: Duplex) => void {
  const answered = new WeakSet<Duplex>()
  return (error, socket) => {
    // The parser says so again for whatever else arrives.
    if (answered.has(socket)) return
    answered.add(socket)
    const fault = faultOf(error)
    if (!fault) return void socket.destroy()
    inTurn(socket, open => {
      if (!socket.writable || open?.headersSent) return void socket.destroy()
      // A request of which only the body is broken has an exchange, which has to end now.
      if (open) {
        socket.write(refusal(fault))
        return void socket.destroy()
      }
      refuse(socket, refusal(fault))
    })
  }
}

/** Answers to requests that came whole are given first (RFC 9112 §9.3.2): what broke comes behind them. */
function inTurn(socket: Duplex, answer: (open: ServerResponse | null | undefined) => void): void {
  const open = openResponse(socket)
  if (open?.req.complete) open.once('finish', () => inTurn(socket, answer))
  else answer(open)
}

/** Answers, and closes the connection once the client has had time to read that. */
export function refuse(socket: Duplex, answer: string): void {
  socket.on('error', () => undefined)
  endGently(socket, answer)
}

/** A client that does not close its side, or has sent what nobody reads, would hold the connection for ever. */
export function endGently(socket: Duplex, answer?: string): void {
  socket.end(answer)
  socket.resume()
  const linger = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('end', () => socket.destroy()).once('close', () => clearTimeout(linger))
}

/** Some codes of the parser stand for more than what they say; a packet usually begins with the request. */
function faultOf({ code = '', rawPacket }: ParserError): FaultCode | undefined {
  const begin = rawPacket?.toString('latin1', 0, 200) ?? ''
  if (code === 'HPE_INVALID_METHOD' && /^[!-~]+ \S+ HTTP\//.test(begin)) {
    return 'method_not_implemented'
  }
  if (code === 'HPE_INVALID_VERSION' && /^\S+ \S+ HTTP\/\d\.\d\r\n/.test(begin)) {
    return 'version_not_supported'
  }
  return faults[code] ?? (code.startsWith('HPE_') ? 'bad_request' : undefined)
}

/** The answer that the connection is owed. Node offers no other way to it here. */
export function openResponse(socket: Duplex): ServerResponse | null | undefined {
  return (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage
}

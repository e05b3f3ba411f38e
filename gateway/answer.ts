/**
 * Heads of answers as clients get them: what a connector sent, without what only the gateway may say. A connector is
 * not trusted to keep to that by itself.
 */

import { fieldKind } from '#infra/field-kinds.ts'
import { headerValue, setsOwnCookie } from '#infra/http.ts'
import { type ResponseFrame, WireError } from '#infra/wire.ts'
import { type CrossOrigin, forReader } from './cross-origin.ts'

export function clientHeaders(
  { status, headers, bodyFollows }: Pick<ResponseFrame, 'status' | 'headers' | 'bodyFollows'>,
  requestId: string,
  crossOrigin?: CrossOrigin,
): string[] {
  // Behind a length there are none, and behind a whole body there were none (RFC 9110 §6.6.2).
  const mayHaveTrailers = bodyFollows && headerValue(headers, 'content-length') === undefined
  const kept = endToEnd(headers, mayHaveTrailers)
  // What the client is to ask for goes on like what it asks for (RFC 9110 §15.5.22).
  const protocol = status === 426 ? headerValue(headers, 'upgrade') : undefined
  if (protocol !== undefined) kept.push('Upgrade', protocol)
  kept.push('Sallyport-Request-Id', requestId)
  return crossOrigin ? forReader(kept, crossOrigin.reader) : kept
}

/** Fields of an interim answer. */
export function informationHeaders(headers: readonly string[]): string[] {
  return endToEnd(headers, false)
}

function endToEnd(headers: readonly string[], mayHaveTrailers: boolean): string[] {
  const kept: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const spelling = headers[i] as string
    const value = headers[i + 1] as string
    const { name, isHopByHop } = fieldKind(spelling)
    if (isHopByHop || !mayPass(name, value)) continue
    if (name === 'trailer' && !mayHaveTrailers) continue
    kept.push(spelling, value)
  }
  return kept
}

function mayPass(name: string, value: string): boolean {
  if (name === 'set-cookie') return !setsOwnCookie(value)
  return !name.startsWith('sallyport-')
}

/**
 * The head of a 101 as it is written to the socket; Connection and Upgrade belong to it (RFC 9110 §7.8).
 * @throws WireError for a line break in a field: what follows it would be a head of its own.
 */
export function switchingHead({ reason, headers }: ResponseFrame, requestId: string): string {
  const lines = [`HTTP/1.1 101 ${reason || 'Switching Protocols'}`]
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    if (mayPass(name.toLowerCase(), value)) lines.push(`${name}: ${value}`)
  }
  lines.push(`Sallyport-Request-Id: ${requestId}`)
  if (lines.some(line => /[\r\n]/.test(line))) throw new WireError('a line break in a field')
  return `${lines.join('\r\n')}\r\n\r\n`
}

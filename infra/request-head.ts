/**
 * Heads of HTTP/1.1 requests as we read and write them ourselves, where Node's parser does not know the method. Stricter
 * than any RFC: origin-form, one blank between the parts, no folding, one kind of framing at most (RFC 9112 §3, §5, §6).
 */

import type { FaultCode } from './errors.ts'
import { headerValue } from './http.ts'

export interface RequestHead {
  readonly method: string
  readonly target: string
  /** Names and values in turn. */
  readonly headers: readonly string[]
}

/** How a body is delimited: by its length, by chunks, or not at all. */
export type BodyFraming = number | 'chunked' | 'unbounded'

export class RequestHeadError extends Error {
  override name = 'RequestHeadError'
  readonly fault: FaultCode
  constructor(fault: FaultCode, detail: string) {
    super(detail)
    this.fault = fault
  }
}

export const maxHeadBytes = 64 * 1024
export const headEnd = '\r\n\r\n'

const requestLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) (\/[!-~]*) HTTP\/1\.1$/
const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const fieldValue = /^[\t -~\x80-\xff]*$/

/** A head without the empty line that ends it, as Latin-1. @throws RequestHeadError */
export function parseRequestHead(text: string): RequestHead {
  const [first = '', ...lines] = text.split('\r\n')
  const [, method, target] = requestLine.exec(first) ?? []
  if (method === undefined || target === undefined)
    throw new RequestHeadError('bad_request', 'no request line of HTTP/1.1 in origin-form')
  return { method, target, headers: parseFields(lines) }
}

/** @throws RequestHeadError */
export function parseFields(lines: readonly string[]): string[] {
  return lines.flatMap(line => {
    const nameEnd = Math.max(line.indexOf(':'), 0)
    const name = line.slice(0, nameEnd)
    const value = line.slice(nameEnd + 1)
    if (!fieldName.test(name) || !fieldValue.test(value))
      throw new RequestHeadError('bad_request', 'a line that is no field')
    return [name, withoutBlanks(value)]
  })
}

/** No pattern: one that finds blanks at both ends takes minutes for a line of nothing else. */
function withoutBlanks(value: string): string {
  const isBlank = (at: number) => value[at] === ' ' || value[at] === '\t'
  let [start, end] = [0, value.length]
  while (start < end && isBlank(start)) start++
  while (end > start && isBlank(end - 1)) end--
  return value.slice(start, end)
}

export function encodeRequestHead({ method, target, headers }: RequestHead): Buffer {
  let text = `${method} ${target} HTTP/1.1\r\n`
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`
  return Buffer.from(`${text}\r\n`, 'latin1')
}

/** How the body of a request is delimited; without any framing it has none. @throws RequestHeadError */
export function framingOf(headers: readonly string[]): number | 'chunked' {
  const lengths = all(headers, 'content-length')
  const codings = all(headers, 'transfer-encoding')
  if (lengths.length + codings.length > 1)
    throw new RequestHeadError('bad_request', 'more than one kind of framing')
  const [coding] = codings
  if (coding !== undefined) {
    if (coding.toLowerCase() === 'chunked') return 'chunked'
    throw new RequestHeadError('not_implemented', 'a coding that is not chunked')
  }
  const [length = '0'] = lengths
  if (!/^\d{1,15}$/.test(length)) throw new RequestHeadError('bad_request', 'a length that is none')
  return Number(length)
}

export function protocolUpgradeOf(headers: readonly string[]): string | undefined {
  return headerValue(headers, 'upgrade')
}

function all(headers: readonly string[], name: string): string[] {
  return headers.filter((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === name)
}

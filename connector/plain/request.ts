/**
 * Requests that need no client library, as the octets that it would write: the usual methods, and no body or a whole one.
 * What it would refuse, or not send at once on a connection that is kept, is not among them.
 */

import type { OriginRequest } from '../origin.ts'

/** Each says how long its body is, though there be none. */
const withBody = new Set(['POST', 'PUT', 'PATCH'])
/** A server may not expect a body behind these, nor find the end of it. Behind HEAD some send one that nobody awaits. */
const withoutBody = new Set(['GET', 'DELETE', 'OPTIONS'])

const target = /^\/[!-~]*$/
const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const fieldValue = /^[\t -~\x80-\xff]*$/

/** In Latin-1 where it is text. Undefined: this one is not plain. */
export function encodePlain(request: OriginRequest): Buffer | string | undefined {
  const { method, headers, body } = request
  if (!target.test(request.target)) return undefined
  const bytes = Buffer.isBuffer(body) ? body.length : 0
  const isPlain = bytes > 0 || body === null ? hasUsualBody(method, bytes) : false
  const fields = isPlain ? fieldsOf(headers, bytes) : undefined
  if (fields === undefined) return undefined
  const length = withBody.has(method) ? `content-length: ${bytes}\r\n` : ''
  const head = `${method} ${request.target} HTTP/1.1\r\n${fields}${length}\r\n`
  if (bytes === 0) return head
  return Buffer.concat([Buffer.from(head, 'latin1'), body as Buffer])
}

function hasUsualBody(method: string, bytes: number): boolean {
  return withBody.has(method) || (bytes === 0 && withoutBody.has(method))
}

function fieldsOf(headers: readonly string[], bodyBytes: number): string | undefined {
  let host: string | undefined
  let fields = ''
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    if (!fieldName.test(name) || !fieldValue.test(value)) return undefined
    switch (special(name)) {
      case undefined:
        fields += `${name}: ${value}\r\n`
        break
      case 'host':
        if (host !== undefined) return undefined
        host = value
        break
      case 'content-length':
        if (value !== `${bodyBytes}`) return undefined
        break
      default:
        return undefined
    }
  }
  return host === undefined ? undefined : `host: ${host}\r\nconnection: keep-alive\r\n${fields}`
}

const specials = [
  'host',
  'content-length',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'expect',
]
const byLength = new Map(Map.groupBy(specials, name => name.length))

/** Of a connection, or of what the client library looks at. */
function special(name: string): string | undefined {
  const same = byLength.get(name.length)
  if (!same) return undefined
  const lower = name.toLowerCase()
  return same.includes(lower) ? lower : undefined
}

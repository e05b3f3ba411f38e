/**
 * The requests that are most of all, read without Node's parser: whole in what has arrived, with a body of known length or
 * none, one kind of line end, nothing that concerns the connection. Whatever differs in any way is not understood here
 * and read by Node, so two readers can never differ about a request.
 */

import { headEnd, type RequestHead } from '#infra/request-head.ts'

export interface PlainMessage extends RequestHead {
  readonly body: Buffer
}

const maxFields = 100

/** RFC 9112 §3, §5: origin-form, and fields of visible ASCII without folding. */
const plainHead =
  /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\/[!-~]*) HTTP\/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)$/

/** What says how a message is delimited, or what becomes of its connection, and is not understood here. */
const special = new Set([
  'expect',
  'http2-settings',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** Names as long as none of these need not be looked at. */
const watchedLengths = new Set(
  [...special, 'connection', 'content-length', 'host'].map(name => name.length),
)

/** The request, when these octets are one and nothing else; undefined for whatever Node's parser has to look at. */
export function readPlainMessage(octets: Buffer): PlainMessage | undefined {
  const end = octets.indexOf(headEnd)
  if (end === -1) return undefined
  const text = octets.toString('latin1', 0, end + 2)
  const [, method = '', target = '', lines = ''] = plainHead.exec(text) ?? []
  const fields = method === '' ? undefined : readFields(lines)
  const body = octets.subarray(end + headEnd.length)
  if (fields?.bodyBytes !== body.length) return undefined
  return { method, target, headers: fields.headers, body }
}

interface Fields {
  readonly headers: string[]
  readonly bodyBytes: number
}

/** Of lines that are fields; undefined when there are too many, no Host, or something special. */
function readFields(lines: string): Fields | undefined {
  const headers: string[] = []
  let hosts = 0
  let bodyBytes: number | undefined
  for (let start = 0; start < lines.length; ) {
    const colon = lines.indexOf(':', start)
    const end = lines.indexOf('\r\n', colon)
    const name = lines.slice(start, colon)
    const value = lines.slice(colon + 1, end).trim()
    if (watchedLengths.has(name.length)) {
      const known = name.toLowerCase()
      if (isSpecial(known, value)) return undefined
      if (known === 'host') hosts++
      if (known === 'content-length') {
        if (bodyBytes !== undefined) return undefined
        bodyBytes = Number(value)
      }
    }
    headers.push(name, value)
    start = end + 2
  }
  const isPlain = hosts === 1 && headers.length <= 2 * maxFields
  return isPlain ? { headers, bodyBytes: bodyBytes ?? 0 } : undefined
}

function isSpecial(name: string, value: string): boolean {
  if (name === 'connection') return value.toLowerCase() !== 'keep-alive'
  if (name === 'content-length') return !/^\d{1,9}$/.test(value)
  return special.has(name)
}

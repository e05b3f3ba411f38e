/**
 * Heads of answers that can be read in one way only (RFC 9112 §4, §5, §6.3). Narrower than any RFC: everything else is
 * for a parser that knows what programs have sent in thirty years.
 */

export interface PlainHead {
  readonly status: number
  readonly reason: string
  /** Names and values in turn. */
  readonly headers: string[]
  /** Octets of the body, or chunks. */
  readonly length: number | 'chunked'
  /** How long the connection may be idle afterwards, as the origin says; 0: it is not kept. */
  readonly keepAliveMs: number | undefined
  /** The origin closes the connection behind it. */
  readonly isLast: boolean
}

/** What the origin says is less by this: a request must not meet the end of the connection. */
const keepAliveMarginMs = 2_000
const maxKeepAliveMs = 600_000

const field = "[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\\t -~\\x80-\\xff]*"
const statusLine = 'HTTP/1\\.1 [2-5]\\d\\d (?:[!-~](?:[ -~]*[!-~])?)?'
const whole = new RegExp(`^${statusLine}(?:\\r\\n${field})*$`)
const beginning = new RegExp(
  `^${statusLine}\\r\\n(?:${field}\\r\\n)*(?:[!#$%&'*+.^_\`|~0-9A-Za-z-]*|${field}\\r?|\\r)$`,
)

/** Whether what has come of a head, with a status line at least, may become one of these. */
export function isPlainBeginning(text: string): boolean {
  return beginning.test(text)
}

/** A head without the empty line that ends it, as Latin-1. Undefined: this one is not plain. */
export function readPlainHead(text: string): PlainHead | undefined {
  if (!whole.test(text)) return undefined
  const lines = text.split('\r\n')
  const [first = ''] = lines
  const headers: string[] = []
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i] as string
    const colon = line.indexOf(':')
    const value = line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1)))
      return undefined
    headers.push(line.slice(0, colon), value)
  }
  return framed(Number(first.slice(9, 12)), first.slice(13), headers)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

function framed(status: number, reason: string, headers: string[]): PlainHead | undefined {
  const found: Framing = { length: undefined, isLast: false, keepAliveMs: undefined }
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (lengths.has(name.length) && !note(found, name.toLowerCase(), headers[i + 1] as string))
      return undefined
  }
  const { isLast, length, keepAliveMs } = found
  const isEmpty = status === 204 || status === 304
  if (isEmpty ? length === 'chunked' : length === undefined) return undefined
  if (isLast && length === 'chunked') return undefined
  const isKept = !isLast && !(isEmpty && length !== undefined && length !== 0)
  return {
    status,
    reason,
    headers,
    length: isEmpty ? 0 : (length as PlainHead['length']),
    keepAliveMs: isKept ? keepAliveMs : 0,
    isLast,
  }
}

interface Framing {
  length: PlainHead['length'] | undefined
  isLast: boolean
  keepAliveMs: number | undefined
}

/** Of the names below. */
const lengths = new Set([10, 14, 16, 17])

/** False for what is not plain. */
function note(found: Framing, name: string, value: string): boolean {
  switch (name) {
    case 'content-length':
      if (found.length !== undefined || !/^\d{1,15}$/.test(value)) return false
      found.length = Number(value)
      return true
    case 'transfer-encoding':
      if (found.length !== undefined || value.toLowerCase() !== 'chunked') return false
      found.length = 'chunked'
      return true
    case 'connection':
      found.isLast ||= /(?:^|,)[\t ]*close[\t ]*(?:,|$)/i.test(value)
      return true
    case 'keep-alive':
      found.keepAliveMs ??= idleMs(value)
      return true
    // Some parsers take it for Connection.
    case 'proxy-connection':
      return false
    default:
      return true
  }
}

function idleMs(value: string): number | undefined {
  const [, seconds] = /(?:^|,)[\t ]*timeout=(\d+)/i.exec(value) ?? []
  if (seconds === undefined) return undefined
  return Math.min(Math.max(Number(seconds) * 1_000 - keepAliveMarginMs, 0), maxKeepAliveMs)
}

/**
 * Failures towards origins. Every one becomes a fault; whether the origin may have seen the request (`isStarted`) decides
 * what may be sent again.
 */

import { type FaultCode, SallyportError } from '#infra/errors.ts'

/** A failure towards the origin. */
export class OriginError extends SallyportError {
  /** Whether the origin may have received the request. */
  readonly isStarted: boolean
  constructor(code: FaultCode, detail: string, isStarted: boolean, options?: ErrorOptions) {
    super(code, detail, options)
    this.isStarted = isStarted
  }
}

/** What the client library reports, as fault and as the answer to "may the origin have seen it?". */
export function asOriginError(error: Error): OriginError {
  if (error instanceof OriginError) return error
  const code = codeOf(error)
  const name = code === 'UND_ERR_CONNECT_TIMEOUT' ? 'connect time-out' : code
  const detail = name ? `${name}: ${error.message}` : error.message
  const fail = (fault: FaultCode, isStarted: boolean) =>
    new OriginError(fault, detail, isStarted, { cause: error })
  if (unreachable.has(code)) return fail('origin_unreachable', wasConnected(error))
  if (/^(CERT_|ERR_TLS_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH)/.test(code)) {
    return fail('origin_certificate_invalid', false)
  }
  return fail(isProtocolError(error, code) ? 'origin_protocol_error' : 'origin_unreachable', true)
}

/** Not every one of the client library's parser errors has a code. */
function isProtocolError(error: Error, code: string): boolean {
  return (
    error.name === 'HTTPParserError' ||
    code.startsWith('HPE_') ||
    code === 'EPROTO' ||
    code.startsWith('ERR_SSL_') ||
    code === 'ERR_HTTP2_ERROR' ||
    code === 'UND_ERR_HEADERS_OVERFLOW' ||
    code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' ||
    /bad (response|upgrade)/.test(error.message)
  )
}

const unreachable = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'ETIMEDOUT',
])

/** A network that goes away breaks connections with the same codes. */
function wasConnected(error: Error): boolean {
  return /^(read|write)/.test((error as NodeJS.ErrnoException).syscall ?? '')
}

/** As the audit event names it. */
export function connectTimeoutDetail(timeoutMs: number): string {
  return `connect time-out: no connection within ${timeoutMs / 1_000} s`
}

/** The system's or the library's code, of whichever error has one. */
export function codeOf(error: Error): string {
  const own = (error as NodeJS.ErrnoException).code
  if (typeof own === 'string') return own
  if (error instanceof AggregateError && error.errors[0] instanceof Error)
    return codeOf(error.errors[0])
  return error.cause instanceof Error ? codeOf(error.cause) : ''
}

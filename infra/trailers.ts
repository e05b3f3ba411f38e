/**
 * Trailer fields that may go on. Those that frame a message, route it, modify it, or say who asks have no business
 * behind its body: whoever decided by the head would have decided without them (RFC 9110 §6.5.1). Trailers are never
 * merged into a head.
 */

import { isHopByHop } from './http.ts'
import { isReserved } from './reserved-fields.ts'

const forbidden = new Set([
  'age',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expect',
  'expires',
  'host',
  'location',
  'max-forwards',
  'origin',
  'pragma',
  'range',
  'referer',
  'retry-after',
  'set-cookie',
  'traceparent',
  'tracestate',
  'trailer',
  'vary',
  'via',
  'warning',
  'www-authenticate',
])

const forbiddenPrefixes = ['if-', 'sec-', 'access-control-', 'proxy-'] as const

/** The fields of `raw`, names and values in turn, that may stand in a trailer section. */
export function allowedTrailers(raw: readonly string[]): readonly string[] {
  if (raw.length === 0) return raw
  return raw.filter((_, i) => isAllowed((raw[i & ~1] as string).toLowerCase()))
}

function isAllowed(name: string): boolean {
  if (forbidden.has(name) || isHopByHop(name) || isReserved(name)) return false
  return !forbiddenPrefixes.some(prefix => name.startsWith(prefix))
}

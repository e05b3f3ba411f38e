/**
 * Fields that tell an origin who asks and how: only we set them, and what a client sends under these names is dropped,
 * in every spelling that some program takes for the same.
 */

import { ownCookiePrefix } from './http.ts'

const reserved = new Set([
  'forwarded',
  'x-real-ip',
  'x-client-ip',
  'client-ip',
  'true-client-ip',
  'x-request-id',
  'x-original-url',
  'x-rewrite-url',
  'x-original-host',
  'x-ms-proxy',
])

const reservedPrefixes = ['sallyport-', 'x-sallyport-', 'x-forwarded-'] as const

/**
 * The one spelling of a field name: CGI and its heirs make `_` of `-`, some servers (lighttpd) of all but letters and
 * digits, and so two names one.
 */
export function canonicalFieldName(name: string): string {
  const lower = name.toLowerCase()
  return /[^a-z\d-]/.test(lower) ? lower.replaceAll(/[^a-z\d]/g, '-') : lower
}

/** `name` in lower case. */
export function isReserved(name: string): boolean {
  const canonical = canonicalFieldName(name)
  if (reserved.has(canonical)) return true
  return reservedPrefixes.some(prefix => canonical.startsWith(prefix))
}

const none: readonly string[] = []

/** A Cookie field as what is ours (`name=value`) and what is the origin's, undefined when all was ours. */
export function partCookies(field: string): {
  readonly own: readonly string[]
  readonly origins: string | undefined
} {
  if (!field.includes(ownCookiePrefix)) return { own: none, origins: field }
  const own: string[] = []
  const kept: string[] = []
  for (const pair of field.split(';')) {
    const cookie = pair.trim()
    if (cookie.startsWith(ownCookiePrefix)) own.push(cookie)
    else if (cookie !== '') kept.push(pair)
  }
  return { own, origins: kept.length > 0 ? kept.join(';').trimStart() : undefined }
}

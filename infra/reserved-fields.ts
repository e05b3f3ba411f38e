/**
 * Fields that tell an origin who asks and how: only we set them, and what a client sends under these names is dropped,
 * in every spelling that some program takes for the same (CGI and its heirs make `_` of `-`).
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

/** `name` in lower case. */
export function isReserved(name: string): boolean {
  const dashed = name.includes('_') ? name.replaceAll('_', '-') : name
  if (reserved.has(dashed)) return true
  return reservedPrefixes.some(prefix => dashed.startsWith(prefix))
}

/** The cookies of a field that are the origin's; undefined when all were ours. */
export function originCookies(value: string): string | undefined {
  if (!value.includes(ownCookiePrefix)) return value
  const kept = value.split(';').filter(pair => {
    const name = pair.trim()
    return name !== '' && !name.startsWith(ownCookiePrefix)
  })
  return kept.length > 0 ? kept.join(';').trimStart() : undefined
}

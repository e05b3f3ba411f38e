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

/**
 * Clear-Site-Data (W3C) by which an application removes what is its own, as when somebody logs out there. By "cookies"
 * browsers understand those of all hosts below the registrable domain: the portal's, and every other application's.
 * Only those that came with the request go, one by one.
 */

import { headerValue } from '#infra/http.ts'

const field = 'clear-site-data'

/** `"*"`, without cookies. */
const everythingElse = ['"cache"', '"clientHints"', '"executionContexts"', '"storage"']

export interface Asked {
  /** Of the request; our own cookies are not among them. */
  readonly headers: readonly string[]
  readonly externalUrl: string
}

/** The fields of an answer, such that it clears nothing of anybody else. */
export function withOwnSiteData(headers: string[], asked: Asked): string[] {
  if (headerValue(headers, field) === undefined) return headers
  const cleared = valuesOf(headers, field).flatMap(value => value.split(',').map(it => it.trim()))
  const kept = headers.filter((_, i) => headers[i & ~1]?.toLowerCase() !== field)
  const isAll = cleared.includes('"*"')
  const others = isAll ? everythingElse : cleared.filter(type => type !== '"cookies"')
  if (others.length > 0) kept.push('Clear-Site-Data', others.join(', '))
  if (isAll || cleared.includes('"cookies"')) kept.push(...expiredCookies(asked))
  return kept
}

/** A cookie is known by its path too, which no request tells: usual are these. */
function expiredCookies({ headers, externalUrl }: Asked): string[] {
  const paths = new Set(['/', new URL(externalUrl).pathname])
  const pairs = valuesOf(headers, 'cookie').flatMap(value => value.split(';'))
  const names = new Set(pairs.map(pair => pair.slice(0, Math.max(pair.indexOf('='), 0)).trim()))
  names.delete('')
  return [...names].flatMap(name => {
    const secure = /^__(?:host|secure)-/i.test(name) ? '; Secure' : ''
    return [...paths].flatMap(path => ['Set-Cookie', `${name}=; Path=${path}; Max-Age=0${secure}`])
  })
}

function valuesOf(headers: readonly string[], name: string): string[] {
  return headers.filter((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === name)
}

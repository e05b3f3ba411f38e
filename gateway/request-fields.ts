/**
 * The fields of a request, read in one pass (RFC 9110 §5; the numbers in comments are its sections). Here, and nowhere
 * else, reserved fields are dropped in every spelling and our own cookies are taken out: what is kept goes on to the
 * origin, and what is noted is for the gateway alone.
 */

import { type FieldKind, fieldKind } from '#infra/field-kinds.ts'
import { nominated } from '#infra/http.ts'
import { partCookies } from '#infra/reserved-fields.ts'
import type { ClientRequest } from './front/client.ts'

export interface Fields {
  kept: string[]
  cookies: Map<string, string> | undefined
  host: string | undefined
  hosts: number
  authorizations: number
  contentLength: number | undefined
  transferEncoding: string | undefined
  forwardedFor: string | undefined
  forwardedProto: string | undefined
  userAgent: string
  origin: string | undefined
  fetchSite: string | undefined
  fetchMode: string | undefined
  fetchDest: string | undefined
  requestedWith: boolean
  accept: string
  traceparent: string | undefined
  upgrade: string | undefined
  acceptsTrailers: boolean
  trailer: string | undefined
  expect: string | undefined
  via: string | undefined
  bytes: number
}

/** `raw` is a list of names and values in turn. */
export function readFields(raw: readonly string[]): Fields {
  const fields: Fields = {
    kept: [],
    cookies: undefined,
    host: undefined,
    hosts: 0,
    authorizations: 0,
    contentLength: undefined,
    transferEncoding: undefined,
    forwardedFor: undefined,
    forwardedProto: undefined,
    userAgent: '',
    origin: undefined,
    fetchSite: undefined,
    fetchMode: undefined,
    fetchDest: undefined,
    requestedWith: false,
    accept: '',
    traceparent: undefined,
    upgrade: undefined,
    acceptsTrailers: false,
    trailer: undefined,
    expect: undefined,
    via: undefined,
    bytes: 0,
  }
  const alsoHopByHop = nominated(raw)
  for (let i = 0; i < raw.length; i += 2) {
    const spelling = raw[i] as string
    const given = raw[i + 1] as string
    fields.bytes += spelling.length + given.length + 4
    const kind = fieldKind(spelling)
    const value = readField(fields, kind, given)
    if (value === undefined || kind.isHopByHop || alsoHopByHop?.has(kind.name)) continue
    fields.kept.push(spelling, value)
  }
  return fields
}

/** Notes what the gateway itself needs; answers the value that goes on, or undefined when none does. */
function readField(
  fields: Fields,
  { name, isReserved }: FieldKind,
  value: string,
): string | undefined {
  switch (name) {
    case 'host':
      fields.hosts++
      fields.host = value
      return value
    case 'cookie':
      return withoutOwnCookies(fields, value)
    case 'content-length':
      fields.contentLength = Number(value)
      return value
    case 'transfer-encoding':
      fields.transferEncoding = joined(fields.transferEncoding, value)
      return undefined
    case 'x-forwarded-for':
      fields.forwardedFor = joined(fields.forwardedFor, value)
      return undefined
    case 'x-forwarded-proto':
      fields.forwardedProto = value
      return undefined
    case 'authorization':
      fields.authorizations++
      return value
    case 'user-agent':
      fields.userAgent = value
      return value
    case 'origin':
      fields.origin = value
      return value
    case 'sec-fetch-site':
    case 'sec-fetch-mode':
    case 'sec-fetch-dest':
      noteFetch(fields, name, value)
      return value
    case 'x-requested-with':
      fields.requestedWith = true
      return value
    case 'accept':
      fields.accept = value
      return value
    case 'traceparent':
      fields.traceparent = value
      return undefined
    case 'upgrade':
      // Offered by clients of HTTP/2 with any request; served as the ordinary request that it is.
      if (value.toLowerCase() !== 'h2c') fields.upgrade = joined(fields.upgrade, value)
      return undefined
    case 'trailer':
      fields.trailer = joined(fields.trailer, value)
      return undefined
    case 'te':
      fields.acceptsTrailers = /(?:^|,)\s*trailers\s*(?:,|$)/i.test(value)
      return undefined
    // The gateway answers it itself, after access was granted (10.1.1).
    case 'expect':
      fields.expect = value
      return undefined
    case 'via':
      fields.via = joined(fields.via, value)
      return value
    default:
      return isReserved ? undefined : value
  }
}

/** Fetch Metadata (W3C). */
function noteFetch(fields: Fields, name: string, value: string): void {
  if (name === 'sec-fetch-site') fields.fetchSite = value
  else if (name === 'sec-fetch-mode') fields.fetchMode = value
  else fields.fetchDest = value
}

/** Lines of a list (5.3). */
function joined(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before}, ${value}`
}

/** The cookies that belong to the origin; ours are noted and go no further. */
function withoutOwnCookies(fields: Fields, field: string): string | undefined {
  const { own, origins } = partCookies(field)
  for (const cookie of own) {
    const end = cookie.indexOf('=')
    fields.cookies ??= new Map()
    if (end === -1) fields.cookies.set(cookie, '')
    else fields.cookies.set(cookie.slice(0, end), cookie.slice(end + 1))
  }
  return origins
}

/** HTTP/2 needs no framing fields: a body follows, or the stream ended with the head (RFC 9113 §8.1). */
export function hasBody({ stream }: ClientRequest, fields: Fields): boolean {
  if (stream) return !stream.endAfterHeaders
  return fields.transferEncoding !== undefined || (fields.contentLength ?? 0) > 0
}

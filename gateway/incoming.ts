/**
 * The request as the gateway takes it: read once, in one pass over its headers. Here, and nowhere else, reserved
 * headers are dropped in every spelling, our own cookies are taken out, and what two programs could read in two ways
 * is refused (RFC 9112 §3.2, §6.1; the numbers in comments are those RFCs' sections).
 */

import { isMethod } from '#infra/contracts/http-methods.ts'
import type { FaultCode } from '#infra/errors.ts'
import { isAmbiguousPath, isHopByHop, nominated, pathOf } from '#infra/http.ts'
import { isReserved, partCookies } from '#infra/reserved-fields.ts'
import { clientAddress, plainAddress, type TrustedProxies } from './client-address.ts'
import type { ClientRequest } from './front/client.ts'

export interface Incoming {
  readonly requestId: string
  /** `performance.now()` when the head had been read. */
  readonly startedAt: number
  readonly method: string
  /** Path and query, exactly as they will be sent. */
  readonly target: string
  readonly path: string
  /** Host with port as the client wrote it, in lower case; and without the port. */
  readonly host: string
  readonly hostname: string
  /** End-to-end headers for the origin, without anything reserved; Host included. */
  readonly headers: string[]
  /** Our own cookies of this host, by name. */
  readonly cookies: ReadonlyMap<string, string>
  readonly clientAddress: string
  /** Of the connection: the client's, or that of a proxy in front of the gateway. */
  readonly peerAddress: string
  /** X-Forwarded-For of a trusted proxy. */
  readonly forwardedFor: string | undefined
  /** X-Forwarded-Proto of a trusted proxy. */
  readonly forwardedProto: string | undefined
  readonly userAgent: string
  readonly origin: string | undefined
  readonly fetchSite: string | undefined
  readonly fetchDest: string | undefined
  readonly traceparent: string | undefined
  /** A browser shows the answer as a page: it may be redirected to sign in. */
  readonly isNavigation: boolean
  readonly acceptsHtml: boolean
  readonly hasBody: boolean
  /** Undefined without a Content-Length. */
  readonly contentLength: number | undefined
  readonly isChunked: boolean
  readonly protocolUpgrade: string | undefined
  readonly isHttp2: boolean
  /** The client reads trailers and may need them (`TE: trailers`, RFC 9110 §10.1.4), as gRPC does. */
  readonly acceptsTrailers: boolean
  /** Trailers that the client announces behind its body (RFC 9110 §6.6.2). */
  readonly trailer: string | undefined
}

const noCookies: ReadonlyMap<string, string> = new Map()

/** Of the target, and of all fields together with what separates them. */
const maxTargetBytes = 64 * 1024
const maxFieldsBytes = 64 * 1024

/** By which a gateway names itself in Via. Through several systems a request may go, in circles it may not. */
const ownPseudonym = /(?:^|,)\s*[\w./]+\s+sallyport\b/g
const maxPasses = 3

export class IncomingReader {
  readonly #isTrusted: TrustedProxies
  readonly #instance: string
  #count = 0

  constructor(instance: string, isTrusted: TrustedProxies) {
    this.#instance = instance
    this.#isTrusted = isTrusted
  }

  /** The id of a request. */
  nextId(): string {
    return `${this.#instance}-${(++this.#count).toString(36)}`
  }

  /** The request, or the fault for which it is refused. */
  read(req: ClientRequest): Incoming | { fault: FaultCode; requestId: string } {
    const requestId = this.nextId()
    const fields = readFields(req.rawHeaders)
    const target = targetOf(req, fields)
    const fault = target.fault ?? faultOf(req, fields, target.path)
    if (fault) return { fault, requestId }
    const peer = plainAddress(req.socket.remoteAddress)
    const isPeerTrusted = this.#isTrusted(peer)
    const method = req.method ?? 'GET'
    return {
      requestId,
      startedAt: performance.now(),
      method,
      target: target.target,
      path: target.path,
      host: target.host,
      hostname: target.host.replace(/:\d+$/, ''),
      headers: fields.kept,
      cookies: fields.cookies ?? noCookies,
      clientAddress: clientAddress(peer, fields.forwardedFor, this.#isTrusted),
      peerAddress: peer,
      forwardedFor: isPeerTrusted ? fields.forwardedFor : undefined,
      forwardedProto: isPeerTrusted ? fields.forwardedProto : undefined,
      userAgent: fields.userAgent,
      origin: fields.origin,
      fetchSite: fields.fetchSite,
      fetchDest: fields.fetchDest,
      traceparent: fields.traceparent,
      isNavigation: isNavigation(method, fields),
      acceptsHtml: fields.accept.includes('text/html'),
      hasBody: hasBody(req, fields),
      contentLength: fields.transferEncoding === undefined ? fields.contentLength : undefined,
      isChunked: fields.transferEncoding !== undefined,
      protocolUpgrade: fields.upgrade,
      isHttp2: req.stream !== undefined,
      acceptsTrailers: fields.acceptsTrailers,
      trailer: fields.trailer,
    }
  }
}

interface Fields {
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

function readFields(raw: readonly string[]): Fields {
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
    const name = (raw[i] as string).toLowerCase()
    const given = raw[i + 1] as string
    fields.bytes += name.length + given.length + 4
    const value = readField(fields, name, given)
    if (value === undefined || isHopByHop(name) || alsoHopByHop?.has(name)) continue
    fields.kept.push(raw[i] as string, value)
  }
  return fields
}

/** Notes what the gateway itself needs; answers the value that goes on, or undefined when none does. */
function readField(fields: Fields, name: string, value: string): string | undefined {
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
      if (value.toLowerCase() !== 'h2c') fields.upgrade = value
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
      return isReserved(name) ? undefined : value
  }
}

/** Fetch Metadata (W3C). */
function noteFetch(fields: Fields, name: string, value: string): void {
  if (name === 'sec-fetch-site') fields.fetchSite = value
  else if (name === 'sec-fetch-mode') fields.fetchMode = value
  else fields.fetchDest = value
}

/** Lines of a list (RFC 9110 §5.3). */
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

interface Target {
  target: string
  path: string
  host: string
  fault?: FaultCode
}

/** Origin-form, or absolute-form whose authority must agree with Host (3.2.2). */
function targetOf({ url = '', method }: ClientRequest, { host }: Fields): Target {
  let target = url
  const authority = (host ?? '').toLowerCase()
  const refused = (fault: FaultCode): Target => ({ target, path: '', host: authority, fault })
  if (!target.startsWith('/')) {
    if (target === '*') return refused(method === 'OPTIONS' ? 'method_not_allowed' : 'bad_request')
    const absolute = /^https?:\/\/([^/?#]+)(.*)$/i.exec(target)
    if (absolute?.[1]?.toLowerCase() !== authority) return refused('bad_request')
    target = absolute[2]?.startsWith('/') ? absolute[2] : `/${absolute[2]}`
  }
  return { target, path: pathOf(target), host: authority }
}

const validHost = /^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9.])?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i

/** HTTP/2 needs no framing fields: a body follows, or the stream ended with the head (RFC 9113 §8.1). */
function hasBody({ stream }: ClientRequest, fields: Fields): boolean {
  if (stream) return !stream.endAfterHeaders
  return fields.transferEncoding !== undefined || (fields.contentLength ?? 0) > 0
}

/** What the parser of HTTP/1.1 refuses by itself. */
function http2FaultOf({ method = '', url = '' }: ClientRequest): FaultCode | undefined {
  return isMethod(method) && /^[!-~]+$/.test(url) ? undefined : 'bad_request'
}

function faultOf(req: ClientRequest, fields: Fields, path: string): FaultCode | undefined {
  const fault = req.stream ? http2FaultOf(req) : undefined
  if (fault) return fault
  if (!req.stream && req.httpVersionMajor !== 1)
    return req.httpVersionMajor === 0 ? 'bad_request' : 'version_not_supported'
  if ((req.url ?? '').length > maxTargetBytes) return 'uri_too_long'
  if (fields.bytes > maxFieldsBytes) return 'headers_too_large'
  if (fields.hosts !== 1 || !validHost.test(fields.host ?? '')) return 'bad_request'
  if (fields.authorizations > 1) return 'bad_request'
  if (req.method === 'TRACE' || req.method === 'CONNECT') return 'method_not_allowed'
  if (isAmbiguousPath(path) || req.url?.includes('#')) return 'ambiguous_path'
  // Node does not read the body of an upgrade: it would be taken for the first bytes of the other protocol.
  if (fields.upgrade !== undefined && hasBody(req, fields)) return 'bad_request'
  if (isLoop(fields.via)) return 'loop_detected'
  const isHttp10 = !req.stream && req.httpVersionMinor === 0
  // HTTP/1.0 knows no expectations (10.1.1).
  if (fields.expect !== undefined && fields.expect.toLowerCase() !== '100-continue' && !isHttp10)
    return 'expectation_failed'
  if (fields.transferEncoding === undefined) return undefined
  if (isHttp10) return 'bad_request'
  return fields.transferEncoding.toLowerCase() === 'chunked' ? undefined : 'not_implemented'
}

/** RFC 9110 §7.6.3. */
function isLoop(via: string | undefined): boolean {
  return via !== undefined && (via.match(ownPseudonym)?.length ?? 0) > maxPasses
}

function isNavigation(method: string, fields: Fields): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  if (fields.fetchMode !== undefined) return fields.fetchMode === 'navigate'
  return fields.accept.includes('text/html') && !fields.requestedWith && !fields.upgrade
}

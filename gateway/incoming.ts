/**
 * The request as the gateway takes it: read once (request-fields.ts), or refused for what is wrong with it by itself
 * (request-faults.ts). Path and target are the very bytes that are matched, decided on and sent.
 */

import type { FaultCode } from '#infra/errors.ts'
import { pathOf } from '#infra/http.ts'
import { clientAddress, plainAddress, type TrustedProxies } from './client-address.ts'
import type { ClientRequest } from './front/client.ts'
import { faultOf } from './request-faults.ts'
import { type Fields, hasBody, readFields } from './request-fields.ts'

export interface Incoming {
  readonly requestId: string
  /** `performance.now()` when the head had been read. */
  readonly startedAt: number
  readonly method: string
  /** Path and query, exactly as they will be sent. */
  readonly target: string
  readonly path: string
  /** Host with port as the client wrote it, in lower case; and its parts, of which the port may be empty. */
  readonly host: string
  readonly hostname: string
  readonly port: string
  /** End-to-end headers for the origin, without anything reserved; Host included. */
  readonly headers: string[]
  /** Our own cookies of this host, by name. */
  readonly cookies: ReadonlyMap<string, string>
  readonly clientAddress: string
  /** Of the connection: the client's, or that of a proxy in front of the gateway. */
  readonly peerAddress: string
  /** X-Forwarded-For of a trusted proxy. */
  readonly forwardedFor: string | undefined
  /** X-Forwarded-Proto of a trusted proxy, unless it says something else. */
  readonly forwardedProto: 'http' | 'https' | undefined
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

/** What is refused for what is wrong with it by itself. */
export type Unread = { readonly fault: FaultCode } & Pick<Incoming, 'requestId' | 'acceptsHtml'>

const noCookies: ReadonlyMap<string, string> = new Map()

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
  read(req: ClientRequest): Incoming | Unread {
    const requestId = this.nextId()
    const fields = readFields(req.rawHeaders)
    const target = targetOf(req, fields)
    const fault = target.fault ?? faultOf(req, fields, target.path)
    const acceptsHtml = fields.accept.includes('text/html')
    if (fault) return { fault, requestId, acceptsHtml }
    const peer = plainAddress(req.socket.remoteAddress)
    const isPeerTrusted = this.#isTrusted(peer)
    const method = req.method ?? 'GET'
    const portStart = portStartOf(target.host)
    return {
      requestId,
      startedAt: performance.now(),
      method,
      target: target.target,
      path: target.path,
      host: target.host,
      hostname: target.host.slice(0, portStart),
      port: target.host.slice(portStart + 1),
      headers: fields.kept,
      cookies: fields.cookies ?? noCookies,
      clientAddress: clientAddress(peer, fields.forwardedFor, this.#isTrusted),
      peerAddress: peer,
      forwardedFor: isPeerTrusted ? fields.forwardedFor : undefined,
      forwardedProto: isPeerTrusted ? schemeIn(fields.forwardedProto) : undefined,
      userAgent: fields.userAgent,
      origin: fields.origin,
      fetchSite: fields.fetchSite,
      fetchDest: fields.fetchDest,
      traceparent: fields.traceparent,
      isNavigation: isNavigation(method, fields),
      acceptsHtml,
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

interface Target {
  target: string
  path: string
  host: string
  fault?: FaultCode
}

/** Origin-form, or absolute-form whose authority must agree with Host (RFC 9112 §3.2.2). */
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

/** Not every proxy replaces what its client wrote there, and it goes to origins within a list of parameters. */
function schemeIn(proto: string | undefined): 'http' | 'https' | undefined {
  const scheme = proto?.toLowerCase()
  return scheme === 'http' || scheme === 'https' ? scheme : undefined
}

/** Of a valid host: where the colon before its port is, or would be. */
function portStartOf(host: string): number {
  const colon = host.lastIndexOf(':')
  return colon === -1 || host.endsWith(']') ? host.length : colon
}

function isNavigation(method: string, fields: Fields): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  if (fields.fetchMode !== undefined) return fields.fetchMode === 'navigate'
  return fields.accept.includes('text/html') && !fields.requestedWith && !fields.upgrade
}

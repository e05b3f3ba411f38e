/**
 * For what a request is refused before anybody looks at where it goes: two programs could read it in two ways (RFC 9112
 * §3.2, §6.1), it is too large, it goes in circles, or it asks for what no gateway does. What Node's parser gives up on
 * never comes this far (front/unreadable.ts).
 */

import { isMethod } from '#infra/contracts/http-methods.ts'
import type { FaultCode } from '#infra/errors.ts'
import { isAmbiguousPath } from '#infra/http.ts'
import type { ClientRequest } from './front/client.ts'
import { type Fields, hasBody } from './request-fields.ts'

/** Of the target, and of all fields together with what separates them. */
const maxTargetBytes = 64 * 1024
const maxFieldsBytes = 64 * 1024

/** By which a gateway names itself in Via. Through several systems a request may go, in circles it may not. */
const ownPseudonym = /(?:^|,)\s*[\w./]+\s+sallyport\b/g
const maxPasses = 3

const validHost = /^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9.])?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i

/** The first of them, or undefined. `path` is that of the request's target. */
export function faultOf(req: ClientRequest, fields: Fields, path: string): FaultCode | undefined {
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
  if (fields.upgrade !== undefined && asksToSwitch(req) && hasBody(req, fields))
    return 'bad_request'
  if (isLoop(fields.via)) return 'loop_detected'
  const isHttp10 = !req.stream && req.httpVersionMinor === 0
  // HTTP/1.0 knows no expectations (RFC 9110 §10.1.1).
  if (fields.expect !== undefined && fields.expect.toLowerCase() !== '100-continue' && !isHttp10)
    return 'expectation_failed'
  if (fields.transferEncoding === undefined) return undefined
  if (isHttp10) return 'bad_request'
  return fields.transferEncoding.toLowerCase() === 'chunked' ? undefined : 'not_implemented'
}

/** What the parser of HTTP/1.1 refuses by itself. */
function http2FaultOf({ method = '', url = '' }: ClientRequest): FaultCode | undefined {
  return isMethod(method) && /^[!-~]+$/.test(url) ? undefined : 'bad_request'
}

/** An Upgrade that Connection does not name is not meant for us, if for anybody (RFC 9110 §7.8). */
function asksToSwitch({ rawHeaders }: ClientRequest): boolean {
  return rawHeaders.some(
    (name, i) =>
      i % 2 === 0 &&
      name.toLowerCase() === 'connection' &&
      /(?:^|,)\s*upgrade\s*(?:,|$)/i.test(rawHeaders[i + 1] as string),
  )
}

/** RFC 9110 §7.6.3. */
function isLoop(via: string | undefined): boolean {
  return via !== undefined && (via.match(ownPseudonym)?.length ?? 0) > maxPasses
}

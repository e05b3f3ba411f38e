/**
 * The only place that turns a fault or a refusal into HTTP: a page for people, `application/problem+json` (RFC 9457)
 * for programs. Neither names anything internal.
 */

import { STATUS_CODES } from 'node:http'
import { allowHeader } from '#infra/contracts/http-methods.ts'
import type { Challenge } from '#infra/contracts/policy.ts'
import { reasonSentence } from '#infra/contracts/reasons.ts'
import { FAULTS, type FaultCode, shownCode } from '#infra/errors.ts'
import { headerValue } from '#infra/http.ts'
import { errorPage, type Hop, linkButton, pageHeaders } from '#infra/page.ts'
import { discardBody } from './discard.ts'
import { type ClientResponse, flatHeaders } from './front/client.ts'
import type { Incoming } from './incoming.ts'

export interface Problem {
  readonly fault: FaultCode
  readonly requestId: string
  /** Left out when the request is refused unread; then `acceptsHtml` says who asks. */
  readonly incoming?: Incoming
  readonly acceptsHtml?: boolean
  /** Why access was refused, in words that a person may read. */
  readonly reasons?: readonly string[]
  /** Where a program sends its user to sign in. */
  readonly signInUrl?: string
  /** What policy wants of that sign-in. */
  readonly wanted?: Challenge
  /** Left out, a second. */
  readonly retryAfterSeconds?: number
  /** The methods that would do; left out, those that are commonly known. */
  readonly allow?: string
  readonly portalUrl: string
  /** Another published host whose pages may read this answer (CORS). */
  readonly allowedOrigin?: string | undefined
}

/** How far a request came before it failed, for the drawing on the page. */
const hops: Partial<Record<FaultCode, Hop>> = {
  no_connector: 'connector',
  connectors_busy: 'connector',
  connector_lost: 'connector',
  connector_refused: 'connector',
  protocol_error: 'connector',
  bus_unavailable: 'gateway',
  policy_unavailable: 'gateway',
  sign_in_unavailable: 'gateway',
  sign_on_failed: 'connector',
  sign_on_unavailable: 'connector',
  origin_unreachable: 'application',
  origin_timeout: 'application',
  origin_protocol_error: 'application',
  origin_certificate_invalid: 'application',
  origin_tls_untrusted: 'application',
  origin_tls_expired: 'application',
  origin_tls_wrong_name: 'application',
  origin_tls_wrong_pin: 'application',
  origin_address_refused: 'connector',
  site_veto: 'connector',
}

const usualRetryAfterSeconds = 1

export function sendProblem(res: ClientResponse, problem: Problem): void {
  if (res.headersSent || res.isGone) return res.abort()
  const { fault, incoming } = problem
  const { status, retryable } = FAULTS[fault]
  const headers: Record<string, string> = {
    'Sallyport-Request-Id': problem.requestId,
    Vary: 'Origin, Accept',
  }
  if (status === 405) headers.Allow = problem.allow ?? allowHeader()
  if (retryable)
    headers['Retry-After'] = `${Math.ceil(problem.retryAfterSeconds ?? usualRetryAfterSeconds)}`
  if (problem.signInUrl) headers['Sallyport-Sign-In'] = problem.signInUrl
  if (problem.wanted) headers['WWW-Authenticate'] = authenticateHeader(problem.wanted)
  if (problem.allowedOrigin !== undefined) allow(headers, problem.allowedOrigin)
  // A body that nobody will read makes the connection useless for the next request.
  if (!incoming || incoming.hasBody) res.closeConnection()
  const wantsPage = incoming?.isNavigation || (incoming ?? problem).acceptsHtml
  const body = Buffer.from(wantsPage ? pageOf(problem) : JSON.stringify(jsonOf(problem)))
  const fields = flatHeaders({ ...headers, ...(wantsPage ? pageHeaders : jsonHeaders) })
  const reason = STATUS_CODES[status] ?? ''
  if (!incoming || !isStillSending(res)) return res.sendWhole(status, reason, fields, body)
  res.sendHead(status, reason, [...fields, 'Content-Length', `${body.length}`])
  if (incoming.method !== 'HEAD') res.write(body)
  discardBody(res.req, () => res.end())
}

/** The rest of the body is on its way; whoever waits for "100 Continue" has not begun it. */
function isStillSending({ req, isContinued }: ClientResponse): boolean {
  const { complete, rawHeaders, stream } = req
  if (complete || stream?.endAfterHeaders) return false
  const isBegun = isContinued || headerValue(rawHeaders, 'expect') === undefined
  return isBegun && headerValue(rawHeaders, 'upgrade') === undefined
}

/** A whole answer as it is written to a connection whose request could not be read; it is the last one there. */
export function problemMessage(fault: FaultCode, requestId: string): string {
  const { status } = FAULTS[fault]
  const body = JSON.stringify(jsonOf({ fault, requestId }))
  const headers = {
    ...jsonHeaders,
    ...(status === 405 && { allow: allowHeader() }),
    'content-length': `${Buffer.byteLength(body)}`,
    'sallyport-request-id': requestId,
    connection: 'close',
  }
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...fields, '', body].join('\r\n')
}

const exposedHeaders = 'Sallyport-Request-Id, Sallyport-Sign-In, WWW-Authenticate, Retry-After'

/** RFC 9470 §3. What stands in quotes comes from the configuration of policy. */
function authenticateHeader({ acrValues, maxAgeSeconds }: Challenge): string {
  const quoted = (text: string) => `"${text.replace(/[^ !#-[\]-~]/g, '')}"`
  return [
    'Bearer error="insufficient_user_authentication"',
    `error_description=${quoted(FAULTS.insufficient_user_authentication.title)}`,
    ...(acrValues.length > 0 ? [`acr_values=${quoted(acrValues.join(' '))}`] : []),
    ...(maxAgeSeconds === undefined ? [] : [`max_age="${maxAgeSeconds}"`]),
  ].join(', ')
}

const jsonHeaders = {
  'content-type': 'application/problem+json',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
}

function allow(headers: Record<string, string>, origin: string): void {
  headers['Access-Control-Allow-Origin'] = origin
  headers['Access-Control-Allow-Credentials'] = 'true'
  headers['Access-Control-Expose-Headers'] = exposedHeaders
}

function jsonOf({
  fault,
  requestId,
  reasons,
  signInUrl,
  wanted,
}: Pick<Problem, 'fault' | 'requestId' | 'reasons' | 'signInUrl' | 'wanted'>): object {
  const { status, title, advice } = FAULTS[fault]
  return {
    type: `urn:sallyport:fault:${shownCode(fault)}`,
    title,
    status,
    code: shownCode(fault),
    detail: advice,
    instance: `urn:sallyport:request:${requestId}`,
    requestId,
    ...(reasons && { reasons }),
    ...(signInUrl && { signInUrl }),
    ...(wanted && { challenge: wanted }),
  }
}

function pageOf(problem: Problem): string {
  const { fault, requestId, reasons, incoming, portalUrl, signInUrl } = problem
  const { status, title, advice, retryable } = FAULTS[fault]
  const hop = hops[fault]
  const isFirst = !retryable && !signInUrl
  const portal = linkButton('Open the portal', portalUrl, isFirst ? 'primary' : 'secondary')
  // A path that begins with two slashes would be a link to another host.
  const canRepeat = retryable && incoming?.isNavigation && !incoming.target.startsWith('//')
  // A form that was sent is not sent on: with a step back it is still there, and can be sent again afterwards.
  const signIn = signInUrl && linkButton('Sign in', signInUrl)
  const again = canRepeat && linkButton('Try again', incoming.target)
  return errorPage({
    status,
    code: shownCode(fault),
    title,
    advice,
    ...(reasons && { reasons: reasons.map(reasonSentence) }),
    supportId: requestId,
    time: new Date(),
    ...(hop && { failedAt: hop }),
    actions: [...(again ? [again] : []), ...(signIn ? [signIn] : []), portal],
    homeUrl: portalUrl,
  })
}

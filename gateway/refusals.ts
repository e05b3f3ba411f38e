/**
 * How a request is turned away: a person is sent to sign in or shown a page, a program gets a problem document, and
 * the audit trail one event.
 */

import type { Challenge } from '#infra/contracts/policy.ts'
import { asSallyportError, type FaultCode } from '#infra/errors.ts'
import { controlPrefix, headerValue } from '#infra/http.ts'
import type { ClientResponse } from './front/client.ts'
import type { Incoming, Unread } from './incoming.ts'
import { TooManyRequests } from './limits.ts'
import { MethodNotAllowed } from './methods.ts'
import { sendProblem } from './problem.ts'
import { applicationAt, externalOrigin } from './publish.ts'
import { recordRefused } from './record.ts'
import { writeWanted } from './sign-in-state.ts'
import type { ServerContext, Visit } from './visit.ts'

/** A person is sent to sign in; a program is told where, and what is wanted of the sign-in (RFC 9470). */
export function challenge(
  context: ServerContext,
  visit: Visit,
  fault: FaultCode,
  { isFresh, wanted }: { isFresh: boolean; wanted?: Challenge | undefined },
): void {
  const { incoming, res, access } = visit
  if (incoming.isNavigation) context.applicationSignIn.redirectToPortal(visit, { isFresh, wanted })
  else
    sendProblem(res, {
      ...problem(context, visit, fault),
      signInUrl: signInUrl(context, incoming, wanted),
      ...(wanted && { wanted, reasons: access.decision?.reasons ?? [] }),
    })
  recordRefused(context.audit, access, { fault, isChallenge: true }, res)
}

/**
 * A script opens this in a window, and repeats its request when the window is back at the target. Whoever has sent a form
 * comes back to the page of that form.
 */
function signInUrl(
  { publication }: ServerContext,
  incoming: Incoming,
  wanted: Challenge | undefined,
): string {
  const { hostname, path, acceptsHtml } = incoming
  const paths = publication().at(hostname)
  const application = paths && applicationAt(paths, path)
  if (!application) return ''
  const parameters = new URLSearchParams()
  const target = acceptsHtml ? referringTarget(incoming) : undefined
  if (target !== undefined) parameters.set('target', target)
  writeWanted(parameters, wanted)
  const query = parameters.size > 0 ? `?${parameters}` : ''
  return `${externalOrigin(application, hostname)}${controlPrefix}sign-in${query}`
}

function referringTarget({ headers, hostname }: Incoming): string | undefined {
  const referrer = URL.parse(headerValue(headers, 'referer') ?? '')
  return referrer?.hostname === hostname ? `${referrer.pathname}${referrer.search}` : undefined
}

export function refuse(
  context: ServerContext,
  visit: Visit,
  fault: FaultCode,
  detail?: string,
  reasons?: readonly string[],
): void {
  const { res, access } = visit
  sendProblem(res, { ...problem(context, visit, fault), ...(reasons && { reasons }) })
  recordRefused(context.audit, access, { fault, ...(detail !== undefined && { detail }) }, res)
}

export function problem(context: ServerContext, visit: Visit, fault: FaultCode) {
  const { incoming, retryAfterSeconds, allow, crossOrigin } = visit
  return {
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    ...(allow !== undefined && { allow }),
    fault,
    requestId: incoming.requestId,
    incoming,
    portalUrl: context.portal.portalUrl,
    allowedOrigin: publishedOrigin(context, incoming) ?? crossOrigin?.reader,
  }
}

/** The origin of the page that asks, if it is one of ours: only such a page may read why it was refused. */
function publishedOrigin(
  { publication, portal }: ServerContext,
  { origin }: Incoming,
): string | undefined {
  const hostname = origin === undefined ? undefined : URL.parse(origin)?.hostname
  if (hostname === undefined) return undefined
  const isOurs = hostname === new URL(portal.portalUrl).hostname || publication().at(hostname)
  return isOurs ? origin : undefined
}

export function refuseUnread({ portal }: ServerContext, res: ClientResponse, unread: Unread): void {
  sendProblem(res, { ...unread, portalUrl: portal.portalUrl })
}

export function fail(context: ServerContext, visit: Visit, cause: unknown): void {
  const error = asSallyportError(cause)
  const { requestId } = visit.incoming
  if (error.fault.status >= 500) context.log.error({ error, requestId }, 'a request failed')
  if (error instanceof TooManyRequests) visit.retryAfterSeconds = error.retryAfterSeconds
  if (error instanceof MethodNotAllowed) visit.allow = error.allow
  refuse(context, visit, error.code, error.message)
}

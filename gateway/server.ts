/**
 * The request path, from top to bottom; each step leaves with the status beside it or goes on.
 *
 *   read          in one pass; reserved headers dropped here alone      400 405 501
 *   limit         what one address, one user may ask                    429
 *     │           the portal's host, or /.sallyport/ anywhere      ──►  portal.ts, sign-in.ts
 *   publish       which application is this host and path?              404 (400 for a path read in two ways)
 *     │           a preflight of an origin that it lets in            204
 *   authenticate  the session of this host's cookie; or passthrough     302 to sign in, 401, 403 cross-origin
 *   authorize     an access lease, in memory or from policy             403, 302/401 challenge, 503
 *   relay         one exchange with a connector over the bus            502 503 504, else the origin's own answer
 *     │
 *   record        exactly one access event, however it ended
 */

import type { Application } from '#infra/contracts/application.ts'
import { allowHeader } from '#infra/contracts/http-methods.ts'
import { SallyportError } from '#infra/errors.ts'
import { isAmbiguousBetweenPaths } from '#infra/http.ts'
import { authenticate, mayUseSession, rememberedSession } from './authenticate.ts'
import { crossOriginOf, preflightAnswer } from './cross-origin.ts'
import { askPolicy, decisionOf, rememberedGrant, turnAway } from './enforce.ts'
import type { Outcome } from './exchange.ts'
import { forwardedHeaders } from './forwarded.ts'
import type { RequestListener } from './front/client.ts'
import type { Grant } from './leases.ts'
import { mayForward } from './max-forwards.ts'
import { requireMethod } from './methods.ts'
import { healthPath, isControl, serveControl, servePortal } from './portal.ts'
import { sendProblem } from './problem.ts'
import { applicationAt } from './publish.ts'
import { type Question, questionOf } from './question.ts'
import { recordAnswered, recordGone, unasked } from './record.ts'
import { redirect } from './redirect.ts'
import { challenge, fail, problem, refuseUnread } from './refusals.ts'
import { isSmall, readBody } from './small-body.ts'
import type { ServerContext, Visit } from './visit.ts'

/** Less than the time that a lease in memory is good for at least. */
const freshGrantMs = 250

export function createRequestPath(context: ServerContext): RequestListener {
  const portalHostname = new URL(context.portal.portalUrl).hostname
  return (req, res, { upgrade, expectsContinue = false }) => {
    const incoming = context.reader.read(req)
    if ('fault' in incoming) return refuseUnread(context, res, incoming)
    const access = { incoming }
    // With every property that most requests set: adding one later costs each of them memory.
    const visit: Visit = {
      req,
      res,
      incoming,
      access,
      upgrade,
      expectsContinue,
      crossOrigin: undefined,
    }
    handle(context, visit, portalHostname).catch(error => fail(context, visit, error))
  }
}

async function handle(context: ServerContext, visit: Visit, portalHostname: string): Promise<void> {
  const { incoming } = visit
  const { limits } = context
  limits.admit('address', incoming.clientAddress)
  const isPortal = incoming.hostname === portalHostname
  if (isPortal || isControl(incoming)) limits.admit('sign-in', incoming.clientAddress)
  if (isPortal) return servePortalSafely(context, visit)
  const paths = context.publication().at(incoming.hostname)
  // Many balancers ask for it by the gateway's address, and can do no other.
  if (!paths && incoming.path === healthPath) return serveControl(context.portal, visit)
  if (!paths) throw new SallyportError('unknown_host', incoming.hostname)
  if (isControl(incoming)) return serveControl(context.portal, visit)
  if (paths.length > 1 && isAmbiguousBetweenPaths(incoming.path)) {
    throw new SallyportError('ambiguous_path', 'slashes that may be read in two ways')
  }
  const application = applicationAt(paths, incoming.path)
  if (!application) throw new SallyportError('not_found', 'no application at this path')
  visit.access.application = application
  visit.crossOrigin = crossOriginOf(application, incoming)
  const allowance = visit.crossOrigin && preflightAnswer(visit.crossOrigin, incoming)
  if (allowance) return answerHere(context, visit, allowance)
  const { externalAuthenticationType, allowedHttpMethods } = application.onPremisesPublishing
  const isOpen = externalAuthenticationType === 'passthru'
  if (!isOpen) {
    const session =
      rememberedSession(context, visit, application) ??
      (await authenticate(context, visit, application))
    if (!session) return
    visit.access.session = session
    limits.admit('user', session.userPrincipalName)
  }
  requireMethod(application, incoming.method)
  const question = questionOf(incoming, application, visit.access.session)
  const grant =
    rememberedGrant(context, visit, question) ?? (await askPolicy(context, visit, question))
  if (!grant) return
  visit.access.decision = decisionOf(grant, visit)
  visit.access.decidedAt ??= performance.now()
  if (visit.expectsContinue) visit.res.writeContinue()
  if (incoming.method === 'OPTIONS' && !mayForward(incoming.headers))
    return answerHere(context, visit, ['Allow', allowHeader(allowedHttpMethods)])
  if (isFolderWithoutSlash(visit, application)) return sendIntoFolder(context, visit)
  if (!isSmall(incoming)) return relay(context, visit, application, question, grant, noBytes)
  await relayWithBody(context, visit, application, question, grant)
}

async function relayWithBody(
  context: ServerContext,
  visit: Visit,
  application: Application,
  question: Question,
  grant: Grant,
): Promise<void> {
  const decidedAt = performance.now()
  const body = await readBody(visit.req, context.uploads)
  if (body === undefined) return recordGone(context.audit, visit.access)
  if (isRevoked(context, visit)) return
  // While a client took its time over the body, access may have changed.
  const isFresh = performance.now() - decidedAt < freshGrantMs && !grant.isOutdated && !grant.isLast
  const known = isFresh ? grant : rememberedGrant(context, visit, question)
  const current = known ?? (await askPolicy(context, visit, question))
  if (current) relay(context, visit, application, question, current, body)
}

/** Whether the session has ended while policy was asked, or while the body came; the request has been answered then. */
function isRevoked(context: ServerContext, visit: Visit): boolean {
  const { session } = visit.access
  if (!session || !context.sessions.isRevoked(session)) return false
  challenge(context, visit, 'unauthenticated', { isFresh: false })
  return true
}

/** The portal changes state by POST only, and only from its own pages. */
async function servePortalSafely(context: ServerContext, visit: Visit): Promise<void> {
  const { incoming } = visit
  if (!mayUseSession(incoming, () => new URL(context.portal.portalUrl).origin)) {
    throw new SallyportError('cross_origin_refused', incoming.origin ?? incoming.fetchSite ?? '')
  }
  await servePortal(context.portal, visit)
}

function relay(
  context: ServerContext,
  visit: Visit,
  application: Application,
  question: Question,
  grant: Grant,
  body: Buffer,
): void {
  const { incoming, req, res, access, upgrade, crossOrigin } = visit
  if (isRevoked(context, visit)) return
  const scheme = incoming.forwardedProto ?? (context.isSecure ? 'https' : schemeOf(application))
  context.relay.start({
    incoming,
    application,
    question,
    grant,
    headers: originHeaders(visit, application, scheme),
    crossOrigin,
    body,
    bodyFollows: (incoming.hasBody && !isSmall(incoming)) || upgrade !== undefined,
    req,
    res,
    upgrade,
    onDone(outcome) {
      if (outcome.decision) {
        access.decision = outcome.decision
        if (isAsIfNew(visit, outcome)) {
          access.cut = outcome
          return turnAway(context, visit, outcome.decision)
        }
      }
      if (outcome.fault && outcome.status === null)
        sendProblem(res, problem(context, visit, outcome.fault))
      recordAnswered(context.audit, access, outcome)
    },
  })
}

/**
 * Nothing of the answer has been sent, and what the application did for the request changed nothing: who asked is told
 * what the next request would be told.
 */
function isAsIfNew({ incoming, upgrade }: Visit, { status }: Outcome): boolean {
  const isRead = incoming.method === 'GET' || incoming.method === 'HEAD'
  return isRead && !incoming.hasBody && !upgrade && status === null
}

function originHeaders({ incoming, upgrade }: Visit, application: Application, scheme: string) {
  const headers = forwardedHeaders(incoming, scheme, upgrade !== undefined)
  const { originHttpVersion } = application.onPremisesPublishing
  // HTTP/1.1 origins get no TE: the connector takes trailers from them without asking.
  if (incoming.acceptsTrailers && originHttpVersion === 'http2') headers.push('TE', 'trailers')
  if (incoming.trailer !== undefined && incoming.hasBody) headers.push('Trailer', incoming.trailer)
  // Its framing goes on with the bytes of the connection.
  if (upgrade?.isRaw && incoming.isChunked) headers.push('Transfer-Encoding', 'chunked')
  return headers
}

/** What is asked of an application and not for it to answer. */
function answerHere({ audit }: ServerContext, { res, access }: Visit, headers: string[]): void {
  res.sendWhole(204, 'No Content', headers, noBytes)
  const respondedAt = performance.now()
  recordAnswered(audit, access, { ...unasked, status: 204, respondedAt })
}

/**
 * Whether it is for `/docs` of an application at `/docs/` that has another path inside: its origin would show the page
 * of the folder, whose relative links lead beside it from there.
 */
function isFolderWithoutSlash(
  { incoming: { method, path, hasBody }, upgrade }: Visit,
  { onPremisesPublishing: { externalUrl, internalUrl } }: Application,
): boolean {
  if ((method !== 'GET' && method !== 'HEAD') || hasBody || upgrade) return false
  if (!externalUrl.endsWith(`${path}/`)) return false
  const folder = new URL(externalUrl).pathname
  return folder === `${path}/` && folder !== new URL(internalUrl).pathname
}

function sendIntoFolder({ audit }: ServerContext, { res, access, incoming }: Visit): void {
  const { path, target } = incoming
  redirect(res, `${path}/${target.slice(path.length)}`, [])
  const respondedAt = performance.now()
  recordAnswered(audit, access, { ...unasked, status: 302, respondedAt })
}

const noBytes = Buffer.alloc(0)

function schemeOf({ onPremisesPublishing }: Application): string {
  return onPremisesPublishing.externalUrl.startsWith('https:') ? 'https' : 'http'
}

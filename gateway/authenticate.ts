/**
 * Who is asking? The session of the cookie at this host, unless a page of another origin is behind the request:
 * hosts under one parent domain are same-site to browsers, so cookies alone would let one application act in
 * another one's name. Whoever has none is sent to sign in.
 */

import type { Application } from '#infra/contracts/application.ts'
import type { Incoming } from './incoming.ts'
import { externalOrigin } from './publish.ts'
import { challenge, refuse } from './refusals.ts'
import { type Session, sessionCookie } from './session.ts'
import type { ServerContext, Visit } from './visit.ts'

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/** What browsers call a navigation though it only puts something into a page. */
const embeddings = new Set(['object', 'embed'])

/** Where a page may be laid under another one's buttons. */
const frames = new Set(['frame', 'iframe'])

/** The session that is in memory and may be used: the case of nearly every request, without a wait. */
export function rememberedSession(
  context: ServerContext,
  visit: Visit,
  application: Application,
): Session | undefined {
  const { incoming } = visit
  const cookie = incoming.cookies.get(sessionCookie)
  if (cookie === undefined) return undefined
  if (!isLetIn(visit, application)) return undefined
  return context.sessions.remembered(cookie, incoming.hostname) ?? undefined
}

/** The session, or undefined when the request has been answered. */
export async function authenticate(
  context: ServerContext,
  visit: Visit,
  application: Application,
): Promise<Session | undefined> {
  const { incoming } = visit
  const cookie = incoming.cookies.get(sessionCookie)
  if (cookie !== undefined && !isLetIn(visit, application)) {
    refuse(context, visit, 'cross_origin_refused', incoming.origin ?? incoming.fetchSite)
    return undefined
  }
  if (cookie !== undefined) {
    const session = await context.sessions.read(cookie, incoming.hostname)
    if (session) return session
  }
  challenge(context, visit, 'unauthenticated', { isFresh: false })
  return undefined
}

function isLetIn({ incoming, crossOrigin }: Visit, application: Application): boolean {
  if (crossOrigin?.isAllowed) return true
  return mayUseSession(incoming, () => visitedOrigin(incoming, application))
}

/**
 * Whether the session may be used. Following a link from anywhere is fine; anything else from another origin is not
 * (Fetch Metadata, W3C; `Origin`, RFC 6454). Programs that send neither header are not browsers that carry a cookie
 * without their user's will.
 */
export function mayUseSession(incoming: Incoming, ownOrigin: () => string): boolean {
  const { fetchSite, fetchDest, origin, isNavigation, method } = incoming
  const dest = fetchDest ?? ''
  const isFramed = fetchSite === 'cross-site' && frames.has(dest)
  const isLink = isNavigation && safeMethods.has(method) && !embeddings.has(dest) && !isFramed
  if (isLink) return true
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none') return false
  // So browsers send the forms of a page whose Referrer-Policy is no-referrer to the page's own host (Fetch, `Origin` header).
  if (origin === 'null' && fetchSite === 'same-origin') return true
  return origin === undefined || origin === ownOrigin()
}

function visitedOrigin(incoming: Incoming, application: Application): string {
  const origin = externalOrigin(application, incoming.hostname)
  // Reached under another port than the published one, as behind a port mapping: that is the browser's origin then.
  return `${origin.slice(0, origin.indexOf('//') + 2)}${incoming.host}`
}

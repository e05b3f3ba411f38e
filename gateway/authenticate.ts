/**
 * Who is asking? The session of the cookie at this host, unless a page of another origin is behind the request:
 * hosts under one parent domain are same-site to browsers, so cookies alone would let one application act in
 * another one's name.
 */

import type { Incoming } from './incoming.ts'

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/** What browsers call a navigation though it only puts something into a page. */
const embeddings = new Set(['object', 'embed'])

/**
 * Whether the session may be used. Following a link from anywhere is fine; anything else from another origin is not
 * (Fetch Metadata, W3C; `Origin`, RFC 6454). Programs that send neither header are not browsers that carry a cookie
 * without their user's will.
 */
export function mayUseSession(incoming: Incoming, ownOrigin: () => string): boolean {
  const { fetchSite, fetchDest, origin, isNavigation, method } = incoming
  const isLink = isNavigation && safeMethods.has(method) && !embeddings.has(fetchDest ?? '')
  if (isLink) return true
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none') return false
  return origin === undefined || origin === ownOrigin()
}

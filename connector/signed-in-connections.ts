/**
 * Clients that sign in to a connection and not to a request (NTLM, and Negotiate by it; RFC 4559 §6): whatever comes on
 * that connection afterwards the origin takes for theirs. So those of a session get connections of their own from then
 * on, and whoever has no session gets one for each such request.
 */

import { LRUCache } from 'lru-cache'
import { headerValue } from '#infra/http.ts'
import type { Dialer } from './dial.ts'
import type { OriginRequest, Origins } from './origin.ts'
import { sendAlone } from './origin-alone.ts'

const signsConnectionIn = /^(?:ntlm|negotiate)\b/i

/** Sessions at applications that are kept in mind. Who is left out signs in to a connection again. */
const maxOwners = 2_000

/** The same origins; a connection that somebody has signed in to is nobody else's. */
export function withSignedInConnections(origins: Origins, dialer: Dialer): Origins {
  const owners = new LRUCache<string, true>({ max: maxOwners })
  return {
    send(application, request, sink) {
      const { connectionOwner, claims } = request
      if (connectionOwner !== undefined) return origins.send(application, request, sink)
      const isSigningIn = signsIn(request)
      const session = claims?.session
      if (!session) {
        if (isSigningIn) return sendAlone(dialer, application, request, sink)
        return origins.send(application, request, sink)
      }
      const key = `${session} ${application.id}`
      if (isSigningIn) owners.set(key, true)
      if (owners.size === 0 || !owners.get(key)) return origins.send(application, request, sink)
      const owned = { ...request, connectionOwner: `session ${session}` }
      return origins.send(application, owned, sink)
    },
    upgrade: (application, request, sink) => origins.upgrade(application, request, sink),
    [Symbol.asyncDispose]: () => origins[Symbol.asyncDispose](),
  }
}

function signsIn({ headers }: OriginRequest): boolean {
  return signsConnectionIn.test(headerValue(headers, 'authorization') ?? '')
}

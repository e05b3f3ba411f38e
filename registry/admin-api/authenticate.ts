/**
 * The administrator's bearer token (RFC 6750). There is one, from the configuration; it is compared in constant time,
 * and nothing of what was sent instead reaches the log.
 */

import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import { Refusal } from '../refusal.ts'

/** The name that the holder of the token has in audit events. */
export const administrator = 'administrator'

/** Whoever has no valid token. */
export const nobody = 'unauthenticated'

/** Says who asks, in `actor`, or why nobody who may. */
export type Authenticate = (req: FastifyRequest, reply: FastifyReply) => Refusal | undefined

export function authenticator(token: string): Authenticate {
  const expected = digest(token)
  return (req, reply) => {
    const given = /^Bearer ([\x21-\x7e]+)$/i.exec(req.headers.authorization ?? '')?.[1]
    if (given !== undefined && timingSafeEqual(digest(given), expected)) {
      req.actor = administrator
      return undefined
    }
    void reply.header('www-authenticate', 'Bearer realm="sallyport"')
    const how = given === undefined ? 'send "Authorization: Bearer <token>"' : 'the token is wrong'
    const where =
      'SALLYPORT_REGISTRY_ADMIN_TOKEN of the registry, or admin-token in the folder of up'
    return new Refusal('unauthenticated', `${how}; it is ${where}`)
  }
}

/** Refuses every request without the token. */
export function requireToken(authenticate: Authenticate): onRequestHookHandler {
  return (req, reply, done) => done(authenticate(req, reply))
}

/** Digests have one length, which is what a constant-time comparison needs. */
function digest(value: string): Buffer {
  return createHash('sha256').update(value).digest()
}

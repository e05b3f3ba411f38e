/** `POST /users/{id}/revokeSignInSessions`: every session of a user ends, everywhere, at once. */

import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Audit } from '#infra/audit.ts'
import type { AdminContext, AdminServer } from './context.ts'
import { recordChange } from './record.ts'

const ByUser = z.object({
  id: z.string().min(1).max(256).describe("The user's user principal name."),
})

export function sessionRoutes(app: AdminServer, { revoke, audit }: AdminContext): void {
  app.route({
    method: 'POST',
    url: '/users/:id/revokeSignInSessions',
    schema: {
      tags: ['sessions'],
      summary: 'End every session of a user, open connections included',
      params: ByUser,
      response: { 200: z.object({ value: z.literal(true) }).describe('They are ended.') },
    },
    handler: async req => {
      const id = req.params.id.toLowerCase()
      revoke({ kind: 'user', id, atMs: Date.now(), reason: 'revoked-by-administrator' })
      const resource = `users/${audit.shown('user', id)}/signInSessions`
      recordChange(audit, req, { outcome: 'deleted', resource, changed: [], revision: null })
      recordRevoked(audit, req, id)
      return { value: true as const }
    },
  })
}

/** Beside the administrator's change: found by whoever looks for what happened to the user. */
function recordRevoked(audit: Audit, req: FastifyRequest, user: string): void {
  audit.record({
    category: 'policy',
    outcome: 'revoked',
    requestId: req.id,
    user,
    session: null,
    application: null,
    clientAddress: null,
    decision: null,
    durationMs: null,
  })
}

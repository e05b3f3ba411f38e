/** Sign-in and sign-out: the ID token becomes a session, and a session ends. Both are audited, failures too. */

import type { Audit } from '#infra/audit.ts'
import type { SignInReply, SignInRequest, SignOutRequest } from '#infra/contracts/policy.ts'
import type { Principal } from '#infra/contracts/principal.ts'
import type { SignInReason } from '#infra/contracts/reasons.ts'
import type { Logger } from '#infra/log.ts'
import type { Waiting } from '#infra/waiting.ts'
import type { VerifyIdToken } from './id-token.ts'
import type { Principals } from './principals.ts'
import type { Revocations } from './revoke.ts'

export interface SignInContext {
  verifyIdToken: VerifyIdToken
  principals: Principals
  revocations: Revocations
  audit: Audit
  log: Logger
}

interface Outcome {
  outcome: 'succeeded' | 'failed' | 'signed-out'
  reasons: SignInReason[]
  principal?: Principal | undefined
  sessionId?: string
}

/**
 * May be asked more than once with one ID token: the session that is told of is the only one that is recorded.
 * @throws SallyportError `sign_in_unavailable` when the provider or the store is away.
 */
export async function signIn(
  context: SignInContext,
  request: SignInRequest,
  waiting: Waiting,
): Promise<SignInReply> {
  waiting.check()
  const record = (outcome: Outcome) => {
    waiting.check()
    audit(context, request, outcome)
  }
  const verification = await context.verifyIdToken(request.idToken).catch(error => {
    record({ outcome: 'failed', reasons: ['provider-unavailable'] })
    throw error
  })
  if (!verification.isAccepted) {
    const reasons = [verification.reason]
    record({ outcome: 'failed', reasons })
    return { outcome: 'refused', reasons }
  }
  const { principal } = verification
  const created = await context.principals
    .create({ principal, facts: request.facts })
    .catch(error => {
      record({ outcome: 'failed', reasons: ['store-unavailable'], principal })
      throw error
    })
  const { sessionId, session } = created
  try {
    record({ outcome: 'succeeded', reasons: ['id-token-ok'], principal, sessionId })
  } catch (error) {
    await context.principals.delete(sessionId).catch(() => undefined)
    throw error
  }
  return { outcome: 'signed-in', sessionId, principal, expiresAtMs: session.expiresAtMs }
}

/**
 * Ends a session everywhere, unknown ones too: their tombstone does no harm. The tombstone is what ends it; a record
 * that cannot be removed now goes with its lifetime.
 */
export async function signOut(
  context: SignInContext,
  request: SignOutRequest,
  waiting: Waiting,
): Promise<null> {
  waiting.check()
  const { principals, revocations, log } = context
  const { sessionId } = request
  const known = await principals.find(sessionId).catch(() => undefined)
  waiting.check()
  revocations.revoke({ kind: 'session', id: sessionId, atMs: Date.now(), reason: 'signed-out' })
  audit(context, request, {
    outcome: 'signed-out',
    reasons: [],
    principal: known?.principal,
    sessionId,
  })
  await principals.delete(sessionId).catch(error => {
    log.warn({ reason: error.message }, 'the record of an ended session is still there')
  })
  return null
}

function audit(
  context: SignInContext,
  request: SignInRequest | SignOutRequest,
  { outcome, reasons, principal, sessionId }: Outcome,
): void {
  context.audit.record({
    category: 'sign-in',
    outcome,
    requestId: request.requestId,
    user: principal?.userPrincipalName ?? null,
    session: sessionId ?? null,
    application: null,
    clientAddress: 'facts' in request ? request.facts.clientAddress : null,
    reasons,
    amr: principal?.amr ?? [],
  })
}

/**
 * Answers a gateway's question for access: collects the facts, has them evaluated, and turns a grant into a lease.
 * Recorded are every refusal and the first grant of each session and application, not each renewal.
 */

import { LRUCache } from 'lru-cache'
import type { Audit } from '#infra/audit.ts'
import type { Application } from '#infra/contracts/application.ts'
import type { Decision, EvaluateReply, EvaluateRequest } from '#infra/contracts/policy.ts'
import type { SessionFacts } from '#infra/contracts/principal.ts'
import { SallyportError } from '#infra/errors.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import type { SessionState } from './conditions/condition.ts'
import { evaluate } from './evaluate.ts'
import { type LeaseSigner, leaseClaims } from './lease.ts'
import type { Principals } from './principals.ts'
import type { Revocations } from './revoke.ts'

export interface AccessContext {
  applications: Snapshot<Application>
  principals: Principals
  revocations: Revocations
  signer: LeaseSigner
  leaseLifetimeMs: number
  audit: Audit
}

/** Longest wait for a change that a gateway already knows. */
const catchUpMs = 1_000

/** Grants remembered as recorded. */
const maxRecorded = 100_000

/** @throws SallyportError `policy_unavailable` when the session cannot be looked up. */
export type AnswerAccess = (request: EvaluateRequest) => Promise<EvaluateReply>

export function createAccess(context: AccessContext): AnswerAccess {
  const recorded = new LRUCache<string, true>({ max: maxRecorded })
  const isRecorded = ({ sessionId, applicationId, facts }: EvaluateRequest): boolean => {
    const key = `${sessionId ?? facts.clientAddress}\n${applicationId}`
    if (recorded.has(key)) return true
    recorded.set(key, true)
    return false
  }
  return async request => {
    const startedMs = performance.now()
    const { sessionId } = request
    await catchUp(context.applications, request.applicationsRevision)
    const session = sessionId === null ? undefined : await context.principals.find(sessionId)
    const nowMs = Date.now()
    const state = stateOf(context.revocations, sessionId, session, nowMs)
    const application = published(context, request.applicationId)
    const decision = evaluate({ application, session: state, facts: request.facts })
    const isGranted = decision.outcome === 'grant' && application !== undefined
    const reply = isGranted
      ? granted({ context, request, decision, application, session, state, nowMs })
      : { decision }
    if (!isGranted || !isRecorded(request)) {
      record(context.audit, { request, decision, session, startedMs })
    }
    return reply
  }
}

/** A gateway may have heard of a change a moment earlier: it must not be answered from before it. */
async function catchUp(applications: Snapshot<Application>, revision: number): Promise<void> {
  if (applications.revision >= revision) return
  if (await applications.reached(revision, catchUpMs)) return
  throw new SallyportError('policy_unavailable', `applications of revision ${revision} not seen`)
}

/** Undefined also when it is known that the application has ended, and the bucket does not show it yet. */
function published(
  { applications, revocations }: AccessContext,
  id: string,
): Application | undefined {
  const application = applications.entries.get(id)
  const revision = applications.revisions.get(id) ?? 0
  return application && !revocations.isEnded(application, revision) ? application : undefined
}

function stateOf(
  revocations: Revocations,
  sessionId: string | null,
  session: SessionFacts | undefined,
  nowMs: number,
): SessionState {
  if (sessionId === null) return { is: 'absent' }
  if (!session) return { is: revocations.isSessionRevoked(sessionId) ? 'revoked' : 'unknown' }
  if (revocations.isRevoked(sessionId, session)) return { is: 'revoked' }
  if (!(nowMs < session.expiresAtMs)) return { is: 'expired' }
  return { is: 'valid', principal: session.principal }
}

interface Granted {
  context: AccessContext
  request: EvaluateRequest
  decision: Decision
  application: Application
  session: SessionFacts | undefined
  state: SessionState
  nowMs: number
}

function granted(grant: Granted): EvaluateReply {
  const { context, request, decision, application, session, state, nowMs } = grant
  const { sessionId: id, fingerprint } = request
  const isOfUser = state.is === 'valid' && session !== undefined && id !== null
  const claims = leaseClaims({
    application,
    decision,
    lifetimeMs: context.leaseLifetimeMs,
    fingerprint,
    session: isOfUser ? { ...session, id } : null,
    nowMs,
  })
  const lease = context.signer.sign(claims)
  return { decision, lease, leaseExpiresAtMs: claims.exp * 1_000 }
}

interface Record {
  request: EvaluateRequest
  decision: Decision
  session: SessionFacts | undefined
  startedMs: number
}

function record(audit: Audit, { request, decision, session, startedMs }: Record): void {
  audit.record({
    category: 'policy',
    outcome: decision.outcome,
    requestId: request.requestId,
    user: session?.principal.userPrincipalName ?? null,
    session: request.sessionId,
    application: request.applicationId,
    clientAddress: request.facts.clientAddress,
    decision,
    durationMs: Math.round((performance.now() - startedMs) * 1_000) / 1_000,
  })
}

/**
 * Answers a gateway's question for access: collects the facts, has them evaluated, and turns a grant into a lease.
 * Recorded are every refusal and the first grant of each session and application, not each renewal.
 */

import { LRUCache } from 'lru-cache'
import type { Audit } from '#infra/audit.ts'
import type { Application } from '#infra/contracts/application.ts'
import type { Explanation } from '#infra/contracts/conditional-access/explanation.ts'
import {
  type Decision,
  decisionFor,
  type EvaluateReply,
  type EvaluateRequest,
} from '#infra/contracts/policy.ts'
import type { SessionFacts } from '#infra/contracts/principal.ts'
import { SallyportError } from '#infra/errors.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import type { Waiting } from '#infra/waiting.ts'
import type { AssertionSigner } from './assertion.ts'
import { type Evaluation, evaluateWhole } from './evaluate.ts'
import { type Explained, explanationOf } from './explanation.ts'
import type { FollowedState } from './followed-state.ts'
import type { SessionState } from './gates/gate.ts'
import { type LeaseSigner, leaseClaims } from './lease.ts'
import type { Principals } from './principals.ts'
import type { Revocations } from './revoke.ts'
import type { PolicyState } from './state.ts'

export interface AccessContext {
  applications: Snapshot<Application>
  principals: Principals
  revocations: Revocations
  state: FollowedState
  signer: LeaseSigner
  assertions: AssertionSigner
  leaseLifetimeMs: number
  audit: Audit
}

/** Longest wait for a change that a gateway already knows. */
const catchUpMs = 1_000

/** Grants remembered as recorded. */
const maxRecorded = 100_000

/** @throws SallyportError `policy_unavailable` when the session cannot be looked up. */
export type AnswerAccess = (request: EvaluateRequest, waiting: Waiting) => Promise<EvaluateReply>

export function createAccess(context: AccessContext): AnswerAccess {
  const recorded = new LRUCache<string, true>({ max: maxRecorded })
  const isRecorded = ({ sessionId, applicationId, facts }: EvaluateRequest): boolean => {
    const key = `${sessionId ?? facts.clientAddress}\n${applicationId}`
    if (recorded.has(key)) return true
    recorded.set(key, true)
    return false
  }
  const explained = rememberingExplanations()
  return async (request, waiting) => {
    waiting.check()
    const startedMs = performance.now()
    const { sessionId } = request
    await catchUp(context, request)
    const found = sessionId === null ? undefined : await context.principals.find(sessionId)
    waiting.check()
    const foundMs = performance.now()
    const nowMs = Date.now()
    const policies = context.state.current
    const session = found && withPresentGroups(found, policies, nowMs)
    const state = stateOf(context.revocations, sessionId, session, nowMs)
    const application = published(context, request.applicationId)
    const access = { application, session: state, facts: request.facts, sessionId, nowMs }
    const evaluation = evaluateWhole(access, policies)
    const { requestId, methods = 'safe' } = request
    const whole = { ...evaluation.decision, requestId }
    const asked = decisionFor(whole, methods)
    const isGranted = asked.outcome === 'grant' && application !== undefined
    const decision = isGranted ? whole : asked
    const evaluatedMs = performance.now()
    const reply = isGranted
      ? granted({ context, request, evaluation, decision, application, session, state, nowMs })
      : { decision }
    if (!isGranted || !isRecorded(request)) {
      const explanation = explained(request, { access, evaluation, policies, methods })
      const timings = {
        lookUpMs: milliseconds(foundMs - startedMs),
        evaluateMs: milliseconds(evaluatedMs - foundMs),
      }
      record(context.audit, { request, decision, session, startedMs, explanation, timings })
    }
    return reply
  }
}

/** Somebody who is refused again and again in the same way is explained once: explaining costs more than deciding. */
const explanationsMs = 10_000
const maxExplanations = 2_000

interface KnownExplanation {
  readonly policies: PolicyState
  readonly outcome: string
  readonly explanation: Explanation
}

function rememberingExplanations() {
  const known = new LRUCache<string, KnownExplanation>({
    max: maxExplanations,
    ttl: explanationsMs,
  })
  return (request: EvaluateRequest, explaining: Explained): Explanation => {
    const { policies, evaluation, methods } = explaining
    const outcome = JSON.stringify(evaluation.decision)
    const { sessionId, applicationId, fingerprint } = request
    const key = `${sessionId}\n${applicationId}\n${fingerprint}\n${methods}`
    const remembered = known.get(key)
    if (remembered?.policies === policies && remembered.outcome === outcome) {
      return remembered.explanation
    }
    const explanation = explanationOf(explaining)
    known.set(key, { policies, outcome, explanation })
    return explanation
  }
}

/** Prepared once for each session and each list of groups: the policies look at the principal by its identity. */
const regrouped = new WeakMap<SessionFacts, { groups: readonly string[]; session: SessionFacts }>()

/** Groups as the directory has them now count in place of those in the ID token. */
function withPresentGroups(
  session: SessionFacts,
  { signals }: PolicyState,
  nowMs: number,
): SessionFacts {
  const groups = signals.groups(session.principal.userPrincipalName, nowMs)
  if (!groups) return session
  const known = regrouped.get(session)
  if (known?.groups === groups) return known.session
  const principal = { ...session.principal, groups: [...groups] }
  const changed = { ...session, principal }
  regrouped.set(session, { groups, session: changed })
  return changed
}

/** A gateway may have heard of a change a moment earlier: it must not be answered from before it. */
async function catchUp(
  { applications, revocations, state }: AccessContext,
  {
    applicationsRevision: revision,
    policiesRevision = 0,
    signalsRevision = 0,
    revocationsRevision = 0,
  }: EvaluateRequest,
): Promise<void> {
  const hasApplications =
    applications.revision >= revision || (await applications.reached(revision, catchUpMs))
  if (!hasApplications) {
    throw new SallyportError('policy_unavailable', `applications of revision ${revision} not seen`)
  }
  if (!(await state.reached(policiesRevision, signalsRevision, catchUpMs))) {
    throw new SallyportError('policy_unavailable', 'a change of policies or signals is not seen')
  }
  if (await revocations.reached(revocationsRevision, catchUpMs)) return
  throw new SallyportError('policy_unavailable', 'a revocation is not seen')
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
  evaluation: Evaluation
  decision: Decision
  application: Application
  session: SessionFacts | undefined
  state: SessionState
  nowMs: number
}

function granted(grant: Granted): EvaluateReply {
  const { context, request, evaluation, decision, application, session, state, nowMs } = grant
  const { sessionId: id, fingerprint } = request
  const isOfUser = state.is === 'valid' && session !== undefined && id !== null
  const claims = leaseClaims({
    application,
    decision,
    lifetimeMs: context.leaseLifetimeMs,
    validUntilMs: evaluation.validUntilMs,
    fingerprint,
    session: isOfUser ? { ...session, id } : null,
    nowMs,
  })
  const lease = context.signer.sign(
    context.assertions.complete(claims, application, session?.principal),
  )
  const { exp, lastUntil } = claims
  return {
    decision,
    lease,
    leaseExpiresAtMs: exp * 1_000,
    ...(lastUntil !== undefined && { lastLeaseUntilMs: lastUntil * 1_000 }),
  }
}

interface Record {
  request: EvaluateRequest
  decision: Decision
  session: SessionFacts | undefined
  startedMs: number
  explanation: Explanation
  timings: { lookUpMs: number; evaluateMs: number }
}

function record(audit: Audit, entry: Record): void {
  const { request, decision, session, startedMs, explanation, timings } = entry
  audit.record({
    category: 'policy',
    outcome: decision.outcome,
    requestId: request.requestId,
    user: session?.principal.userPrincipalName ?? null,
    session: request.sessionId,
    application: request.applicationId,
    clientAddress: request.facts.clientAddress,
    decision,
    durationMs: milliseconds(performance.now() - startedMs),
    timings,
    ...explanation,
  })
}

/** To a thousandth. */
function milliseconds(duration: number): number {
  return Math.round(duration * 1_000) / 1_000
}

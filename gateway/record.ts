/** One access event for each request to an application, however it ended. */

import type { Audit } from '#infra/audit.ts'
import type { Application } from '#infra/contracts/application.ts'
import type { Decision } from '#infra/contracts/policy.ts'
import { FAULTS, type FaultCode } from '#infra/errors.ts'
import type { Outcome } from './exchange.ts'
import type { ClientResponse } from './front/client.ts'
import type { Incoming } from './incoming.ts'
import type { Session } from './session.ts'

/** What is known of a request by the time it ends. */
export interface Access {
  readonly incoming: Incoming
  application?: Application
  session?: Session | undefined
  decision?: Decision
  /** `performance.now()` of the decision. */
  decidedAt?: number
  /** The exchange of which access ended before its answer began. */
  cut?: Pick<Outcome, 'connectorId' | 'attempts'>
}

export interface Refusal {
  readonly fault: FaultCode
  readonly detail?: string
  readonly isChallenge?: boolean
}

const endsOfAccess: ReadonlySet<FaultCode> = new Set(['session_revoked', 'read_only', 'site_veto'])

/** Whether a fault is that somebody may not go on who could before. */
export function endsAccess(fault: FaultCode): boolean {
  return endsOfAccess.has(fault)
}

export function recordAnswered(audit: Audit, access: Access, outcome: Outcome): void {
  const { fault, faultDetail, isAborted } = outcome
  const isDenied = fault !== undefined && endsAccess(fault)
  audit.record({
    ...common(access),
    outcome: isDenied ? 'denied' : fault ? 'failed' : isAborted ? 'aborted' : 'granted',
    status: outcome.status ?? (fault ? FAULTS[fault].status : null),
    ...(outcome.connectorGroupId && { connectorGroup: outcome.connectorGroupId }),
    ...(outcome.isOnLastLease && { lastLease: true }),
    connector: outcome.connectorId,
    attempts: outcome.attempts,
    fault: fault ?? null,
    faultDetail: faultDetail ?? null,
    requestBytes: outcome.requestBytes,
    responseBytes: outcome.responseBytes,
    respondedMs: since(access, outcome.respondedAt),
  })
}

/** No connector was asked. */
export const unasked = { connectorId: null, attempts: 0, requestBytes: 0, responseBytes: 0 }

/** The client left before its request was complete. */
export function recordGone(audit: Audit, access: Access): void {
  recordAnswered(audit, access, { ...unasked, isAborted: true, status: null, respondedAt: null })
}

export function recordRefused(
  audit: Audit,
  access: Access,
  { fault, detail, isChallenge }: Refusal,
  res: ClientResponse,
): void {
  audit.record({
    ...common(access),
    outcome: isChallenge ? 'challenged' : isFailure(fault) ? 'failed' : 'denied',
    status: res.statusCode,
    connector: access.cut?.connectorId ?? null,
    attempts: access.cut?.attempts ?? 0,
    fault,
    faultDetail: detail ?? null,
    requestBytes: 0,
    responseBytes: 0,
    respondedMs: null,
  })
}

/** Nobody decided anything against the request. */
function isFailure(fault: FaultCode): boolean {
  return FAULTS[fault].status >= 500 || fault === 'request_timeout'
}

function common(access: Access) {
  const { incoming, application, session, decision, decidedAt } = access
  return {
    category: 'access' as const,
    requestId: incoming.requestId,
    user: session?.userPrincipalName ?? null,
    session: session?.sessionId ?? null,
    application: application?.id ?? null,
    connectorGroup: application?.connectorGroupId ?? null,
    clientAddress: incoming.clientAddress,
    method: incoming.method,
    host: incoming.host,
    path: incoming.path,
    decision: decision ?? null,
    decidedMs: since(access, decidedAt ?? null),
    durationMs: since(access, performance.now()) ?? 0,
  }
}

/** Milliseconds since the request's head, to a hundredth. */
function since({ incoming }: Access, moment: number | null): number | null {
  return moment === null ? null : Math.round((moment - incoming.startedAt) * 100) / 100
}

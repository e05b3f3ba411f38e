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
  const { fault, faultDetail = null, isAborted, isOnLastLease } = outcome
  const isDenied = fault !== undefined && endsAccess(fault)
  record(audit, access, {
    outcome: isDenied ? 'denied' : fault ? 'failed' : isAborted ? 'aborted' : 'granted',
    status: outcome.status ?? (fault ? FAULTS[fault].status : null),
    connectorGroup: outcome.connectorGroupId || undefined,
    lastLease: isOnLastLease || undefined,
    connector: outcome.connectorId,
    attempts: outcome.attempts,
    fault: fault ?? null,
    faultDetail,
    requestBytes: outcome.requestBytes,
    responseBytes: outcome.responseBytes,
    respondedAt: outcome.respondedAt,
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
  record(audit, access, {
    outcome: isChallenge ? 'challenged' : isFailure(fault) ? 'failed' : 'denied',
    status: res.statusCode,
    connectorGroup: undefined,
    lastLease: undefined,
    connector: access.cut?.connectorId ?? null,
    attempts: access.cut?.attempts ?? 0,
    fault,
    faultDetail: detail ?? null,
    requestBytes: 0,
    responseBytes: 0,
    respondedAt: null,
  })
}

/** Nobody decided anything against the request. */
function isFailure(fault: FaultCode): boolean {
  return FAULTS[fault].status >= 500 || fault === 'request_timeout'
}

/** How a request ended. */
interface End {
  outcome: 'granted' | 'denied' | 'challenged' | 'failed' | 'aborted'
  status: number | null
  /** Unless it is the application's own. */
  connectorGroup: string | undefined
  lastLease: true | undefined
  connector: string | null
  attempts: number
  fault: FaultCode | null
  faultDetail: string | null
  requestBytes: number
  responseBytes: number
  respondedAt: number | null
}

function record(audit: Audit, access: Access, end: End): void {
  const { incoming, application, session, decision = null, decidedAt = null } = access
  audit.record({
    category: 'access',
    requestId: incoming.requestId,
    user: session?.userPrincipalName ?? null,
    session: session?.sessionId ?? null,
    application: application?.id ?? null,
    connectorGroup: end.connectorGroup ?? application?.connectorGroupId ?? null,
    clientAddress: incoming.clientAddress,
    method: incoming.method,
    host: incoming.host,
    path: incoming.path,
    decision,
    decidedMs: since(incoming, decidedAt),
    durationMs: since(incoming, performance.now()) ?? 0,
    outcome: end.outcome,
    status: end.status,
    lastLease: end.lastLease,
    connector: end.connector,
    attempts: end.attempts,
    fault: end.fault,
    faultDetail: end.faultDetail,
    requestBytes: end.requestBytes,
    responseBytes: end.responseBytes,
    respondedMs: since(incoming, end.respondedAt),
  })
}

/** Milliseconds since the request's head, to a hundredth. */
function since({ startedAt }: Incoming, moment: number | null): number | null {
  return moment === null ? null : Math.round((moment - startedAt) * 100) / 100
}

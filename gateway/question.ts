/**
 * What policy is asked about a request: who wants to use which application, from where and with what. Two requests of
 * the same key share an answer; a change that touches a question ends every answer to it.
 */

import type { Application } from '#infra/contracts/application.ts'
import {
  type MethodClass,
  type MethodQuestion,
  methodClassOf,
} from '#infra/contracts/http-methods.ts'
import type { Reevaluation, Revocation } from '#infra/contracts/policy.ts'
import { type Client, clientOf } from './facts.ts'
import type { Incoming } from './incoming.ts'
import type { SessionRecord } from './session.ts'

export interface Question {
  readonly sessionId: string | null
  /** Only to find what a revocation of this user touches; policy knows the user by the session. */
  readonly userPrincipalName: string | null
  readonly applicationId: string
  readonly client: Client
  readonly requestId: string
}

/** Without a session it is about anybody who uses this client. */
export function questionOf(
  incoming: Incoming,
  { id }: Application,
  session: Pick<SessionRecord, 'sessionId' | 'userPrincipalName'> | undefined,
): Question {
  return {
    sessionId: session?.sessionId ?? null,
    userPrincipalName: session?.userPrincipalName ?? null,
    applicationId: id,
    client: clientOf(incoming),
    requestId: incoming.requestId,
  }
}

/** A decision may be another one for requests that change something. */
export function methodsOf(
  { method, headers }: Omit<MethodQuestion, 'isUpgrade'>,
  upgrade: object | undefined,
): MethodClass {
  return methodClassOf({ method, headers, isUpgrade: upgrade !== undefined })
}

export function keyOf({ sessionId, applicationId, client }: Question): string {
  return `${sessionId ?? ''} ${applicationId} ${client.fingerprint}`
}

export function isTouched(question: Question, kind: Revocation['kind'], id: string): boolean {
  switch (kind) {
    case 'session':
      return question.sessionId === id
    case 'user':
      return question.userPrincipalName?.toLowerCase() === id.toLowerCase()
    case 'application':
      return question.applicationId === id
    case 'connector':
      return false
  }
}

/** Policies may name an application by its appId, which nobody looks up here: such a name means any application. */
export function touchedBy(
  touches: Exclude<Reevaluation['touches'], 'all'>,
): (question: Question) => boolean {
  const applications = new Set(touches.applications)
  const users = new Set(touches.users)
  const sessions = new Set(touches.sessions)
  const isAnyApplication = touches.applications.some(id => uuid.test(id))
  return ({ applicationId, userPrincipalName, sessionId }) =>
    isAnyApplication ||
    applications.has(applicationId) ||
    (userPrincipalName !== null && users.has(userPrincipalName.toLowerCase())) ||
    (sessionId !== null && sessions.has(sessionId))
}

const uuid = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/

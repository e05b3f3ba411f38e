/**
 * Access leases: is there an unexpired one for this session, application and client? If not, policy is asked, and
 * the request waits for at most the deadline. A lease in use is renewed behind the requests when half of it is over,
 * so the steady state never waits. Anything unknown or late is no grant.
 */

import { LRUCache } from 'lru-cache'
import type { Bus } from '#infra/bus.ts'
import {
  type Decision,
  decisionDeadlineMs,
  EvaluateReply,
  type EvaluateRequest,
  type Reevaluation,
  type Revocation,
} from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import type { Client } from './facts.ts'

export interface Question {
  readonly sessionId: string | null
  /** Only to find what a revocation of this user touches; policy knows the user by the session. */
  readonly userPrincipalName: string | null
  readonly applicationId: string
  readonly client: Client
  readonly requestId: string
}

export interface Grant {
  readonly decision: Decision
  readonly lease: string
  readonly expiresAtMs: number
  /** The members of the connector group that have taken a request with this lease: they know it by its reference. */
  readonly knownTo: Set<string>
}

export type Answer = Grant | { readonly decision: Decision; readonly lease?: undefined }

interface Remembered extends Grant {
  readonly question: Question
  readonly renewAtMs: number
  isRenewing: boolean
}

/** A lease that ends on its way would be refused by the connector, whose clock may be a little ahead of ours. */
const clockMarginMs = 500

/** After so long without an answer another member of policy's queue group is asked. */
const firstAnswerMs = 600

/** Changes of which the repetition is known. */
const maxHeard = 64

/** Leases kept per gateway process: of sessions, and of clients without one, whose number nobody controls. */
const maxLeases = 50_000
const maxOpenLeases = 5_000

export class Authorizer {
  readonly #bus: Bus
  readonly #log: Logger
  readonly #revision: () => number
  /** Revision of the last change of each application that changed since the start. */
  readonly #changed = new Map<string, number>()
  readonly #leases = new LRUCache<string, Remembered>({ max: maxLeases })
  readonly #openLeases = new LRUCache<string, Remembered>({ max: maxOpenLeases })
  readonly #asking = new Map<string, Promise<Answer>>()
  /** Of policies and signals, as far as changes were told: whoever answers must know as much. */
  readonly #told = { policies: 0, signals: 0 }
  readonly #heard = new LRUCache<string, true>({ max: maxHeard })
  /** Grows with every change that touches decisions: an answer from before it serves only who asked for it. */
  #generation = 0

  /** `revision` is that of the applications as this gateway knows them. */
  constructor(bus: Bus, log: Logger, revision: () => number) {
    this.#bus = bus
    this.#log = log
    this.#revision = revision
  }

  /** The lease in memory, if it is valid now. */
  remembered(question: Question): Grant | undefined {
    const key = keyOf(question)
    const known = this.#cacheOf(question).get(key)
    if (!known) return undefined
    const now = Date.now()
    if (now >= known.expiresAtMs - clockMarginMs) return undefined
    if (now >= known.renewAtMs && !known.isRenewing) this.#renewBehind(key, known, question)
    return known
  }

  /**
   * Asks policy; several requests with the same question share one answer.
   * @throws SallyportError `policy_unavailable` when there is no answer within the deadline.
   */
  ask(question: Question): Promise<Answer> {
    const key = keyOf(question)
    let asking = this.#asking.get(key)
    if (!asking) {
      const asked = this.#ask(key, question).finally(() => {
        if (this.#asking.get(key) === asked) this.#asking.delete(key)
      })
      asking = asked
      this.#asking.set(key, asking)
    }
    return asking
  }

  /** Forgets the leases that a revocation touches. */
  revoke({ kind, id }: Pick<Revocation, 'kind' | 'id'>): void {
    for (const leases of [this.#leases, this.#openLeases]) {
      for (const [key, { question }] of leases.entries()) {
        if (isTouched(question, kind, id)) leases.delete(key)
      }
    }
  }

  /** An application, or who may use it, has changed: its leases are asked for anew. */
  forget(applicationId: string): void {
    this.#changed.set(applicationId, this.#revision())
    this.revoke({ kind: 'application', id: applicationId })
  }

  /**
   * What policies or signals have changed for is decided anew, with the next request of each. False for what was told
   * before: every policy service tells of every change.
   */
  reevaluate(reevaluation: Reevaluation): boolean {
    const { bucket, revision, touches } = reevaluation
    const said = JSON.stringify(reevaluation)
    if (this.#heard.has(said)) return false
    this.#heard.set(said, true)
    this.#told[bucket] = Math.max(this.#told[bucket], revision)
    this.#forgetTouched(touches)
    return true
  }

  /** What was told while the bus was away is not known: everything is decided anew. */
  forgetAll(): void {
    this.#forgetTouched('all')
  }

  #forgetTouched(touches: Reevaluation['touches']): void {
    this.#generation++
    this.#asking.clear()
    for (const leases of [this.#leases, this.#openLeases]) {
      if (touches === 'all') leases.clear()
      else {
        const isMeant = touchedBy(touches)
        for (const [key, { question }] of leases.entries()) {
          if (isMeant(question)) leases.delete(key)
        }
      }
    }
  }

  async #ask(key: string, question: Question): Promise<Answer> {
    const { sessionId, applicationId, requestId, client } = question
    const applicationsRevision = this.#revision()
    const generation = this.#generation
    const request: EvaluateRequest = {
      applicationsRevision,
      policiesRevision: this.#told.policies,
      signalsRevision: this.#told.signals,
      sessionId,
      applicationId,
      requestId,
      facts: client.facts,
      fingerprint: client.fingerprint,
    }
    const reply = await this.#evaluate(request)
    const { decision, lease, leaseExpiresAtMs } = reply
    if (decision.outcome !== 'grant' || !lease || !leaseExpiresAtMs) {
      this.#cacheOf(question).delete(key)
      return { decision: decision.outcome === 'grant' ? withoutLease : decision }
    }
    const now = Date.now()
    const grant: Remembered = {
      question,
      decision,
      lease,
      expiresAtMs: leaseExpiresAtMs,
      knownTo: new Set(),
      renewAtMs: now + (leaseExpiresAtMs - now) / 2,
      isRenewing: false,
    }
    // An answer from before a change serves the request that asked for it, and no other.
    const isCurrent =
      (this.#changed.get(applicationId) ?? 0) <= applicationsRevision &&
      generation === this.#generation
    if (isCurrent) this.#cacheOf(question).set(key, grant)
    return grant
  }

  /** A member that died with the question is not waited for to the end: another one gets it too. */
  async #evaluate(request: EvaluateRequest): Promise<EvaluateReply> {
    const call = (timeoutMs: number) =>
      this.#bus.call(subjects.evaluate, request, {
        reply: EvaluateReply,
        timeoutMs,
        unavailable: 'policy_unavailable',
      })
    const askedAt = performance.now()
    try {
      return await call(firstAnswerMs)
    } catch (error) {
      const leftMs = decisionDeadlineMs - (performance.now() - askedAt)
      const isSilence = leftMs < decisionDeadlineMs - firstAnswerMs + 1
      if (!isSilence) throw error
      return call(leftMs)
    }
  }

  #cacheOf({ sessionId }: Question): LRUCache<string, Remembered> {
    return sessionId === null ? this.#openLeases : this.#leases
  }

  #renewBehind(key: string, known: Remembered, question: Question): void {
    known.isRenewing = true
    this.#ask(key, question).catch(error => {
      known.isRenewing = false
      this.#log.warn({ reason: error.message }, 'a lease could not be renewed yet')
    })
  }
}

const withoutLease: Decision = { outcome: 'block', reasons: ['lease-missing'], policies: [] }

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

function keyOf({ sessionId, applicationId, client }: Question): string {
  return `${sessionId ?? ''} ${applicationId} ${client.fingerprint}`
}

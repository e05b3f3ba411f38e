/**
 * Access leases: is there an unexpired one for this session, application and client? If not, policy is asked, and
 * the request waits for at most the deadline. A lease in use is renewed behind the requests when half of it is over,
 * so the steady state never waits. Anything unknown or late is no grant; but while nobody at all answers, a lease of an
 * application that is set to `lastLease` may be used for some time after its end, unless it was forgotten for a reason.
 */

import { LRUCache } from 'lru-cache'
import { type Bus, Unanswered } from '#infra/bus.ts'
import type { MethodClass } from '#infra/contracts/http-methods.ts'
import {
  type Decision,
  decisionFor,
  type EvaluateRequest,
  isReadOnly,
  type Reevaluation,
  type Revocation,
} from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import { askAgainMs, PolicyService } from './policy-service.ts'
import { isTouched, keyOf, type Question, touchedBy } from './question.ts'

export interface Grant {
  readonly decision: Decision
  readonly lease: string
  readonly expiresAtMs: number
  /** Until when it may be used while policy is away: no longer than it lives, unless the application wants that. */
  readonly lastUntilMs: number
  /** Policy was asked for a newer one, and nobody was there. */
  readonly isLast?: boolean
  /** The members of the connector group that have taken a request with this lease: they know it by its reference. */
  readonly knownTo: Set<string>
  /** Something has changed since it was asked for: what begins with it is decided anew at once. */
  readonly isOutdated?: boolean
}

export type Answer = Grant | { readonly decision: Decision; readonly lease?: undefined }

interface Remembered extends Grant {
  readonly question: Question
  isOutdated: boolean
  renewAtMs: number
  isRenewing: boolean
}

/** A lease that ends on its way would be refused by the connector, whose clock may be a little ahead of ours. */
const clockMarginMs = 500

/** Changes of which the repetition is known. */
const maxHeard = 64

/** Leases kept per gateway process: of sessions, and of clients without one, whose number nobody controls. */
const maxLeases = 50_000
const maxOpenLeases = 5_000

export class Authorizer {
  readonly #policy: PolicyService
  readonly #log: Logger
  readonly #revision: () => number
  /** Revision of the last change of each application that changed since the start. */
  readonly #changed = new Map<string, number>()
  readonly #leases = new LRUCache({ max: maxLeases, dispose: outdate })
  readonly #openLeases = new LRUCache({ max: maxOpenLeases, dispose: outdate })
  readonly #asking = new Map<string, Promise<Answer>>()
  /** Of policies and signals, as far as changes were told: whoever answers must know as much. */
  readonly #told = { policies: 0, signals: 0 }
  readonly #heard = new LRUCache<string, true>({ max: maxHeard })
  /** Grows with every change that touches decisions: an answer from before it serves only who asked for it. */
  #generation = 0

  /** `revision` is that of the applications as this gateway knows them. */
  constructor(bus: Bus, log: Logger, revision: () => number) {
    this.#policy = new PolicyService(bus)
    this.#log = log
    this.#revision = revision
  }

  /** The lease in memory, if it is valid now. */
  remembered(question: Question): Grant | undefined {
    const key = keyOf(question)
    const known = this.#cacheOf(question).get(key)
    if (!known) return undefined
    const now = Date.now()
    const isOver = now >= known.expiresAtMs - clockMarginMs
    if (isOver && !(this.#policy.isAway && mayLast(known, now))) return undefined
    if (now >= known.renewAtMs && !known.isRenewing) this.#renewBehind(key, known, question)
    return isOver ? { ...known, isLast: true } : known
  }

  /** Whether somebody has answered the last question, as far as there was one. */
  get isPolicyAnswering(): boolean {
    return this.#policy.isAnswering
  }

  /**
   * Asks policy; several requests with the same question share one answer. What is remembered of a safe one says what
   * is granted to the others; a refusal is asked for anew each time, so that it can be explained.
   * @throws SallyportError `policy_unavailable` when there is no answer within the deadline, and no last lease either.
   */
  ask(question: Question, methods: MethodClass = 'safe'): Promise<Answer> {
    const key = keyOf(question)
    const whole = `${key} ${methods}`
    let asking = this.#asking.get(whole)
    if (!asking) {
      const asked = this.#ask(key, question, methods)
        .catch(error => this.#lastLease(key, question, methods, error))
        .finally(() => {
          if (this.#asking.get(whole) === asked) this.#asking.delete(whole)
        })
      asking = asked
      this.#asking.set(whole, asking)
    }
    return asking
  }

  /** Forgets the leases that a revocation touches. An answer that is under way may be from before it. */
  revoke(revocation: Pick<Revocation, 'kind' | 'id'>): void {
    this.#generation++
    this.#asking.clear()
    this.#forgetRevoked(revocation)
  }

  #forgetRevoked({ kind, id }: Pick<Revocation, 'kind' | 'id'>): void {
    for (const leases of [this.#leases, this.#openLeases]) {
      for (const [key, { question }] of leases.entries()) {
        if (isTouched(question, kind, id)) leases.delete(key)
      }
    }
  }

  /** An application, or who may use it, has changed: its leases are asked for anew. */
  forget(applicationId: string): void {
    this.#changed.set(applicationId, this.#revision())
    this.#asking.clear()
    this.#forgetRevoked({ kind: 'application', id: applicationId })
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

  async #ask(key: string, question: Question, methods: MethodClass): Promise<Answer> {
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
      methods,
      facts: client.facts,
      fingerprint: client.fingerprint,
    }
    const reply = await this.#policy.evaluate(request)
    const { decision, lease, leaseExpiresAtMs, lastLeaseUntilMs = leaseExpiresAtMs } = reply
    if (decision.outcome !== 'grant' || !lease || !leaseExpiresAtMs || !lastLeaseUntilMs) {
      this.#forgetRefused(key, question, decision)
      return { decision: decision.outcome === 'grant' ? withoutLease : decision }
    }
    const now = Date.now()
    // An answer from before a change serves the request that asked for it, and no other.
    const isCurrent =
      (this.#changed.get(applicationId) ?? 0) <= applicationsRevision &&
      generation === this.#generation
    const grant: Remembered = {
      question,
      decision,
      lease,
      expiresAtMs: leaseExpiresAtMs,
      lastUntilMs: lastLeaseUntilMs,
      knownTo: new Set(),
      isOutdated: !isCurrent,
      renewAtMs: now + (leaseExpiresAtMs - now) / 2,
      isRenewing: false,
    }
    if (isCurrent) this.#cacheOf(question).set(key, grant)
    return grant
  }

  /** What is granted for safe methods alone goes on when another one is refused. */
  #forgetRefused(key: string, question: Question, decision: Decision): void {
    const leases = this.#cacheOf(question)
    const known = leases.get(key)
    const goesOn = decision.isReadOnly && known && isReadOnly(known.decision)
    if (!goesOn) leases.delete(key)
  }

  /** What is no longer remembered was forgotten because something has changed, or was never there. */
  #lastLease(key: string, question: Question, methods: MethodClass, error: unknown): Answer {
    const known = this.#cacheOf(question).get(key)
    const isAway = error instanceof Unanswered && this.#policy.isAway
    if (!isAway || !known || !mayLast(known, Date.now())) throw error
    const decision = decisionFor(known.decision, methods)
    return decision.outcome === 'grant' ? { ...known, isLast: true } : { decision }
  }

  #cacheOf({ sessionId }: Question): LRUCache<string, Remembered> {
    return sessionId === null ? this.#openLeases : this.#leases
  }

  #renewBehind(key: string, known: Remembered, question: Question): void {
    known.isRenewing = true
    this.#ask(key, question, 'safe')
      .catch(error => {
        known.renewAtMs = Date.now() + askAgainMs
        this.#log.warn({ reason: error.message }, 'a lease could not be renewed yet')
      })
      .finally(() => {
        known.isRenewing = false
      })
  }
}

/** Who still holds a lease that is forgotten, as while a body comes, is to know; one that was renewed is good. */
function outdate(lease: Remembered, _key: string, reason: LRUCache.DisposeReason): void {
  if (reason === 'delete') lease.isOutdated = true
}

/** Only of an application that wants it; without that a lease is over when it is over. */
function mayLast({ expiresAtMs, lastUntilMs }: Grant, nowMs: number): boolean {
  return lastUntilMs > expiresAtMs && nowMs < lastUntilMs - clockMarginMs
}

const withoutLease: Decision = { outcome: 'block', reasons: ['lease-missing'], policies: [] }

/**
 * May this request go on? By a lease in memory (leases.ts), which is renewed behind the requests when half of it is over,
 * so the steady state never waits; else policy is asked (policy-service.ts), and the request waits for at most the
 * deadline. Anything unknown or late is no grant; but while nobody at all answers, a lease of an application that is set
 * to `lastLease` may be used for some time after its end, unless it was forgotten for a reason.
 */

import { LRUCache } from 'lru-cache'
import type { Bus } from '#infra/bus.ts'
import { Unanswered } from '#infra/bus-calls.ts'
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
import { type Grant, isOver, Leases, mayLast, type RememberedGrant } from './leases.ts'
import { askAgainMs, PolicyService } from './policy-service.ts'
import { isTouched, keyOf, type Question, touchedBy } from './question.ts'

export type Answer = Grant | { readonly decision: Decision; readonly lease?: undefined }

/** Changes of which the repetition is known. */
const maxHeard = 64

/** The buckets as this gateway knows them. */
interface Shown {
  readonly applications: { readonly revision: number }
  readonly revocations: { readonly revision: number }
}

export class Authorizer {
  readonly #policy: PolicyService
  readonly #log: Logger
  readonly #shown: Shown
  /** Revision of the last change of each application that changed since the start. */
  readonly #changed = new Map<string, number>()
  readonly #leases = new Leases()
  readonly #asking = new Map<string, Promise<Answer>>()
  /** Of buckets, as far as changes were told: whoever answers must know as much. */
  readonly #told = { policies: 0, signals: 0, revocations: 0 }
  readonly #heard = new LRUCache<string, true>({ max: maxHeard })
  /** Grows with every change that touches decisions: an answer from before it serves only who asked for it. */
  #generation = 0

  constructor(bus: Bus, log: Logger, shown: Shown) {
    this.#policy = new PolicyService(bus)
    this.#log = log
    this.#shown = shown
  }

  /** The lease in memory, if it is valid now. */
  remembered(question: Question): Grant | undefined {
    const known = this.#leases.get(question)
    if (!known) return undefined
    const now = Date.now()
    const isLast = isOver(known, now)
    if (isLast && !(this.#policy.isAway && mayLast(known, now))) return undefined
    if (now >= known.renewAtMs && !known.isRenewing) this.#renewBehind(known, question)
    return isLast ? { ...known, isLast } : known
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
    const key = `${keyOf(question)} ${methods}`
    let asking = this.#asking.get(key)
    if (!asking) {
      const asked = this.#ask(question, methods)
        .catch(error => this.#lastLease(question, methods, error))
        .finally(() => {
          if (this.#asking.get(key) === asked) this.#asking.delete(key)
        })
      asking = asked
      this.#asking.set(key, asking)
    }
    return asking
  }

  /** As `revoke`, of what the tombstone alone has told: policy may see it a moment later than this gateway. */
  revokeByTombstone(revocation: Pick<Revocation, 'kind' | 'id'>): void {
    this.#told.revocations = this.#shown.revocations.revision
    this.revoke(revocation)
  }

  /** Forgets the leases that a revocation touches. An answer that is under way may be from before it. */
  revoke({ kind, id }: Pick<Revocation, 'kind' | 'id'>): void {
    this.#generation++
    this.#asking.clear()
    this.#leases.forgetThose(question => isTouched(question, kind, id))
  }

  /** An application, or who may use it, has changed: its leases are asked for anew. */
  forget(applicationId: string): void {
    this.#changed.set(applicationId, this.#shown.applications.revision)
    this.#asking.clear()
    this.#leases.forgetThose(question => question.applicationId === applicationId)
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

  /**
   * What was told while the bus was away is not known: everything is decided anew. Its buckets may have been made anew as
   * well, and then nobody ever sees the revisions of before.
   */
  forgetAll(): void {
    this.#told.policies = 0
    this.#told.signals = 0
    this.#heard.clear()
    this.#forgetTouched('all')
  }

  #forgetTouched(touches: Reevaluation['touches']): void {
    this.#generation++
    this.#asking.clear()
    if (touches === 'all') this.#leases.forgetAll()
    else this.#leases.forgetThose(touchedBy(touches))
  }

  async #ask(question: Question, methods: MethodClass): Promise<Answer> {
    const { sessionId, applicationId, requestId, client } = question
    const { applications, revocations } = this.#shown
    const applicationsRevision = applications.revision
    const generation = this.#generation
    const request: EvaluateRequest = {
      applicationsRevision,
      policiesRevision: this.#told.policies,
      signalsRevision: this.#told.signals,
      // A bucket that was made anew begins anew.
      revocationsRevision: Math.min(this.#told.revocations, revocations.revision),
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
      this.#forgetRefused(question, decision)
      return { decision: decision.outcome === 'grant' ? withoutLease : decision }
    }
    const now = Date.now()
    // An answer from before a change serves the request that asked for it, and no other.
    const isCurrent =
      (this.#changed.get(applicationId) ?? 0) <= applicationsRevision &&
      generation === this.#generation
    const grant: RememberedGrant = {
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
    if (isCurrent) this.#leases.remember(grant)
    return grant
  }

  /** What is granted for safe methods alone goes on when another one is refused. */
  #forgetRefused(question: Question, decision: Decision): void {
    const known = this.#leases.get(question)
    const goesOn = decision.isReadOnly && known && isReadOnly(known.decision)
    if (!goesOn) this.#leases.forget(question)
  }

  /** What is no longer remembered was forgotten because something has changed, or was never there. */
  #lastLease(question: Question, methods: MethodClass, error: unknown): Answer {
    const known = this.#leases.get(question)
    const isAway = error instanceof Unanswered && this.#policy.isAway
    if (!isAway || !known || !mayLast(known, Date.now())) throw error
    const decision = decisionFor(known.decision, methods)
    return decision.outcome === 'grant' ? { ...known, isLast: true } : { decision }
  }

  #renewBehind(known: RememberedGrant, question: Question): void {
    known.isRenewing = true
    this.#ask(question, 'safe')
      .catch(error => {
        known.renewAtMs = Date.now() + askAgainMs
        this.#log.warn({ reason: error.message }, 'a lease could not be renewed yet')
      })
      .finally(() => {
        known.isRenewing = false
      })
  }
}

const withoutLease: Decision = { outcome: 'block', reasons: ['lease-missing'], policies: [] }

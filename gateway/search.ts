/**
 * The search for a member that can take one request: of the application's connector group, then of its standby group.
 * Everything here is known never to have started (no responders, busy, not ready, not informed, lease unknown, expired),
 * so it goes to another member whatever its method; what may have started is not this file's business (exchange.ts).
 */

import type { Application } from '#infra/contracts/application.ts'
import { type FaultCode, isFaultCode } from '#infra/errors.ts'
import type { RefusedFrame } from '#infra/wire.ts'
import type { Members } from './members.ts'

/** What to do next: ask again after a pause, which may be none, or give up. */
export type Step =
  | { readonly waitMs: number }
  | { readonly fault: FaultCode; readonly detail: string }

/**
 * Bounds for the search of a member that can take the request. A group that has too much to do says so within 50 ms;
 * an origin that only some members reach is worth a longer search, which ends as soon as all of them have refused.
 */
const maxAttempts = 32
/** So many are made however long they take: on a busy machine one refusal may come later than the search should end. */
const leastAttempts = 4
const maxSearchMs = 30
const maxReachSearchMs = 2_000
/** A member whose refusal took so long has waited for its connection in vain. */
const waitedInVainMs = 500
/** How long connectors may take to hear of an application or a lease key that this gateway knows, and the pauses. */
const maxInformMs = 1_000
const informWaitMs = 20
/** Pause before an empty queue is asked again while members are known to be alive. */
const emptyQueueWaitMs = 5
/** With a standby group it is worth waiting for the news that those members are gone. */
const maxGoneSearchMs = 300
const goneWaitMs = 15

const atOnce: Step = { waitMs: 0 }
const nobody: Step = { fault: 'no_connector', detail: 'no connector of the group is online' }
const notBack: Step = {
  fault: 'bus_unavailable',
  detail: 'the bus was away, and no connector of the group has come back to it yet',
}

export class Search {
  /** Whose queue the request goes to: of the application's group, or of its standby group when that cannot serve it. */
  groupId: string
  attempts = 0
  /** A connector did not know the lease by its reference. */
  needsWholeLease = false
  readonly #application: Application
  readonly #members: Members
  readonly #startedAt = performance.now()
  #since = this.#startedAt
  #askedAt = 0
  #hasWaitedInVain = false
  #refusedBy: Set<string> | undefined
  #lastRefusal: RefusedFrame | undefined
  /** Made before the standby group was turned to. */
  #attemptsBefore = 0

  constructor(application: Application, members: Members) {
    this.#application = application
    this.#members = members
    this.groupId = application.connectorGroupId
  }

  /** A member is asked now. */
  asked(now: number): void {
    this.attempts++
    this.#askedAt = now
  }

  /** The queue was empty. While the gateway settles, connectors come back to the bus a little after or before it. */
  foundNobody(isSettling: boolean): Step {
    const isAlive = this.#members.liveIn(this.groupId) > 0
    if (isAlive) this.#members.call(this.groupId)
    if (isSettling) return { waitMs: informWaitMs }
    if (isAlive && this.#maySearch(this.#hasStandby ? maxGoneSearchMs : maxSearchMs))
      return { waitMs: this.#hasStandby ? goneWaitMs : emptyQueueWaitMs }
    if (this.#lastRefusal) return this.#giveUp(this.#lastRefusal)
    if (this.#members.isHeardIn(this.groupId))
      return { fault: 'connectors_busy', detail: 'the queue of the group is empty' }
    return this.#turnToStandby() ?? (isAlive ? notBack : nobody)
  }

  /** A member says that it cannot take the request, or that it took it and cannot answer. */
  refused(memberId: string, frame: RefusedFrame): Step {
    if (!frame.neverStarted) return this.#giveUp(frame)
    if (frame.code === 'lease_unknown' && !this.needsWholeLease) return this.#withWholeLease()
    this.#lastRefusal = frame
    const mayInform = performance.now() - this.#startedAt < maxInformMs
    if (frame.code === 'not_informed' && mayInform) return { waitMs: informWaitMs }
    this.#refusedBy ??= new Set()
    this.#refusedBy.add(memberId)
    if (frame.code === 'not_ready') this.#afterWaiting()
    const hasOthers = this.#members.liveIn(this.groupId) > this.#refusedBy.size
    const isOfPlace = frame.code === 'not_ready' || frame.code === 'sign_on_unavailable'
    const searchMs = isOfPlace ? maxReachSearchMs : maxSearchMs
    return hasOthers && this.#maySearch(searchMs) ? atOnce : this.#giveUp(frame)
  }

  #withWholeLease(): Step {
    this.needsWholeLease = true
    this.attempts--
    return atOnce
  }

  #maySearch(searchMs: number): boolean {
    const attempts = this.attempts - this.#attemptsBefore
    if (attempts < leastAttempts) return true
    return attempts < maxAttempts && performance.now() - this.#since < searchMs
  }

  /**
   * Nobody of the application's own group can take the request: those of its standby group are asked at once. The next
   * request asks its own group first again, so nobody has to notice when that is back.
   */
  #turnToStandby(): Step | undefined {
    const { standbyConnectorGroupId: standby } = this.#application
    if (standby === null || !this.#hasStandby) return undefined
    this.groupId = standby
    this.#refusedBy = undefined
    this.#attemptsBefore = this.attempts
    this.#since = performance.now()
    this.#hasWaitedInVain = false
    return atOnce
  }

  get #hasStandby(): boolean {
    const { standbyConnectorGroupId: standby } = this.#application
    return standby !== null && this.groupId !== standby
  }

  /** A member that waited for a connection has used up time in which others may reach the origin: it begins anew, once. */
  #afterWaiting(): void {
    const now = performance.now()
    if (this.#hasWaitedInVain || now - this.#askedAt < waitedInVainMs) return
    this.#hasWaitedInVain = true
    this.#since = now
  }

  #giveUp({ code, detail }: RefusedFrame): Step {
    switch (code) {
      case 'not_ready':
        return this.#turnToStandby() ?? { fault: 'origin_unreachable', detail }
      case 'not_informed':
        return { fault: 'connector_refused', detail }
      case 'busy':
      case 'expired':
      case 'clock_skew':
        return { fault: 'connectors_busy', detail: `${code}: ${detail}` }
      default:
        return { fault: isFaultCode(code) ? code : 'protocol_error', detail }
    }
  }
}

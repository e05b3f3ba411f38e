/**
 * Leases as the exchanges of a connector rest on them: whether one is good when an exchange begins, what a renewed one
 * changes, and when it ends under an exchange that is open. A gateway can send whatever it likes; what is not known here
 * ends them.
 */

import type { Application } from '#infra/contracts/application.ts'
import { type LeaseClaims, leaseLifetimeMs } from '#infra/contracts/policy.ts'
import { detailOf } from '#infra/errors.ts'
import { encodeRefused } from '#infra/frames.ts'
import {
  EndedLease,
  type LeaseExpectation,
  type LeaseVerifier,
  UnknownLease,
  UnknownLeaseKey,
} from '#infra/lease.ts'
import type { RequestFrame } from '#infra/wire.ts'
import type { Clock } from './clock.ts'
import type { LastLeases } from './last-leases.ts'

export interface LeasesOptions {
  clock: Clock
  /** The group's applications, by id. */
  applications: () => ReadonlyMap<string, Application>
  verifier: LeaseVerifier
  /** How long leases last that have ended. */
  lastLeases: Pick<LastLeases, 'endsAtMs'>
}

export class Leases {
  readonly #options: LeasesOptions
  /** `performance.now()` when the time was no longer known. */
  #timelessSince: number | undefined

  constructor(options: LeasesOptions) {
    this.#options = options
  }

  /** @throws SallyportError unless the request may begin by its lease; `refusalOfLease` says it to the gateway. */
  claimsOf(frame: RequestFrame, application: Application): LeaseClaims {
    const { verifier, clock } = this.#options
    const expected = this.#expectation(application, clock.now() ?? Number.POSITIVE_INFINITY)
    return frame.isLeaseReference
      ? verifier.recall(frame.lease, expected)
      : verifier.verify(frame.lease, expected)
  }

  /**
   * What a renewed lease says; undefined when it is another user's, or another session's.
   * @throws SallyportError unless it is good.
   */
  renewed(
    lease: string,
    { app: applicationId, session, sub }: LeaseClaims,
  ): LeaseClaims | undefined {
    const { verifier, clock, applications } = this.#options
    const nowMs = clock.now()
    if (nowMs === undefined) return undefined
    const application = applications().get(applicationId)
    const expected = application && this.#expectation(application, nowMs)
    const claims = verifier.verify(lease, expected ?? { applicationId, nowMs })
    return claims.session === session && claims.sub === sub ? claims : undefined
  }

  /**
   * The time by which leases end. While nobody knows it, undefined; after it, as soon as every lease of before must have
   * ended.
   */
  endingTime(): number | undefined {
    const now = this.#options.clock.now()
    if (now !== undefined) {
      this.#timelessSince = undefined
      return now
    }
    this.#timelessSince ??= performance.now()
    const isOver = performance.now() - this.#timelessSince > leaseLifetimeMs
    return isOver ? Number.POSITIVE_INFINITY : undefined
  }

  hasEnded(claims: LeaseClaims, nowMs: number): boolean {
    return claims.exp * 1_000 < nowMs && !this.#isLasting(claims, nowMs)
  }

  /** As the application is now, not as it was when the exchange began. */
  #isLasting(claims: LeaseClaims, nowMs: number): boolean {
    const { applications, lastLeases } = this.#options
    const application = applications().get(claims.app)
    return application !== undefined && lastLeases.endsAtMs(claims, application, nowMs) > nowMs
  }

  #expectation(application: Application, nowMs: number): LeaseExpectation {
    const { id: applicationId, onPremisesPublishing } = application
    if (onPremisesPublishing.whenPolicyIsUnavailable === 'failClosed')
      return { applicationId, nowMs }
    const { lastLeases } = this.#options
    const endsAtMs = (claims: LeaseClaims) => lastLeases.endsAtMs(claims, application, nowMs)
    return { applicationId, nowMs, endsAtMs }
  }
}

/** Whoever sends the lease again, whole or a little later, may get further when that is what was missing. */
export function refusalOfLease(error: unknown): Buffer {
  const detail = `lease: ${detailOf(error)}`
  if (error instanceof UnknownLease) return encodeRefused('lease_unknown', detail, true)
  if (error instanceof UnknownLeaseKey) return encodeRefused('not_informed', detail, true)
  // Another member may have heard all that happened since the lease was made.
  if (error instanceof EndedLease) return encodeRefused('policy_unavailable', detail, true)
  return encodeRefused('connector_refused', detail, false)
}

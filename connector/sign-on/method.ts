/**
 * The one interface that every method of sign-on has: what a request has to carry for its user, and what the origin's
 * answer says of it. A method is made once for each state of an application's settings.
 */

import type { LeaseClaims } from '#infra/contracts/policy.ts'
import type { Principal } from '#infra/contracts/principal.ts'

/** The user as the lease says; nothing else counts. */
export interface SignOnUser {
  readonly claims: LeaseClaims
  readonly principal: Principal
}

export interface Method {
  /** Fields that only this method sets, by canonical name: what a request has of them is dropped. */
  readonly owns: ReadonlySet<string>
  /** @throws SignOnFailure */
  prepare(user: SignOnUser): Prepared | Promise<Prepared>
}

/** What one request carries. */
export interface Prepared {
  readonly headers: readonly string[]
  readonly proof?: Proof | undefined
}

/** A sign-on that the origin may refuse, and that may say who the origin is. */
export interface Proof {
  /** Whose connections may carry it: an origin may take everything on a connection for this user's. */
  readonly connectionOwner: string
  /** The same once more from the beginning; undefined when that is of no use. */
  renew(): Promise<Prepared>
  /**
   * Judges the head of the final answer. It may take a moment, in which the answer is held back.
   * @throws SignOnFailure when the origin is not what it should be.
   */
  judge(status: number, headers: readonly string[]): 'refused' | 'accepted' | Promise<'accepted'>
  /** What of the answer's headers may go on. */
  cleaned(headers: readonly string[]): string[]
  /** Nobody needs it any more; does nothing after `judge`. */
  release(): void
}

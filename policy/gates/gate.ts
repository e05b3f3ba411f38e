/**
 * What every request has to pass before a policy is asked: its application is published, its session is valid, its user
 * is assigned. Gates are pure: everything they may look at is in `Access`.
 */

import type { Application } from '#infra/contracts/application.ts'
import type { Principal, RequestFacts } from '#infra/contracts/principal.ts'
import type { DecisionReason } from '#infra/contracts/reasons.ts'

/** The session of a request, as far as it is one. */
export type SessionState =
  | { readonly is: 'valid'; readonly principal: Principal }
  | { readonly is: 'absent' | 'unknown' | 'expired' | 'revoked' }

/** One request for access. */
export interface Access {
  /** Undefined when none of this name is published. */
  readonly application: Application | undefined
  readonly session: SessionState
  readonly facts: RequestFacts
  /** To find the risk of the sign-in by. */
  readonly sessionId?: string | null
  /** Now unless given. */
  readonly nowMs?: number
}

export type Verdict =
  | { readonly isSatisfied: true; readonly reason: DecisionReason }
  | {
      readonly isSatisfied: false
      readonly reason: DecisionReason
      /** `challenge` when the user can do something about it. */
      readonly outcome: 'challenge' | 'block'
    }

export type Gate = (access: Access) => Verdict | undefined

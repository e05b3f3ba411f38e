/**
 * The lease on which an open exchange rests: at first the one that let its request in, then newer ones for as long as
 * access goes on. It says itself when the next one has to be asked for; who asks is continuous-access.ts.
 */

import type { Grant } from './leases.ts'

/** How often leases are looked for that are about to end. */
export const sweepMs = 200

/** A long exchange gets its next lease when the present one has less than this left; of a short one, half of it. */
const renewBeforeMs = 25_000

/** Pause before policy is asked again for a lease that it did not renew. */
const renewAgainMs = 2_000

export class HeldLease {
  /** The exchange went on after the end of it, because nobody was there to renew it. */
  hasLasted: boolean
  readonly #first: Grant
  #value: string
  #expiresAtMs: number
  /** When the next one is asked for; undefined until somebody has looked. */
  #renewAtMs: number | undefined
  /** Policy was asked for the next one, and has not answered. */
  #isRenewedInVain = false

  constructor(grant: Grant) {
    this.#first = grant
    this.#value = grant.lease
    this.#expiresAtMs = grant.expiresAtMs
    this.hasLasted = grant.isLast === true
    if (grant.isOutdated) this.#renewAtMs = 0
  }

  /** The latest one; goes with the request however often that is sent. */
  get value(): string {
    return this.#value
  }

  /** Every member of a group of so many has had it, so a request need not carry it: it is as long as all the rest. */
  isKnownToAll(members: number): boolean {
    const { lease, knownTo } = this.#first
    return this.#value === lease && members > 0 && knownTo.size >= members
  }

  /** Over, and could not be renewed. A clock that has jumped proves nothing yet: policy is asked before. */
  isLost(nowMs: number): boolean {
    return nowMs >= this.#expiresAtMs && this.#isRenewedInVain
  }

  /** Whether the next one has to be asked for now. */
  isDue(nowMs: number): boolean {
    const leftMs = this.#expiresAtMs - nowMs
    this.#renewAtMs ??= nowMs + Math.max(leftMs - renewBeforeMs, leftMs / 2 - sweepMs)
    if (this.#renewAtMs > nowMs) return false
    this.#renewAtMs = nowMs + Math.min(renewAgainMs, Math.max(leftMs / 2, sweepMs))
    return true
  }

  /** Policy has granted access anew. False when by the same lease. */
  renewed(grant: Grant): boolean {
    const isNew = grant.lease !== this.#value
    this.#value = grant.lease
    this.#expiresAtMs = grant.expiresAtMs
    this.#renewAtMs = renewalAfter(grant)
    this.#isRenewedInVain = false
    if (grant.isLast && Date.now() >= grant.expiresAtMs) this.hasLasted = true
    return isNew
  }

  notRenewed(): void {
    this.#isRenewedInVain = true
    const againAtMs = Date.now() + renewAgainMs
    this.#renewAtMs = Math.min(this.#renewAtMs ?? Number.POSITIVE_INFINITY, againAtMs)
  }
}

/** Undefined when it is for the next look to say. */
function renewalAfter({ isOutdated, isLast }: Grant): number | undefined {
  if (isOutdated) return 0
  return isLast ? Date.now() + renewAgainMs : undefined
}

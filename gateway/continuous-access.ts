/**
 * Continuous access evaluation: access was decided when an exchange began, and is decided anew while it is open. A
 * revocation ends what it touches at once, a change has policy asked again, and one sweep in place of a timer per
 * exchange renews leases before they end. An exchange ends whose lease is over and could not be renewed.
 */

import type { Revocation } from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import { encodeLease } from '#infra/wire.ts'
import type { Authorizer } from './authorize.ts'
import type { Exchange } from './exchange.ts'
import type { Grant } from './leases.ts'
import { isTouched, type Question } from './question.ts'

/** How often leases are looked for that are about to end. */
const sweepMs = 200

/** A long exchange gets its next lease when the present one has less than this left; of a short one, half of it. */
const renewBeforeMs = 25_000

/** Pause before policy is asked again for a lease that it did not renew. */
const renewAgainMs = 2_000

export class ContinuousAccess implements Disposable {
  readonly #open: { values(): Iterable<Exchange> }
  readonly #authorizer: Authorizer
  readonly #log: Logger
  readonly #timer: NodeJS.Timeout

  constructor(open: { values(): Iterable<Exchange> }, authorizer: Authorizer, log: Logger) {
    this.#open = open
    this.#authorizer = authorizer
    this.#log = log
    this.#timer = setInterval(() => this.#sweep(), sweepMs)
  }

  /** Ends every open exchange that a revocation touches. */
  revoke({ kind, id }: Revocation): void {
    for (const exchange of [...this.#open.values()]) {
      if (isTouched(exchange.request.question, kind, id)) exchange.revoked()
    }
  }

  /** Has access decided again for every open exchange whose question is meant. */
  recheck(isMeant: (question: Question) => boolean): void {
    for (const exchange of this.#open.values()) {
      if (isMeant(exchange.request.question)) this.#renewOrWarn(exchange)
    }
  }

  #sweep(): void {
    const now = Date.now()
    for (const exchange of this.#open.values()) {
      const leftMs = exchange.leaseExpiresAtMs - now
      // A clock that has jumped proves nothing yet: policy is asked before.
      if (leftMs <= 0 && exchange.isRenewedInVain) {
        exchange.leaseEnded()
        continue
      }
      exchange.renewAtMs ??= now + Math.max(leftMs - renewBeforeMs, leftMs / 2 - sweepMs)
      if (exchange.renewAtMs > now) continue
      exchange.renewAtMs = now + Math.min(renewAgainMs, Math.max(leftMs / 2, sweepMs))
      this.#renewOrWarn(exchange)
    }
  }

  #renewOrWarn(exchange: Exchange): void {
    this.#renew(exchange).catch(error => {
      exchange.isRenewedInVain = true
      exchange.renewAtMs = Math.min(
        exchange.renewAtMs ?? Number.POSITIVE_INFINITY,
        Date.now() + renewAgainMs,
      )
      this.#log.warn({ reason: error.message }, 'a lease could not be renewed yet')
    })
  }

  async #renew(exchange: Exchange): Promise<void> {
    const answer = await this.#authorizer.ask(exchange.request.question, exchange.methods)
    if (answer.lease === undefined) return exchange.revoked(answer.decision)
    const isNew = answer.lease !== exchange.lease
    exchange.lease = answer.lease
    exchange.leaseExpiresAtMs = answer.expiresAtMs
    exchange.renewAtMs = renewalAfter(answer)
    exchange.isRenewedInVain = false
    if (answer.isLast && Date.now() >= answer.expiresAtMs) exchange.hasUsedLastLease = true
    if (isNew) exchange.sendDown(encodeLease(answer.lease))
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

/** Undefined when it is for the next sweep to say. */
function renewalAfter({ isOutdated, isLast }: Grant): number | undefined {
  if (isOutdated) return 0
  return isLast ? Date.now() + renewAgainMs : undefined
}

/**
 * Continuous access evaluation: access was decided when an exchange began, and is decided anew while it is open. A
 * revocation ends what it touches at once, a change has policy asked again, and one sweep in place of a timer per
 * exchange renews leases before they end. An exchange ends whose lease is over and could not be renewed.
 */

import type { Revocation } from '#infra/contracts/policy.ts'
import { encodeLease } from '#infra/frames.ts'
import type { Logger } from '#infra/log.ts'
import type { Authorizer } from './authorize.ts'
import type { Exchange } from './exchange.ts'
import { sweepMs } from './held-lease.ts'
import { isTouched, type Question } from './question.ts'

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
      if (exchange.lease.isLost(now)) exchange.leaseEnded()
      else if (exchange.lease.isDue(now)) this.#renewOrWarn(exchange)
    }
  }

  #renewOrWarn(exchange: Exchange): void {
    this.#renew(exchange).catch(error => {
      exchange.lease.notRenewed()
      this.#log.warn({ reason: error.message }, 'a lease could not be renewed yet')
    })
  }

  async #renew(exchange: Exchange): Promise<void> {
    const answer = await this.#authorizer.ask(exchange.request.question, exchange.methods)
    if (answer.lease === undefined) return exchange.revoked(answer.decision)
    if (exchange.lease.renewed(answer)) exchange.sendDown(encodeLease(answer.lease))
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

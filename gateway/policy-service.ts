/**
 * The policy services as one gateway reaches them: any member of their queue group answers, and another one is asked
 * when the first is silent. Away they are only when nobody has answered anything, over a bus that is there: whoever
 * refuses, or answers others, has a reason for it.
 */

import type { Bus } from '#infra/bus.ts'
import { Unanswered } from '#infra/bus-calls.ts'
import { decisionDeadlineMs, EvaluateReply, type EvaluateRequest } from '#infra/contracts/policy.ts'
import { InsistentCalls } from '#infra/insistent-calls.ts'
import { subjects } from '#infra/subjects.ts'

/** Pause before policy is asked once more behind the requests. */
export const askAgainMs = 500

/** Requests do not wait again to find out that policy is away, until the next question behind them has come to its end. */
const awayMs = decisionDeadlineMs + 2 * askAgainMs

export class PolicyService {
  readonly #bus: Bus
  readonly #calls: InsistentCalls
  /** `performance.now()` of the last answer, whatever it was. */
  #answeredAt = Number.NEGATIVE_INFINITY
  /** Of the last question that nobody answered, when nobody has answered another one since. */
  #unansweredAt: number | undefined

  constructor(bus: Bus) {
    this.#bus = bus
    this.#calls = new InsistentCalls(bus, 'gateway')
  }

  /** Whether somebody has answered the last question, as far as there was one. */
  get isAnswering(): boolean {
    return this.#unansweredAt === undefined
  }

  /** Found out so lately that it still holds. */
  get isAway(): boolean {
    return this.#unansweredAt !== undefined && performance.now() - this.#unansweredAt < awayMs
  }

  /** @throws SallyportError `policy_unavailable` when there is no answer within the deadline. */
  async evaluate(request: EvaluateRequest): Promise<EvaluateReply> {
    const askedAt = performance.now()
    try {
      const reply = await this.#calls.ask(subjects.evaluate, request, {
        reply: EvaluateReply,
        timeoutMs: decisionDeadlineMs,
        unavailable: 'policy_unavailable',
      })
      this.#answered()
      return reply
    } catch (error) {
      if (!(error instanceof Unanswered)) this.#answered()
      else if (this.#answeredAt < askedAt && this.#bus.isConnected)
        this.#unansweredAt = performance.now()
      throw error
    }
  }

  #answered(): void {
    this.#answeredAt = performance.now()
    this.#unansweredAt = undefined
  }
}

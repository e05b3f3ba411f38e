/**
 * The policy services as one gateway reaches them: any member of their queue group answers, and a second one is asked
 * when the first is silent. Away they are only when nobody has answered anything, over a bus that is there: whoever
 * refuses, or answers others, has a reason for it.
 */

import type { Bus } from '#infra/bus.ts'
import { Unanswered } from '#infra/bus-calls.ts'
import { decisionDeadlineMs, EvaluateReply, type EvaluateRequest } from '#infra/contracts/policy.ts'
import { subjects } from '#infra/subjects.ts'

/** After so long without an answer another member of policy's queue group is asked. */
const firstAnswerMs = 600

/** Pause before policy is asked once more behind the requests. */
export const askAgainMs = 500

/** Requests do not wait again to find out that policy is away, until the next question behind them has come to its end. */
const awayMs = decisionDeadlineMs + 2 * askAgainMs

export class PolicyService {
  readonly #bus: Bus
  /** `performance.now()` of the last answer, whatever it was. */
  #answeredAt = Number.NEGATIVE_INFINITY
  /** Of the last question that nobody answered, when nobody has answered another one since. */
  #unansweredAt: number | undefined

  constructor(bus: Bus) {
    this.#bus = bus
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
      const reply = await this.#ask(request)
      this.#answered()
      return reply
    } catch (error) {
      if (!(error instanceof Unanswered)) this.#answered()
      else if (this.#answeredAt < askedAt && this.#bus.isConnected)
        this.#unansweredAt = performance.now()
      throw error
    }
  }

  /** A member that died with the question is not waited for to the end: another one gets it too. */
  async #ask(request: EvaluateRequest): Promise<EvaluateReply> {
    const call = (timeoutMs: number) =>
      this.#bus.call(subjects.evaluate, request, {
        reply: EvaluateReply,
        timeoutMs,
        unavailable: 'policy_unavailable',
      })
    const askedAt = performance.now()
    try {
      return await call(firstAnswerMs)
    } catch (error) {
      const leftMs = decisionDeadlineMs - (performance.now() - askedAt)
      const isSilence = leftMs < decisionDeadlineMs - firstAnswerMs + 1
      if (!isSilence) throw error
      return call(leftMs)
    }
  }

  #answered(): void {
    this.#answeredAt = performance.now()
    this.#unansweredAt = undefined
  }
}

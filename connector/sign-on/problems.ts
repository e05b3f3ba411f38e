/**
 * What keeps users from being signed on, by application: for the connector's status and log. The log says each only once
 * in a while; every single failure stands in the audit event of its request.
 */

import type { Logger } from '#infra/log.ts'
import type { SignOnFailure } from './reasons.ts'

interface Problem {
  readonly text: string
  /** By the steady clock. */
  readonly atMs: number
}

/** Problems of one user say nothing of the application. */
const ofOneUser = new Set(['user_unknown', 'user_disabled', 'name_invalid', 'claim_unusable'])

const keptForMs = 600_000
const logEveryMs = 60_000

export class SignOnProblems {
  readonly #log: Logger
  readonly #problems = new Map<string, Problem>()
  readonly #loggedAtMs = new Map<string, number>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** Newest last, each with what has to be done. */
  list(): string[] {
    const oldest = performance.now() - keptForMs
    for (const [application, { atMs }] of this.#problems)
      if (atMs < oldest) this.#problems.delete(application)
    return [...this.#problems.values()].map(({ text }) => text)
  }

  failed(application: string, user: string, failure: SignOnFailure): void {
    const { reason, advice, message: detail } = failure
    if (!ofOneUser.has(reason)) {
      this.#problems.delete(application)
      this.#problems.set(application, {
        text: `${application}: ${reason}: ${advice}`,
        atMs: performance.now(),
      })
    }
    const key = `${application} ${reason}`
    const nowMs = performance.now()
    if (nowMs - (this.#loggedAtMs.get(key) ?? Number.NEGATIVE_INFINITY) < logEveryMs) return
    this.#loggedAtMs.set(key, nowMs)
    this.#log.warn({ application, user, reason, detail, advice }, 'a user could not be signed on')
  }

  succeeded(application: string): void {
    this.#problems.delete(application)
  }
}

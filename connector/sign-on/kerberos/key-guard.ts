/**
 * Holds back from asking the KDC again with a key that it has refused: directories lock accounts after a few wrong
 * passwords. A keytab that has changed is tried at once.
 */

import { statSync } from 'node:fs'
import type { GssError } from './gss-error.ts'

const firstWaitMs = 10_000
const longestWaitMs = 300_000

export class KeyGuard {
  readonly #keytabPath: string
  #failure: GssError | undefined
  #waitMs = firstWaitMs
  #until = 0
  #keytabState = ''

  constructor(keytabPath: string) {
    this.#keytabPath = keytabPath
  }

  /** @throws GssError the last refusal, as long as nothing can have changed. */
  check(): void {
    if (!this.#failure) return
    if (performance.now() >= this.#until || this.#stateOfKeytab() !== this.#keytabState) return
    throw this.#failure
  }

  refused(failure: GssError): void {
    // Whatever is not about the account may be over the next moment.
    if (!failure.failure.reason.startsWith('connector_')) return
    const state = this.#stateOfKeytab()
    const isSame = this.#failure !== undefined && state === this.#keytabState
    this.#waitMs = isSame ? Math.min(this.#waitMs * 2, longestWaitMs) : firstWaitMs
    this.#failure = failure
    this.#keytabState = state
    this.#until = performance.now() + this.#waitMs
  }

  accepted(): void {
    this.#failure = undefined
  }

  #stateOfKeytab(): string {
    const state = statSync(this.#keytabPath, { throwIfNoEntry: false })
    return state ? `${state.ino} ${state.mtimeMs} ${state.size}` : ''
  }
}

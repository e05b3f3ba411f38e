/**
 * How long an origin has said nothing, and taken nothing, while it was its turn. Sweeps look at what has moved since
 * the last one: no timer is armed for a request. The time in which the origin waits for us never counts, be it for the
 * client's bytes or for room at a slow reader, and no exchange has a limit as a whole.
 */

import { type OnPremisesPublishing, originTimeoutsMs } from '#infra/contracts/application.ts'
import { OriginError } from './origin-error.ts'

/** What the origin owes: its answer, bytes of a body (or room for them), or bytes of what may be quiet for long. */
export type Owed = Exclude<keyof ReturnType<typeof originTimeoutsMs>, 'connect'>

const names: Record<Owed, string> = {
  firstByte: 'first byte',
  idle: 'idle',
  streamIdle: 'stream idle',
}

export class Silence {
  readonly #timeoutsMs: ReturnType<typeof originTimeoutsMs>
  #owed: Owed | undefined
  #moved = -1
  #since = 0

  constructor(publishing: OnPremisesPublishing) {
    this.#timeoutsMs = originTimeoutsMs(publishing)
  }

  /** `moved` is any number that grows with every sign of life. Answers the failure once the silence is too long. */
  look(owed: Owed | undefined, moved: number, now: number): OriginError | undefined {
    if (owed === undefined || owed !== this.#owed || moved !== this.#moved) {
      this.#owed = owed
      this.#moved = moved
      this.#since = now
      return undefined
    }
    const limitMs = this.#timeoutsMs[owed]
    if (now - this.#since < limitMs) return undefined
    const detail = `${names[owed]} time-out: nothing for ${limitMs / 1_000} s`
    return new OriginError('origin_timeout', detail, true)
  }
}

/**
 * Whether somebody still waits for what a service makes of a question. When it has stood still, the question was asked
 * elsewhere: whatever is decided, stored or recorded here as well would count twice.
 */

import { AskAgain } from './bus-calls.ts'
import type { FaultCode } from './errors.ts'
import type { Attention } from './standstill.ts'

export interface Waiting {
  /** @throws AskAgain when it cannot be told any more. To be called when nothing is awaited any more. */
  check(): void
}

/** From now on, when a question has been read. */
export function waitingSince(attention: Attention, code: FaultCode): Waiting {
  const { lapses } = attention
  const isOld = attention.catchingUp !== undefined
  return {
    check() {
      if (!isOld && attention.lapses === lapses) return
      throw new AskAgain(code, 'stood still, and may have been asked long ago')
    },
  }
}

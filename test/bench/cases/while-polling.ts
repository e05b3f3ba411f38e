/** A case once more, with idle cores that poll as Linux has it by default: for goals that are absolute times. */

import type { Case } from '../case.ts'
import { linuxDefaultUs, startDefaultPolling } from '../machine/idle-polling.ts'
import { everybody } from '../measure.ts'

/** It is somebody's machine. */
const unasked = 'not measured: without --set-idle-polling the kernel stays as it is'

export function whilePolling(each: Case): Case {
  return {
    ...each,
    name: `${each.name}-polling`,
    about: `${each.about}; idle cores poll for ${linuxDefaultUs} µs before they halt, as Linux has it by default`,
    async open(bench) {
      await using stack = new AsyncDisposableStack()
      const polling = bench.maySetIdlePolling ? startDefaultPolling() : unasked
      if (typeof polling === 'string') {
        const missing = [{ name: everybody, note: polling }]
        return { subjects: [], missing, [Symbol.asyncDispose]: async () => {} }
      }
      stack.use(polling)
      bench.report(`idle cores poll for ${linuxDefaultUs} µs until the end of this case`)
      const opened = stack.use(await each.open(bench))
      const owned = stack.move()
      return { ...opened, [Symbol.asyncDispose]: () => owned.disposeAsync() }
    },
  }
}

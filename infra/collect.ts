/**
 * Has what large bodies leave behind collected in time. Every chunk passes through several buffers outside of V8's
 * heap, too few objects to fill the young generation; V8 comes to collect them only when they have grown by tens of
 * megabytes, and then marks the whole heap, many times a second. A collection of the young generation alone, after so
 * many bytes, costs about a millisecond: it halves the CPU of a large body. Small exchanges never come here.
 */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'minor' }) => void

const collectAfterBytes = 8 * 2 ** 20

let carriedBytes = 0
let collect: Collect | undefined

/** Called with every chunk of a body that streams. */
export function carried(bytes: number): void {
  carriedBytes += bytes
  if (carriedBytes < collectAfterBytes) return
  carriedBytes = 0
  collect ??= exposed()
  collect({ type: 'minor' })
}

/** The collector, which V8 shows only to contexts that begin after it was told to. */
function exposed(): Collect {
  setFlagsFromString('--expose-gc')
  const found: Collect = runInNewContext('gc')
  setFlagsFromString('--no-expose-gc')
  return found
}

/** What a program leaves in V8's old generation, in a process of its own. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

export interface Program {
  /** Statements, imports among them: what is there before anything is counted. */
  readonly before: string
  /** Statements about a `number`, for so many numbers. */
  readonly each: string
  readonly times: number
}

/** No collection of everything comes between, and V8 does not learn where objects are best put. */
const flags = [
  ...['--expose-gc', '--initial-heap-size=1024', '--no-allocation-site-pretenuring'],
  ...['--input-type=module', '--eval'],
]

/** In MiB, with ten collections of the young generation on the way. */
export async function promotedMiB({ before, each, times }: Program): Promise<number> {
  const program = `
    import { getHeapSpaceStatistics } from 'node:v8'
    ${before}
    const oldBytes = () =>
      getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space').space_used_size
    gc()
    const bytesBefore = oldBytes()
    for (let number = 0; number < ${times}; number++) {
      ${each}
      if ((number + 1) % ${times / 10} === 0) gc({ type: 'minor' })
    }
    process.stdout.write(String((oldBytes() - bytesBefore) / 2 ** 20))`
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program])
  return Number(stdout)
}

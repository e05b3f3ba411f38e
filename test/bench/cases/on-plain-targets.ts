/** Cases that need nothing but the targets of the run. */

import type { Bench } from '../bench.ts'
import type { Case, Round } from '../case.ts'
import type { Target, TargetName } from '../targets/target.ts'
import { warmUp } from './load-subject.ts'

export type PlainCase = Pick<Case, 'name' | 'about' | 'rounds'> & {
  /** Who takes part; all unless given. */
  among?: readonly TargetName[]
  /** Bodies go on for long: not for those that only know whole ones. */
  hasStreams?: true
  measure: (bench: Bench, target: Target) => Promise<Round>
}

export function onPlainTargets({ among, hasStreams, measure, ...about }: PlainCase): Case {
  return {
    ...about,
    reference: 'nginx',
    open: async bench => {
      const takesPart = ({ name }: { name: TargetName }) =>
        among?.includes(name) ?? !(hasStreams && name === 'nats-tunnel')
      const isShown = isPartOf(bench, about.name)
      const targets = bench.plain.targets.filter(takesPart).filter(isShown)
      return {
        subjects: targets.map(target => ({
          name: target.name,
          prepare: () => warmUp(bench, target),
          measure: () => measure(bench, target),
        })),
        missing: bench.plain.missing.filter(takesPart).filter(isShown),
        [Symbol.asyncDispose]: async () => {},
      }
    },
  }
}

/** The case with everybody in it, whatever the effort. */
const fullCase = 'small-json-64'

/** Whether a target takes part with this effort. */
function isPartOf({ effort }: Bench, caseName: string) {
  return ({ name }: { name: TargetName }) =>
    caseName === fullCase || (effort.furtherTargets?.includes(name) ?? true)
}

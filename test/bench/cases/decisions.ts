/** Decisions a second on one core, with few policies and with many: what is merely configured must cost little. */

import type { Bench } from '../bench.ts'
import type { Case, Opened } from '../case.ts'
import { decide, organisation } from '../load/decisions.ts'

const counts = [10, 1_000, 10_000] as const

export const withPolicies = (count: (typeof counts)[number]) =>
  `${count.toLocaleString('en')} policies`

export const decisions: Case = {
  name: 'decisions',
  about:
    'conditional access decisions on one core, one in fifty policies for everybody and everything',
  reference: withPolicies(10),
  rounds: 5,
  open,
}

async function open({ names, effort }: Bench): Promise<Opened> {
  const subjects = (names.includes('sallyport') ? counts : []).map(count => {
    const asked = organisation(count)
    return {
      name: withPolicies(count),
      prepare: async () => void decide(asked, effort.warmUpSeconds * 1_000),
      measure: async () => ({ requestsPerSecond: decide(asked, effort.seconds * 1_000) }),
    }
  })
  return {
    subjects,
    missing: [],
    remark: 'a "request" is a decision; leases are not signed',
    [Symbol.asyncDispose]: async () => undefined,
  }
}

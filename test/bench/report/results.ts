/**
 * The results of a run as questions can be put to them. A ratio is the median of the ratios within each round: what
 * disturbs the machine disturbs both.
 */

import type { Round } from '../case.ts'
import { median } from '../machine/statistics.ts'
import { type CaseResult, everybody, type Measured } from '../measure.ts'

export type MeasureOf = (round: Round) => number | undefined

export class Results {
  readonly cases: readonly CaseResult[]

  constructor(cases: readonly CaseResult[]) {
    this.cases = cases
  }

  /** Undefined when it was not measured, or failed. */
  rounds(caseName: string, subject: string): readonly Round[] | undefined {
    const rounds = this.measured(caseName, subject)?.rounds
    return rounds && rounds.length > 0 ? rounds : undefined
  }

  measured(caseName: string, subject: string): Measured | undefined {
    const each = this.cases.find(one => one.case === caseName)
    const find = (name: string) => each?.measured.find(one => one.subject === name)
    return find(subject) ?? find(everybody)
  }

  /** What a reader of a case's numbers must know besides. */
  remark(caseName: string): string | undefined {
    return this.cases.find(one => one.case === caseName)?.remark
  }

  /** The median over the rounds. */
  value(caseName: string, subject: string, measureOf: MeasureOf): number | undefined {
    return medianOf(this.rounds(caseName, subject)?.map(measureOf))
  }

  /** The median of what `combine` makes of both subjects' values in the same round. */
  compared(
    caseName: string,
    [subject, other]: readonly [string, string],
    { measureOf, combine }: { measureOf: MeasureOf; combine: (a: number, b: number) => number },
  ): number | undefined {
    const others = this.rounds(caseName, other)
    const combined = this.rounds(caseName, subject)?.map((round, index) => {
      const [a, b] = [measureOf(round), others?.[index] && measureOf(others[index])]
      return a === undefined || b === undefined ? undefined : combine(a, b)
    })
    return medianOf(combined)
  }

  ratio(
    caseName: string,
    pair: readonly [string, string],
    measureOf: MeasureOf,
  ): number | undefined {
    return this.compared(caseName, pair, { measureOf, combine: (a, b) => a / b })
  }
}

function medianOf(values: readonly (number | undefined)[] | undefined): number | undefined {
  const known = values?.filter(value => value !== undefined) ?? []
  return known.length === 0 ? undefined : median(known)
}

/** Everything between client and origin. */
export function hopCpu({ cpu }: Round): number | undefined {
  return cpu && sumOf(cpu, name => name !== 'origin')
}

/** Requests per second, or megabytes where bytes are what counts. */
export function rateOf({ requestsPerSecond, megabytesPerSecond }: Round): number | undefined {
  return requestsPerSecond ?? megabytesPerSecond
}

export function sumOf(
  values: Readonly<Record<string, number>>,
  isCounted: (name: string) => boolean = () => true,
): number {
  return Object.entries(values).reduce((sum, [name, v]) => (isCounted(name) ? sum + v : sum), 0)
}

/** The median of each process's values. */
export function mediansByProcess(
  rounds: readonly Round[],
  valuesOf: (round: Round) => Readonly<Record<string, number>> | undefined,
): Record<string, number> {
  const all = rounds.map(valuesOf).filter(values => values !== undefined)
  return Object.fromEntries(
    Object.keys(all[0] ?? {}).map(name => [name, median(all.map(values => values[name] ?? 0))]),
  )
}

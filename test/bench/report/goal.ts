/**
 * A row of what the bench must show: one number, the bound that it must reach and the one that is aimed for. A row that
 * could not be measured says why; one of which a part failed is not met.
 */

import { everybody } from '../measure.ts'
import { figure } from './format.ts'
import type { MeasureOf, Results } from './results.ts'

export interface Goal {
  readonly about: string
  readonly unit?: string
  readonly must: number
  readonly aim: number
  readonly isBetter: 'higher' | 'lower'
  /** Case and subjects that it is made of: they also know why there is no number. */
  readonly of: readonly [caseName: string, ...subjects: string[]]
  readonly value: (results: Results) => number | undefined
  /** The absolute numbers behind a ratio. */
  readonly beside?: (results: Results) => string | undefined
}

export type Bounds = Pick<Goal, 'about' | 'must' | 'aim' | 'isBetter'>

/** A subject's value by another one's. */
export function ratioGoal(
  of: readonly [caseName: string, subject: string, other: string],
  measureOf: MeasureOf,
  bounds: Bounds,
): Goal {
  const [caseName, subject, other] = of
  return {
    ...bounds,
    of,
    value: results => results.ratio(caseName, [subject, other], measureOf),
    beside: results => both(results, of, measureOf)?.join(' : '),
  }
}

/** A subject's value less another one's. */
export function differenceGoal(
  of: readonly [caseName: string, subject: string, other: string],
  measureOf: MeasureOf,
  bounds: Bounds & { unit: string },
): Goal {
  const [caseName, subject, other] = of
  const combine = (a: number, b: number) => a - b
  return {
    ...bounds,
    of,
    value: results => results.compared(caseName, [subject, other], { measureOf, combine }),
    beside: results => both(results, of, measureOf)?.join(' − '),
  }
}

/** A subject's value by itself. */
export function valueGoal(
  of: readonly [caseName: string, subject: string],
  measureOf: MeasureOf,
  bounds: Bounds & { unit: string },
): Goal {
  return { ...bounds, of, value: results => results.value(...of, measureOf) }
}

function both(results: Results, of: readonly [string, string, string], measureOf: MeasureOf) {
  const [caseName, ...subjects] = of
  const values = subjects.map(subject => results.value(caseName, subject, measureOf))
  return values.includes(undefined) ? undefined : values.map(value => figure(value ?? 0))
}

export type Verdict = 'met' | 'not met' | 'not measured'

export interface Judged {
  readonly about: string
  readonly value: number | undefined
  /** The number with what is behind it, or why there is none. */
  readonly measured: string
  readonly must: { readonly bound: string; readonly verdict: Verdict }
  readonly aim: { readonly bound: string; readonly verdict: Verdict }
}

export function judge(goal: Goal, results: Results): Judged {
  const value = goal.value(results)
  const sign = goal.isBetter === 'higher' ? '≥' : '≤'
  const withoutValue: Verdict = hasFailed(goal, results) ? 'not met' : 'not measured'
  const judged = (bound: number) => ({
    bound: `${sign} ${withUnit(bound, goal.unit)}`,
    verdict: value === undefined ? withoutValue : verdictOf(value, bound, goal.isBetter),
  })
  const { about, must, aim } = goal
  const measured = value === undefined ? reason(goal, results) : number(goal, value, results)
  return { about, value, measured, must: judged(must), aim: judged(aim) }
}

function verdictOf(value: number, bound: number, isBetter: Goal['isBetter']): Verdict {
  const isReached = isBetter === 'higher' ? value >= bound : value <= bound
  return isReached ? 'met' : 'not met'
}

function number({ unit, beside, of }: Goal, value: number, results: Results): string {
  const behind = [beside?.(results), results.remark(of[0])].filter(text => text !== undefined)
  const shown = withUnit(value, unit)
  return behind.length === 0 ? shown : `${shown} (${behind.join('; ')})`
}

function withUnit(value: number, unit: string | undefined): string {
  return unit === undefined ? figure(value) : `${figure(value)} ${unit}`
}

function hasFailed({ of: [caseName, ...subjects] }: Goal, results: Results): boolean {
  return subjects.some(subject => results.measured(caseName, subject)?.hasFailed === true)
}

function reason({ of }: Goal, results: Results): string {
  const [caseName, ...subjects] = of
  const notes = subjects.flatMap(subject => {
    const found = results.measured(caseName, subject)
    if (found?.note === undefined) return []
    return [found.subject === everybody ? found.note : `${subject}: ${found.note}`]
  })
  return notes.length > 0 ? [...new Set(notes)].join('; ') : 'not part of this run'
}

/** What the bench says of its own measurements: a failure must not look like a success, nor noise like a result. */

import { describe, expect, test } from 'vitest'
import type { Round } from './bench/case.ts'
import { cases } from './bench/cases/all.ts'
import { type CaseResult, everybody, type Measured } from './bench/measure.ts'
import { readOptions } from './bench/options.ts'
import { judge, ratioGoal, valueGoal } from './bench/report/goal.ts'
import { goals } from './bench/report/goals.ts'
import { Results, rateOf } from './bench/report/results.ts'
import { reportOf } from './bench/report/write.ts'

const rates = (...perSecond: number[]): Round[] =>
  perSecond.map(requestsPerSecond => ({ requestsPerSecond }))

function resultsOf(...measured: Measured[]): Results {
  const about = { about: 'some load', reference: 'nginx' }
  return new Results([{ case: 'load', ...about, measured }])
}

const half = ratioGoal(['load', 'sallyport', 'nginx'], rateOf, {
  about: 'by nginx',
  must: 0.4,
  aim: 0.6,
  isBetter: 'higher',
})

describe('a ratio', () => {
  test('is the median of the ratios within rounds, whatever the machine did between them', () => {
    const results = resultsOf(
      { subject: 'nginx', rounds: rates(1_000, 100, 10) },
      { subject: 'sallyport', rounds: rates(500, 50, 1) },
    )
    expect(judge(half, results)).toMatchObject({
      value: 0.5,
      must: { bound: '≥ 0.4', verdict: 'met' },
      aim: { bound: '≥ 0.6', verdict: 'not met' },
      measured: '0.5 (50 : 100)',
    })
  })

  test('is not made up when the other side was not measured', () => {
    const results = resultsOf(
      { subject: 'nginx', rounds: [], note: 'not measured: nginx is not installed' },
      { subject: 'sallyport', rounds: rates(500) },
    )
    expect(judge(half, results)).toMatchObject({
      value: undefined,
      must: { verdict: 'not measured' },
      measured: 'nginx: not measured: nginx is not installed',
    })
  })

  test('of a case that this machine does not allow is not measured, for one reason', () => {
    const note = 'not measured: idle polling cannot be set on this machine'
    const results = resultsOf({ subject: everybody, rounds: [], note })
    expect(judge(half, results)).toMatchObject({
      must: { verdict: 'not measured' },
      measured: note,
    })
  })
})

describe('a failure', () => {
  test('of one side makes its rows not met', () => {
    const results = resultsOf(
      { subject: 'nginx', rounds: rates(1_000) },
      { subject: 'sallyport', rounds: [], note: 'FAILED: 503', hasFailed: true },
    )
    expect(judge(half, results)).toMatchObject({
      must: { verdict: 'not met' },
      measured: 'sallyport: FAILED: 503',
    })
  })

  test('of a whole case makes its rows not met', () => {
    const failed = { subject: everybody, rounds: [], note: 'FAILED to start', hasFailed: true }
    expect(judge(half, resultsOf(failed)).must.verdict).toBe('not met')
  })
})

test('a bound that must not be exceeded is met below it', () => {
  const goal = valueGoal(['load', 'sallyport'], round => round.p99Ms, {
    about: 'p99',
    unit: 'ms',
    must: 15,
    aim: 8,
    isBetter: 'lower',
  })
  const results = resultsOf({ subject: 'sallyport', rounds: [{ p99Ms: 10 }] })
  expect(judge(goal, results)).toMatchObject({
    must: { bound: '≤ 15 ms', verdict: 'met' },
    aim: { verdict: 'not met' },
  })
})

test('every row is made of a case that there is', () => {
  const names = cases.map(({ name }) => name)
  expect(goals.map(({ of }) => of[0]).filter(name => !names.includes(name))).toEqual([])
})

test('a report of nothing says of every row that it was not measured, and draws nothing', () => {
  const circumstances = { date: '', effort: 'full', machine: '', loader: '', targets: [] }
  const { judged, files } = reportOf([] satisfies CaseResult[], circumstances)
  expect(new Set(judged.map(({ must }) => must.verdict))).toEqual(new Set(['not measured']))
  expect(Object.keys(files)).toEqual(['RESULTS.md', 'results.json'])
})

test('what a plot says of a measurement cannot end its text', () => {
  const rounds = [{ requestsPerSecond: 1, p50Ms: 1, p99Ms: 2, cpu: { 'a<b>&': 1, other: 1 } }]
  const measured = [
    { subject: 'nginx', rounds },
    { subject: '<script>', rounds },
  ]
  const each = { case: 'small-json-64', about: 'a < b', reference: 'nginx', measured }
  const circumstances = { date: '', effort: 'full', machine: '', loader: '', targets: [] }
  const { files } = reportOf([each], circumstances)
  for (const file of ['throughput.svg', 'cpu.svg', 'latency.svg']) {
    expect(files[file]).toContain('&lt;script&gt;')
    expect(files[file]).not.toContain('<script>')
  }
})

describe('the command', () => {
  test('names what there is when a case or target is unknown', () => {
    expect(() => readOptions(['--case', 'small'])).toThrow(/unknown; there are small-json-64/)
    expect(() => readOptions(['--target', 'apache'])).toThrow(/unknown; there are direct, nginx/)
    expect(() => readOptions(['--rounds', '0'])).toThrow(/whole number/)
    expect(() => readOptions(['--fast'])).toThrow(/--fast/)
  })

  test('changes nothing of the machine unless it is told to', () => {
    expect(readOptions([]).maySetIdlePolling).toBe(false)
    expect(readOptions(['--set-idle-polling']).maySetIdlePolling).toBe(true)
  })

  test('takes only a full run of everything for the results that are kept', () => {
    expect(readOptions([]).isWhole).toBe(true)
    for (const options of [['--quick'], ['--case', 'growth'], ['--rounds', '1']]) {
      expect(readOptions(options).isWhole).toBe(false)
    }
  })
})

/** RESULTS.md: how what was measured stands to what must be, and everything behind it. */

import type { Round } from '../case.ts'
import type { CaseResult } from '../measure.ts'
import type { Circumstances } from './circumstances.ts'
import { byProcess, figure, table } from './format.ts'
import type { Judged } from './goal.ts'
import type { Plot } from './plots.ts'
import { hopCpu, type MeasureOf, mediansByProcess, type Results, rateOf, sumOf } from './results.ts'

export interface Page {
  results: Results
  judged: readonly Judged[]
  circumstances: Circumstances
  plots: readonly Plot[]
}

export function pageOf({ results, judged, circumstances, plots }: Page): string {
  const { date, effort, machine, loader, targets } = circumstances
  const quick = effort === 'quick' ? ' (few and short rounds: a smoke test, no measurement)' : ''
  return `# Results of \`npm run bench\`

Written by the run of ${date} UTC${quick}. All targets of a case are measured in turn, round after round, on one
machine; ratios are medians of the ratios within rounds, absolute numbers are medians and depend on the machine. What
waited for its turn gets the same load for a moment before a round of requests counts. CPU is the time of all threads of
the processes between client and origin, for one request. Sallyport is the whole system:
signed-in user, access lease checked by the connector, every exchange stored as an audit event.

- Machine: ${machine}
- Load: ${loader}
${targets.map(({ name, version }) => `- ${name}: ${version}`).join('\n')}

## What must be reached

${verdictTable(judged)}

${plots.map(({ file, title }) => `![${title}](${file})`).join('\n\n')}

${results.cases.map(each => section(each, results)).join('\n')}`
}

function verdictTable(judged: readonly Judged[]): string {
  const rows = judged.map(({ about, measured, must, aim }) => [
    about,
    measured,
    must.bound,
    must.verdict,
    aim.bound,
    aim.verdict,
  ])
  return table(['', 'measured', 'must', '', 'aim', ''], rows)
}

interface Column {
  head: string
  /** Undefined: this column says nothing of the case. */
  cell: (subject: string, rounds: readonly Round[]) => string | undefined
}

function section(each: CaseResult, results: Results): string {
  const columns = columnsOf(each, results)
  const measured = each.measured.filter(({ rounds }) => rounds.length > 0)
  const used = columns.filter(({ cell }) =>
    measured.some(({ subject, rounds }) => cell(subject, rounds) !== undefined),
  )
  const rows = each.measured.map(({ subject, rounds, note }) =>
    note === undefined
      ? [subject, ...used.map(({ cell }) => cell(subject, rounds) ?? '')]
      : [subject, note, ...used.slice(1).map(() => '')],
  )
  const lines =
    each.measured.length > 0 ? table(['', ...used.map(({ head }) => head)], rows) : 'Not measured.'
  const remark = each.remark === undefined ? '' : `\n${each.remark}.\n`
  return `## ${each.case}\n\n${each.about}\n${remark}\n${lines}\n`
}

function columnsOf({ case: name, reference }: CaseResult, results: Results): Column[] {
  const middle = (measureOf: MeasureOf) => (subject: string) =>
    optional(results.value(name, subject, measureOf))
  return [
    { head: 'requests/s', cell: middle(round => round.requestsPerSecond) },
    { head: 'MB/s', cell: middle(round => round.megabytesPerSecond) },
    {
      head: `ratio to ${reference}`,
      cell: subject => optional(results.ratio(name, [subject, reference], rateOf)),
    },
    { head: 'p50 ms', cell: middle(round => round.p50Ms) },
    { head: 'p99 ms', cell: middle(round => round.p99Ms) },
    { head: 'CPU µs', cell: middle(hopCpu) },
    { head: 'by process', cell: (_, rounds) => processes(rounds, round => round.cpu) },
    { head: 'per CPU second', cell: (_, rounds) => perCpuSecond(rounds) },
    { head: 'KiB', cell: middle(({ memory }) => memory && sumOf(memory)) },
    { head: 'KiB by process', cell: (_, rounds) => processes(rounds, round => round.memory) },
  ]
}

function optional(value: number | undefined): string | undefined {
  return value === undefined ? undefined : figure(value)
}

type ByProcess = (round: Round) => Readonly<Record<string, number>> | undefined

function processes(rounds: readonly Round[], valuesOf: ByProcess): string | undefined {
  const medians = mediansByProcess(rounds, valuesOf)
  return Object.keys(medians).length === 0 ? undefined : byProcess(medians)
}

/** A process that takes less of the whole works beside the requests and not for them. */
const leastShare = 0.05

/** How many requests each process carries in a second of its CPU time. */
function perCpuSecond(rounds: readonly Round[]): string | undefined {
  const { origin: _, ...hop } = mediansByProcess(rounds, round => round.cpu)
  const all = sumOf(hop)
  const working = Object.entries(hop).filter(([, us]) => us > 0 && us >= all * leastShare)
  if (working.length === 0) return undefined
  return byProcess(Object.fromEntries(working.map(([name, us]) => [name, 1e6 / us])))
}

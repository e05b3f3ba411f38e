/** The results as rows for programs (results.json) and as a page for people (RESULTS.md). */

import { cpus, loadavg, release } from 'node:os'
import { type Case, cases, type Effort } from './cases.ts'
import type { Measured, Round } from './measure.ts'
import { median } from './statistics.ts'
import type { MissingTarget, Target } from './targets/target.ts'

export interface Row {
  case: string
  target: string
  requestsPerSecond: number | null
  p50Ms: number | null
  p99Ms: number | null
  /** Median over the rounds of this target's rate by nginx's in the same round. */
  ratioToNginx: number | null
  /** Of all processes between client and origin. */
  cpuMicrosecondsPerRequest: number | null
  cpuByProcess?: Record<string, number>
  megabytesPerSecond?: number
  note?: string
}

/** The rows of one case. */
export function rowsOf(
  each: Case,
  measured: readonly Measured[],
  missing: readonly MissingTarget[],
): Row[] {
  const nginx = measured.find(({ target }) => target.name === 'nginx')?.rounds
  const rows = measured.map(({ target, rounds, failure }) => {
    if (failure !== undefined) return notMeasured(each, target.name, `failed: ${failure}`)
    return rounds.length === 0
      ? notMeasured(each, target.name, 'not measured: no time left')
      : rowOf(each, target.name, rounds, nginx)
  })
  return [...rows, ...missing.map(({ name, note }) => notMeasured(each, name, note))]
}

function rowOf(
  each: Case,
  target: string,
  rounds: readonly Round[],
  nginx: readonly Round[] | undefined,
): Row {
  const middle = (value: (round: Round) => number) => rounded(median(rounds.map(value)))
  const ratios = rounds.flatMap((round, index) => {
    const other = nginx?.[index]
    return other ? [round.requestsPerSecond / other.requestsPerSecond] : []
  })
  const names = Object.keys(rounds[0]?.cpu ?? {})
  const isBulk = rounds[0]?.megabytesPerSecond !== undefined
  return {
    case: each.name,
    target,
    requestsPerSecond: middle(round => round.requestsPerSecond),
    p50Ms: middle(round => round.p50Ms),
    p99Ms: middle(round => round.p99Ms),
    ratioToNginx: ratios.length > 0 ? rounded(median(ratios)) : null,
    cpuMicrosecondsPerRequest: middle(({ cpu }) =>
      names.reduce((sum, name) => (name === 'origin' ? sum : sum + (cpu[name] ?? 0)), 0),
    ),
    cpuByProcess: Object.fromEntries(
      names.map(name => [name, middle(({ cpu }) => cpu[name] ?? 0)]),
    ),
    ...(isBulk && { megabytesPerSecond: middle(round => round.megabytesPerSecond ?? 0) }),
  }
}

function notMeasured(each: Case, target: string, note: string): Row {
  return {
    case: each.name,
    target,
    requestsPerSecond: null,
    p50Ms: null,
    p99Ms: null,
    ratioToNginx: null,
    cpuMicrosecondsPerRequest: null,
    note,
  }
}

/** Three significant digits at least, no false precision. */
function rounded(value: number): number {
  return Number(value >= 100 ? value.toFixed(0) : value.toPrecision(3))
}

export interface Circumstances {
  effort: Effort
  targets: readonly Target[]
  loader: string
}

export function pageOf(rows: readonly Row[], { effort, targets, loader }: Circumstances): string {
  const [cpu] = cpus()
  const load = loadavg().map(value => value.toFixed(1))
  return `# Results of \`npm run bench\`

Written by the last ${effort.name} run${effort.name === 'quick' ? ' (few and short rounds: a smoke test, not a measurement)' : ''}. Absolute numbers depend on the machine and on what else
runs there; ratios are the medians of ratios within rounds, all targets in turn. CPU is the time of all threads of the
processes between client and origin, for one request. Sallyport is the whole system: signed-in user, access lease
verified by the connector, every exchange audited.

- Machine: ${cpu?.model.trim() ?? 'unknown CPU'}, ${cpus().length} cores shared by clients, targets and origin; Linux ${release()}; load ${load.join(', ')} at the end
- Load: ${loader}
${targets.map(({ name, version }) => `- ${name}: ${version}`).join('\n')}

${cases.map(each => section(each, rows)).join('\n')}`
}

function section(each: Case, rows: readonly Row[]): string {
  const own = rows.filter(row => row.case === each.name)
  return `## ${each.name}

${each.about}

| target | ${each.kind === 'transfer' ? 'MB/s' : 'requests/s'} | ratio to nginx | p50 ms | p99 ms | CPU µs | by process |
|---|---|---|---|---|---|---|
${own.map(line).join('\n')}
`
}

function line(row: Row): string {
  if (row.note) return `| ${row.target} | ${row.note} | | | | | |`
  const by = Object.entries(row.cpuByProcess ?? {}).map(([name, us]) => `${name} ${us}`)
  const cells = [
    row.target,
    row.megabytesPerSecond ?? row.requestsPerSecond,
    row.ratioToNginx ?? '',
    row.p50Ms,
    row.p99Ms,
    row.cpuMicrosecondsPerRequest,
    by.join(', '),
  ]
  return `| ${cells.join(' | ')} |`
}

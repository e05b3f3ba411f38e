/** What is drawn of a run. A plot without a single number is left out. */

import type { Case, Round } from '../case.ts'
import { idleWebSockets, stalledDownloads } from '../cases/held-streams.ts'
import { oneByOne, smallJson } from '../cases/requests.ts'
import { tls } from '../cases/tls.ts'
import { download, upload } from '../cases/transfers.ts'
import { type BarPanel, barChart, type RangePanel, rangeChart } from './charts.ts'
import { figure } from './format.ts'
import { mediansByProcess, type Results, rateOf } from './results.ts'
import type { Colour } from './svg.ts'

export interface Plot {
  readonly file: string
  readonly title: string
  readonly svg: string
}

export function plotsOf(results: Results): Plot[] {
  const subjectsOf = (each: Case) => subjects(results, each)
  const plots = [
    bars('throughput.svg', 'Requests per second, by nginx', [
      ratioPanel(results, smallJson),
      ratioPanel(results, tls),
    ]),
    bars('transfers.svg', '512 MiB with one client, by nginx without buffering', [
      ratioPanel(results, download, 'MB/s'),
      ratioPanel(results, upload, 'MB/s'),
    ]),
    bars('cpu.svg', 'CPU time for one exchange, by process', [
      stackedPanel(subjectsOf(smallJson), smallJson, { unit: 'µs', valuesOf: withoutOrigin }),
    ]),
    ranges('latency.svg', 'Latency: median (full) and 99th percentile (hollow)', [
      latencyPanel(results, oneByOne),
      latencyPanel(results, smallJson),
    ]),
    bars(
      'memory.svg',
      'Memory for each stream that is held open, by process',
      [idleWebSockets, stalledDownloads].map(each =>
        stackedPanel(subjectsOf(each), each, { unit: 'KiB', valuesOf: round => round.memory }),
      ),
    ),
  ]
  return plots.filter(plot => plot !== undefined)
}

function bars(file: string, title: string, panels: readonly BarPanel[]): Plot | undefined {
  if (panels.every(({ rows }) => rows.length === 0)) return undefined
  return { file, title, svg: barChart(title, panels) }
}

function ranges(file: string, title: string, panels: readonly RangePanel[]): Plot | undefined {
  if (panels.every(({ rows }) => rows.length === 0)) return undefined
  return { file, title, svg: rangeChart(title, panels) }
}

interface Measured {
  subject: string
  isOurs: boolean
  rounds: readonly Round[]
}

function subjects(results: Results, { name }: Case): Measured[] {
  const found = results.cases.find(one => one.case === name)?.measured ?? []
  return found
    .filter(({ rounds }) => rounds.length > 0)
    .map(({ subject, rounds }) => ({ subject, rounds, isOurs: subject === 'sallyport' }))
}

function ratioPanel(results: Results, each: Case, rateUnit = 'requests/s'): BarPanel {
  const rows = subjects(results, each).flatMap(({ subject, isOurs }) => {
    const value = results.ratio(each.name, [subject, each.reference], rateOf)
    const rate = results.value(each.name, subject, rateOf)
    if (value === undefined || rate === undefined) return []
    const colour: Colour = isOurs ? 'ours-0' : 'other-0'
    const text = `${figure(value)} (${figure(rate)} ${rateUnit})`
    return [{ label: subject, isOurs, text, parts: [{ value, colour }] }]
  })
  return { heading: each.about, unit: `× ${each.reference}`, rows, mark: 1 }
}

const ownProcesses = ['gateway', 'nats-server', 'connector'] as const
const others = 'policy and registry'
const ownColours: readonly Colour[] = ['ours-0', 'ours-1', 'ours-2', 'ours-3']
const otherColours: readonly Colour[] = ['other-0', 'other-1', 'other-2']

interface Stacked {
  unit: string
  valuesOf: (round: Round) => Readonly<Record<string, number>> | undefined
}

function stackedPanel(
  measured: readonly Measured[],
  { about }: Case,
  { unit, valuesOf }: Stacked,
): BarPanel {
  const rows = measured.flatMap(({ subject, isOurs, rounds }) => {
    const medians = mediansByProcess(rounds, valuesOf)
    const values = Object.entries(isOurs ? folded(medians) : medians)
    if (values.length === 0) return []
    const colours = isOurs ? ownColours : otherColours
    const sum = values.reduce((all, [, value]) => all + value, 0)
    const parts = values.map(([, value], index) => ({
      value: Math.max(value, 0),
      colour: colours[index % colours.length] ?? 'other-0',
    }))
    const names =
      values.length === 1
        ? ''
        : `: ${values.map(([n, v]) => `${short(n)} ${figure(v)}`).join(', ')}`
    return [{ label: subject, isOurs, text: `${figure(sum)}${isOurs ? '' : names}`, parts }]
  })
  return { heading: about, unit, rows, legend: legendOf(measured, valuesOf) }
}

/** In the order in which an exchange passes them; what works beside it is one. */
function folded(values: Readonly<Record<string, number>>): Record<string, number> {
  const passed = ownProcesses.map(name => [name, values[name] ?? 0] as const)
  const beside = (values.policy ?? 0) + (values.registry ?? 0)
  return { ...Object.fromEntries(passed), [others]: beside }
}

function short(process: string): string {
  return process.replace(/^chisel /, '')
}

function legendOf(measured: readonly Measured[], valuesOf: Stacked['valuesOf']) {
  const ours = measured.find(({ isOurs }) => isOurs)
  if (!ours) return []
  const values = Object.entries(folded(mediansByProcess(ours.rounds, valuesOf)))
  return values.map(([name, value], index) => ({
    label: `${name} ${figure(value)}`,
    colour: ownColours[index] ?? 'ours-0',
  }))
}

function withoutOrigin({ cpu }: Round): Record<string, number> | undefined {
  if (!cpu) return undefined
  const { origin: _, ...hop } = cpu
  return hop
}

function latencyPanel(results: Results, each: Case): RangePanel {
  const rows = subjects(results, each).flatMap(({ subject, isOurs }) => {
    const low = results.value(each.name, subject, round => round.p50Ms)
    const high = results.value(each.name, subject, round => round.p99Ms)
    if (low === undefined || high === undefined) return []
    return [{ label: subject, isOurs, low, high, text: `${figure(low)} … ${figure(high)}` }]
  })
  return { heading: each.about, unit: 'ms', rows }
}

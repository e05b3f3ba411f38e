/** Numbers as people read them: three significant digits, and no false precision. */

import { detailOf } from '#infra/errors.ts'
import type { Round } from '../case.ts'

export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en')
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return String(Number(value.toPrecision(3)))
}

const longestReason = 300

/** Why something failed, short enough for a table. */
export function inOneLine(error: unknown): string {
  const message = detailOf(error)
  const line = message.split('\n').join(' / ')
  return line.length > longestReason ? `${line.slice(0, longestReason)}…` : line
}

/** One line of progress. */
export function describeRound(round: Round): string {
  const { requestsPerSecond, megabytesPerSecond, p50Ms, p99Ms, cpu, memory } = round
  const parts = [
    requestsPerSecond !== undefined && `${figure(requestsPerSecond)} requests/s`,
    megabytesPerSecond !== undefined && `${figure(megabytesPerSecond)} MB/s`,
    p50Ms !== undefined && `p50 ${figure(p50Ms)} ms`,
    p99Ms !== undefined && `p99 ${figure(p99Ms)} ms`,
    cpu && `CPU µs ${byProcess(cpu)}`,
    memory && `KiB ${byProcess(memory)}`,
  ]
  return parts.filter(part => typeof part === 'string').join(', ')
}

export function byProcess(values: Readonly<Record<string, number>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${figure(value)}`)
    .join(', ')
}

/** A Markdown table; a cell's bars are escaped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')
}

/**
 * `npm run bench`: Sallyport, the proxies and tunnels that people would take instead, and no hop at all, in one
 * interleaved run (`-- --help`). Progress goes to standard error, what came of it to standard output and to files. Ends
 * with 1 when anything that was measured failed; what it has started ends with it, also after Ctrl-C.
 */

import { fileURLToPath } from 'node:url'
import type { Bench } from './bench.ts'
import { cases } from './cases/all.ts'
import { startChild } from './machine/child.ts'
import { installMissing, programPath } from './machine/programs.ts'
import { type CaseResult, measureCase } from './measure.ts'
import { type Options, readOptions, Told } from './options.ts'
import { circumstancesOf } from './report/circumstances.ts'
import { table } from './report/format.ts'
import type { Judged } from './report/goal.ts'
import { reportOf, writeReport } from './report/write.ts'
import { startTargets } from './targets/all.ts'

const ownFolder = fileURLToPath(new URL('.', import.meta.url))

const startedMs = performance.now()

function report(line: string): void {
  const seconds = Math.round((performance.now() - startedMs) / 1_000)
  process.stderr.write(`${String(seconds).padStart(5)} s  ${line}\n`)
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  const { effort, targets: names, output, isWhole, maySetIdlePolling } = options
  await installMissing(['nginx', 'wrk'], report)
  await using stack = new AsyncDisposableStack()
  const origin = stack.use(await startChild('origin-process.ts', {}))
  report('starting the targets')
  const plain = stack.use(await startTargets(names, { origin }))
  for (const { name, note } of plain.missing) report(`${name}: ${note}`)
  const wrk = await programPath('wrk')
  const asked = { effort, names, maySetIdlePolling, startedMs, signal, report }
  const bench: Bench = { ...asked, origin, plain, wrk }
  const results = await measureAll(bench, options)
  const made = reportOf(results, await circumstancesOf(bench))
  const folder = output ?? (isWhole ? ownFolder : undefined)
  if (folder !== undefined) await writeReport(made, folder)
  process.stdout.write(`\n${summary(made.judged)}\n`)
  report(folder === undefined ? 'nothing written (see --output)' : `written to ${folder}`)
}

async function measureAll(bench: Bench, options: Options): Promise<CaseResult[]> {
  const results: CaseResult[] = []
  for (const each of cases.filter(({ name }) => options.cases.includes(name))) {
    bench.signal.throwIfAborted()
    results.push(await measureCase(bench, each))
  }
  return results
}

/** Rows that this run has something to say on. */
function summary(judged: readonly Judged[]): string {
  const rows = judged
    .filter(({ must }) => must.verdict !== 'not measured')
    .map(({ about, measured, must, aim }) => [
      about,
      measured,
      `${must.bound}: ${must.verdict}`,
      `${aim.bound}: ${aim.verdict}`,
    ])
  return table(['', 'measured', 'must', 'aim'], rows)
}

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    report(`${signal}: ending what was started`)
    stopping.abort(new Told('stopped before the end', 130))
  })
}

try {
  await run(readOptions(process.argv.slice(2)), stopping.signal)
} catch (error) {
  const told = stopping.signal.aborted ? stopping.signal.reason : error
  if (!(told instanceof Told)) throw error
  process[told.exitCode === 0 ? 'stdout' : 'stderr'].write(`${told.message}\n`)
  process.exitCode = told.exitCode
}

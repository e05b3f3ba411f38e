/**
 * `npm run bench`: direct, nginx, a plain Node hop and Sallyport, in one interleaved run. `--quick` ends within a
 * minute. Writes RESULTS.md and results.json beside this file; progress goes to standard error.
 */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { type Case, cases, full, quick } from './cases.ts'
import { startChild } from './child.ts'
import { load } from './load.ts'
import { type Bench, measure } from './measure.ts'
import { firstLineOf, installMissing, programPath } from './programs.ts'
import { pageOf, type Row, rowsOf } from './report.ts'
import { direct } from './targets/direct.ts'
import { fastifyProxy } from './targets/fastify-proxy.ts'
import { nginx } from './targets/nginx.ts'
import { nodeProxy } from './targets/node-proxy.ts'
import { sallyport } from './targets/sallyport.ts'
import { isMissing, type MissingTarget, type Target } from './targets/target.ts'

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    /** Only cases whose name contains this. */
    case: { type: 'string', default: '' },
  },
})

const report = (line: string) => void process.stderr.write(`${line}\n`)

async function run(): Promise<void> {
  const startedMs = performance.now()
  const effort = options.quick ? quick : full
  const chosen = cases.filter(({ name }) => name.includes(options.case))
  await installMissing(['nginx', 'wrk'], report)
  const wrk = await programPath('wrk')
  await using stack = new AsyncDisposableStack()
  const origin = stack.use(await startChild('origin-process.ts', {}))
  report('starting the targets')
  const targets: Target[] = []
  const missing: MissingTarget[] = []
  for (const start of [direct, nginx, nodeProxy, fastifyProxy, sallyport]) {
    const started = await start(origin)
    if (isMissing(started)) missing.push(started)
    else targets.push(stack.use(started))
  }
  const bench: Bench = { origin, targets, effort, wrk, startedMs, report }
  await warmUp(bench)
  const rows = await Promise.race([measureAll(bench, chosen, missing), stopped()])
  const loader = wrk ? ((await firstLineOf(wrk, ['-v'])).split(' Copyright')[0] ?? 'wrk') : 'own'
  if (chosen.length === cases.length) {
    await write('RESULTS.md', pageOf(rows, { effort, targets, loader }))
    await write('results.json', `${JSON.stringify({ rows }, undefined, 2)}\n`)
  }
}

/** Rejects at a signal, so that everything started is ended in order. */
async function stopped(): Promise<never> {
  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
  throw new Error('stopped by a signal')
}

async function warmUp({ targets, effort, wrk, report }: Bench): Promise<void> {
  for (const target of targets) {
    report(`warming up ${target.name}`)
    await load(target, { path: '/json', connections: 64, seconds: effort.warmUpSeconds, wrk })
  }
}

async function measureAll(
  bench: Bench,
  chosen: readonly Case[],
  missing: readonly MissingTarget[],
): Promise<Row[]> {
  const rows: Row[] = []
  for (const each of chosen) {
    const own = rowsOf(each, await measure(bench, each), missing)
    for (const row of own) report(`  ${summary(row)}`)
    rows.push(...own)
  }
  return rows
}

function summary(row: Row): string {
  if (row.note) return `${row.target}: ${row.note}`
  const rate = row.megabytesPerSecond
    ? `${row.megabytesPerSecond} MB/s`
    : `${row.requestsPerSecond} requests/s`
  const by = Object.entries(row.cpuByProcess ?? {}).map(([name, us]) => `${name} ${us}`)
  return `${row.target}: ${rate}, ${row.ratioToNginx} of nginx, p50 ${row.p50Ms} ms, p99 ${row.p99Ms} ms, CPU µs ${by.join(', ')}`
}

function write(file: string, content: string): Promise<void> {
  return writeFile(new URL(file, import.meta.url), content)
}

await run()

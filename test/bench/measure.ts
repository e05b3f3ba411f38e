/**
 * All rounds of one case. Its subjects are measured in turn, round after round and each round beginning with another
 * one, so that the noise of a shared machine meets them alike; only ratios within one run mean anything. That noise comes
 * in phases of about a minute, and so long is a round of all: those that goals compare most closely follow each other.
 */

import type { Bench } from './bench.ts'
import type { Case, Opened, Round, Subject } from './case.ts'
import { describeRound, inOneLine } from './report/format.ts'

/** What came of one case for one subject: its rounds, or the reason why there are none that count. */
export interface Measured {
  readonly subject: string
  readonly rounds: readonly Round[]
  readonly note?: string
  /** It was there, and gave something else than what is measured. */
  readonly hasFailed?: boolean
}

export interface CaseResult {
  readonly case: string
  readonly about: string
  readonly reference: string
  readonly remark?: string
  readonly measured: readonly Measured[]
}

export async function measureCase(bench: Bench, each: Case): Promise<CaseResult> {
  const { name, about, reference } = each
  const result = { case: name, about, reference }
  if (isLate(bench)) {
    bench.report(`${name}: no time left`)
    return { ...result, measured: [] }
  }
  await using opened = await openCase(bench, each)
  const all = opened.subjects.map(subject => new Series(subject))
  const turns = neighboursFirst(all)
  const count = bench.effort.rounds ?? each.rounds
  for (let round = 0; round < count && !isLate(bench); round++) {
    for (const series of rotated(turns, round)) {
      bench.signal.throwIfAborted()
      await series.add(bench, `${name} ${round + 1}/${count}`)
    }
  }
  const missing = opened.missing.map(({ name: subject, ...why }) => ({
    subject,
    rounds: [],
    ...why,
  }))
  const measured = [...all.map(series => series.result()), ...missing]
  return { ...result, measured, ...(opened.remark !== undefined && { remark: opened.remark }) }
}

/** The subject of a case that failed as a whole. */
export const everybody = 'all'

/** One that cannot even be opened fails as a whole, and the run goes on. */
async function openCase(bench: Bench, each: Case): Promise<Opened> {
  try {
    return await each.open(bench)
  } catch (error) {
    bench.signal.throwIfAborted()
    const note = `FAILED to start: ${inOneLine(error)}`
    bench.report(`${each.name}: ${note}`)
    process.exitCode = 1
    const missing = [{ name: everybody, note, hasFailed: true }]
    return { subjects: [], missing, [Symbol.asyncDispose]: async () => {} }
  }
}

function isLate({ startedMs, effort }: Bench): boolean {
  return performance.now() - startedMs > effort.deadlineMs
}

const neighbours = ['nginx', 'fastify-proxy', 'sallyport', 'node-proxy', 'chisel', 'frp-tcp']

function neighboursFirst(all: readonly Series[]): Series[] {
  const close = neighbours.flatMap(name => all.filter(series => series.name === name))
  return [...close, ...all.filter(series => !close.includes(series))]
}

function rotated<Item>(items: readonly Item[], by: number): Item[] {
  const start = items.length === 0 ? 0 : by % items.length
  return [...items.slice(start), ...items.slice(0, start)]
}

class Series {
  readonly #subject: Subject
  readonly #rounds: Round[] = []
  #isPrepared = false
  #failure: string | undefined

  constructor(subject: Subject) {
    this.#subject = subject
  }

  get name(): string {
    return this.#subject.name
  }

  /** One that fails once is left out of the rest of the case: a rate of failures would mean nothing. */
  async add({ report, signal }: Bench, about: string): Promise<void> {
    if (this.#failure !== undefined) return
    try {
      if (!this.#isPrepared) await this.#subject.prepare?.()
      this.#isPrepared = true
      const round = await this.#subject.measure()
      this.#rounds.push(round)
      report(`${about}  ${this.#subject.name}: ${describeRound(round)}`)
    } catch (error) {
      signal.throwIfAborted()
      this.#failure = inOneLine(error)
      report(`${about}  ${this.#subject.name}: FAILED: ${this.#failure}`)
      process.exitCode = 1
    }
  }

  result(): Measured {
    const { name: subject } = this.#subject
    if (this.#failure !== undefined) {
      return { subject, rounds: [], note: `FAILED: ${this.#failure}`, hasFailed: true }
    }
    if (this.#rounds.length > 0) return { subject, rounds: this.#rounds }
    return { subject, rounds: [], note: 'not measured: no time left' }
  }
}

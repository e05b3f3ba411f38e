/** What `npm run bench -- …` understands. */

import { parseArgs } from 'node:util'
import { cases } from './cases/all.ts'
import { type Effort, full, quick } from './effort.ts'
import { type TargetName, targetNames } from './targets/target.ts'

export interface Options {
  readonly effort: Effort
  readonly cases: readonly string[]
  readonly targets: readonly TargetName[]
  /** Of everything, fully: only such a run may replace the results that are kept. */
  readonly isWhole: boolean
  readonly output: string | undefined
  /** A case may change how long idle cores of this machine poll, while it is measured. */
  readonly maySetIdlePolling: boolean
}

const help = `npm run bench -- [options]

  --quick            few and short rounds, two minutes at most: a smoke test
  --case A,B         only these cases
  --target A,B       only these targets (nginx is what most ratios relate to)
  --rounds N         in place of each case's own number of rounds
  --output FOLDER    write RESULTS.md, results.json and the plots there
  --set-idle-polling on a virtual machine whose idle cores halt at once, measure small-json-1-polling: have them poll as
                     Linux does by default while it lasts (a setting of the kernel; root only; put back at the end)

A full run of everything takes about half an hour and writes to test/bench/. Any other run only prints, unless --output
says where to write. Targets whose programs are not found (on the PATH or in ~/go/bin) are left out, and the results say
so. nginx and wrk are installed where that is possible; for the others: apt-get install haproxy openssh-server; chisel,
frps with frpc, and oauth2-proxy from their releases; @fastify/http-proxy by npm, here or in a folder of NODE_PATH.

cases    ${cases.map(({ name, about }) => `${name.padEnd(20)}${about}`).join('\n         ')}

targets  ${targetNames.join(', ')}
`

/** The reason why nothing is run: help was asked for, or something cannot be understood. */
export class Told extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

/** @throws Told with what to print in place of running. */
export function readOptions(args: readonly string[]): Options {
  const values = parse(args)
  if (values.help) throw new Told(help, 0)
  const allCases = cases.map(({ name }) => name)
  const base = values.quick ? quick : full
  return {
    effort: { ...base, ...(values.rounds !== undefined && { rounds: count(values.rounds) }) },
    cases: chosen('case', values.case, allCases),
    targets: chosen('target', values.target, targetNames),
    isWhole: !(values.quick || values.case || values.target || values.rounds),
    output: values.output,
    maySetIdlePolling: values['set-idle-polling'] === true,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        quick: { type: 'boolean' },
        case: { type: 'string' },
        target: { type: 'string' },
        rounds: { type: 'string' },
        output: { type: 'string' },
        'set-idle-polling': { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new Told(`${error instanceof Error ? error.message : error}\n\n${help}`, 2)
  }
}

function count(value: string): number {
  if (/^[1-9]\d{0,3}$/.test(value)) return Number(value)
  throw new Told(`--rounds ${value}: must be a whole number from 1 to 9999`, 2)
}

function chosen<Name extends string>(
  option: string,
  value: string | undefined,
  known: readonly Name[],
): readonly Name[] {
  if (value === undefined) return known
  const asked = value.split(',').map(name => name.trim())
  const unknown = asked.filter(name => !known.some(one => one === name))
  if (unknown.length > 0) {
    throw new Told(`--${option} ${unknown.join(',')}: unknown; there are ${known.join(', ')}`, 2)
  }
  return known.filter(name => asked.includes(name))
}

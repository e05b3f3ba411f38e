/** Request load on one target for some seconds: by wrk where it is, else by our own loader. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { generateLoad } from './own-load.ts'
import type { Target } from './targets/target.ts'

export interface LoadOptions {
  path: string
  connections: number
  seconds: number
  /** Our own loader is used without. */
  wrk: string | undefined
}

export interface LoadResult {
  requests: number
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
}

/** @throws when an answer was anything but 2xx or a connection failed: such a rate would mean nothing. */
export function load(target: Target, options: LoadOptions): Promise<LoadResult> {
  return options.wrk ? loadByWrk(options.wrk, target, options) : generateLoad(target, options)
}

async function loadByWrk(wrk: string, target: Target, options: LoadOptions): Promise<LoadResult> {
  const { path, connections, seconds } = options
  const headers = Object.entries(target.headers).flatMap(([key, value]) => [
    '-H',
    `${key}: ${value}`,
  ])
  const { stdout } = await promisify(execFile)(wrk, [
    ...['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '--timeout', '10s'],
    ...headers,
    `http://127.0.0.1:${target.port}${path}`,
  ])
  const failures = /(Non-2xx or 3xx responses: .*|Socket errors: .*)/.exec(stdout)?.[1]
  if (failures) throw new Error(`${target.name} ${path}: ${failures}`)
  return {
    requests: number(/(\d+) requests in/, stdout),
    requestsPerSecond: number(/Requests\/sec:\s+([\d.]+)/, stdout),
    p50Ms: milliseconds(/^\s+50%\s+(\S+)/m, stdout),
    p99Ms: milliseconds(/^\s+99%\s+(\S+)/m, stdout),
  }
}

function number(pattern: RegExp, output: string): number {
  const found = pattern.exec(output)?.[1]
  if (found === undefined) throw new Error(`wrk said something else than expected:\n${output}`)
  return Number(found)
}

const unitsMs: Record<string, number> = { us: 0.001, ms: 1, s: 1_000, m: 60_000 }

function milliseconds(pattern: RegExp, output: string): number {
  const [, value, unit = ''] = /([\d.]+)(us|ms|s|m)/.exec(pattern.exec(output)?.[1] ?? '') ?? []
  return Number(value) * (unitsMs[unit] ?? Number.NaN)
}

/** Request load on one target for some seconds: by wrk where it is, else by our own loader. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { bodyBytes } from '../helpers/answers.ts'
import type { Target } from '../targets/target.ts'
import { askOnce } from './ask.ts'
import { generateLoad } from './own-load.ts'

export interface LoadOptions {
  path: string
  connections: number
  seconds: number
  /** Our own loader is used without. */
  wrk: string | undefined
  signal: AbortSignal
}

export interface LoadResult {
  requests: number
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
}

/** @throws when an answer was not the origin's or a connection failed: such a rate would mean nothing. */
export async function load(target: Target, options: LoadOptions): Promise<LoadResult> {
  const { wrk, path } = options
  const result = await (wrk ? loadByWrk(wrk, target, options) : generateLoad(target, options))
  await askOnce(target, path)
  return result
}

async function loadByWrk(wrk: string, target: Target, options: LoadOptions): Promise<LoadResult> {
  const { path, connections, seconds, signal } = options
  const headers = Object.entries(target.headers).flatMap(([key, value]) => [
    '-H',
    `${key}: ${value}`,
  ])
  const scheme = target.isSecure ? 'https' : 'http'
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '--timeout', '10s']
  const url = `${scheme}://127.0.0.1:${target.port}${path}`
  const { stdout } = await promisify(execFile)(wrk, [...args, ...headers, url], { signal })
  const failures = /(Non-2xx or 3xx responses: .*|Socket errors: .*)/.exec(stdout)?.[1]
  if (failures) throw new Error(`${target.name} ${path}: ${failures}`)
  const requests = number(/(\d+) requests in/, stdout)
  refuseShortAnswers(target, path, bytes(/requests in \S+, (\S+) read/, stdout) / requests)
  return {
    requests,
    requestsPerSecond: number(/Requests\/sec:\s+([\d.]+)/, stdout),
    p50Ms: milliseconds(/^\s+50%\s+(\S+)/m, stdout),
    p99Ms: milliseconds(/^\s+99%\s+(\S+)/m, stdout),
  }
}

/** wrk tells its bytes in three digits. */
const roundingShare = 0.98

/** wrk takes a redirection to a sign-in page for a success; the origin's bodies are longer. */
function refuseShortAnswers(target: Target, path: string, bytesPerAnswer: number): void {
  if (bytesPerAnswer >= bodyBytes(path) * roundingShare) return
  const size = `${Math.round(bytesPerAnswer)} bytes each`
  throw new Error(`${target.name} ${path}: the answers are not the origin's, ${size}`)
}

function found(pattern: RegExp, output: string): string {
  const text = pattern.exec(output)?.[1]
  if (text === undefined) throw new Error(`wrk said something else than expected:\n${output}`)
  return text
}

function number(pattern: RegExp, output: string): number {
  return Number(found(pattern, output))
}

const unitsMs: Record<string, number> = { us: 0.001, ms: 1, s: 1_000, m: 60_000 }

function milliseconds(pattern: RegExp, output: string): number {
  const [, value, unit = ''] = /([\d.]+)(us|ms|s|m)/.exec(found(pattern, output)) ?? []
  return Number(value) * (unitsMs[unit] ?? Number.NaN)
}

const unitsBytes: Record<string, number> = { B: 1, KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 }

function bytes(pattern: RegExp, output: string): number {
  const [, value, unit = ''] = /([\d.]+)([KMG]?B)/.exec(found(pattern, output)) ?? []
  return Number(value) * (unitsBytes[unit] ?? Number.NaN)
}

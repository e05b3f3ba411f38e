/**
 * Programs that nobody here wrote, run to their end: found on PATH or by their files. Where one is missing its tests
 * are skipped and their names say which it is; with CI set that is an error.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Environment } from '#infra/config.ts'
import { compileCache } from './compile-cache.ts'

/** Those of the given programs, by name or by absolute path, that are not on this machine. */
export function missingOf(...programs: readonly string[]): string[] {
  const folders = (process.env.PATH ?? '').split(':')
  const isThere = (program: string) =>
    program.startsWith('/')
      ? existsSync(program)
      : folders.some(folder => existsSync(join(folder, program)))
  const missing = programs.filter(program => !isThere(program))
  if (missing.length > 0 && process.env.CI) throw new Error(`install ${missing.join(', ')}`)
  return missing
}

/** For the name of a test: why it is skipped, if it is. */
export const without = (missing: readonly string[]) =>
  missing.length > 0 ? ` (not here: ${missing.join(', ')})` : ''

export interface Ended {
  readonly code: number | null
  readonly output: string
  readonly errors: string
}

export interface RunOptions {
  folder?: string
  environment?: Environment
  limitMs?: number
}

/** Longer than any of them may take. */
const hangsAfterMs = 45_000

/** Runs a program with nothing of this process's environment but the path, and what was compiled. */
export async function runProgram(
  command: string,
  words: readonly string[],
  { folder, environment, limitMs = hangsAfterMs }: RunOptions = {},
): Promise<Ended> {
  const child = spawn(command, words, {
    cwd: folder,
    env: { PATH: process.env.PATH, LC_ALL: 'C', ...compileCache, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.timeout(limitMs),
    killSignal: 'SIGKILL',
  })
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve)
  })
  const [output, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  return { code, output, errors }
}

/** The same; anything but exit code 0 is an error with what it said. */
export async function succeed(
  command: string,
  words: readonly string[],
  options?: RunOptions,
): Promise<Ended> {
  const ended = await runProgram(command, words, options)
  if (ended.code === 0) return ended
  throw new Error(`${command} ${words.join(' ')}: ${ended.code}\n${ended.errors}${ended.output}`)
}

/** Runs the command line as a process, as an administrator does. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { compileCache } from '../harness/compile-cache.ts'

const program = fileURLToPath(new URL('./cli-program.ts', import.meta.url))

export interface Run {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command that is under way; ended by force when it is disposed. */
export interface Running extends AsyncDisposable {
  readonly process: ChildProcess
  stdout: string
  stderr: string
  ended(): Promise<Run>
}

/** The environment is what is given, and what was compiled, so that nothing of the machine decides a test. */
export function startCommand(args: string[], environment: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...compileCache, ...environment },
  })
  const closed = once(child, 'close')
  const running: Running = {
    process: child,
    stdout: '',
    stderr: '',
    ended: async () => {
      await closed
      const { stdout, stderr } = running
      return { status: child.exitCode, stdout, stderr }
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await closed
    },
  }
  child.stdout.setEncoding('utf8').on('data', text => {
    running.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    running.stderr += text
  })
  return running
}

export async function runCommand(
  args: string[],
  environment: Record<string, string> = {},
): Promise<Run> {
  await using running = startCommand(args, environment)
  return await running.ended()
}

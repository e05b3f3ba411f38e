/** The `sallyport` command as a process of its own, ended with the test that started it. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { onTestFinished, vi } from 'vitest'
import type { Environment } from '#infra/config.ts'
import { compileCache } from './compile-cache.ts'

export interface RunningCommand {
  readonly process: ChildProcess
  /** Everything it has written to standard error so far. */
  readonly errors: string
  /** Resolves when standard error matches. */
  said(pattern: RegExp): Promise<void>
  /** Resolves with what a service told when it was ready. */
  readonly ready: Promise<Record<string, unknown>>
  /** Its exit code. */
  readonly exited: Promise<number | null>
}

/** Runs with nothing of this process's environment but the path, and what was compiled. */
export function runCommand(
  words: readonly string[],
  environment: Environment = {},
): RunningCommand {
  const child = spawn(process.execPath, ['sallyport.ts', ...words], {
    env: { PATH: process.env.PATH, ...compileCache, ...environment },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let errors = ''
  child.stderr?.on('data', chunk => {
    errors += chunk
  })
  const { promise: ready, resolve } = Promise.withResolvers<Record<string, unknown>>()
  child.on('message', (message: { ready?: Record<string, unknown> }) => {
    if (message.ready) resolve(message.ready)
  })
  // Not `exit`: what it has written must have been read.
  const exited = once(child, 'close').then(([code]) => code as number | null)
  onTestFinished(async () => {
    child.kill('SIGTERM')
    await exited
  })
  return {
    process: child,
    get errors() {
      return errors
    },
    said: pattern =>
      vi
        .waitUntil(() => pattern.test(errors), { timeout: 15_000, interval: 20 })
        .then(() => void 0),
    ready,
    exited,
  }
}

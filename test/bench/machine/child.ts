/** A helper process of the bench (helpers/): it sends `{ port }` when it listens, and ends with the bench. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { end } from './daemon.ts'

export interface Child extends AsyncDisposable {
  readonly port: number
  readonly pid: number
  readonly process: ChildProcess
}

/** Starts a file of helpers/. `settings` are its environment, nothing else is. */
export async function startChild(file: string, settings: Record<string, string>): Promise<Child> {
  const path = fileURLToPath(new URL(`../helpers/${file}`, import.meta.url))
  const child = fork(path, { env: settings, execArgv: [] })
  const [message] = await Promise.race([once(child, 'message'), failed(child, file)])
  return {
    port: (message as { port: number }).port,
    pid: child.pid ?? 0,
    process: child,
    [Symbol.asyncDispose]: () => end(child),
  }
}

async function failed(child: ChildProcess, file: string): Promise<never> {
  const [code] = await once(child, 'exit')
  throw new Error(`${file} ended with code ${code} before it listened`)
}

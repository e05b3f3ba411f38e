/** A helper process of the bench: it sends `{ port }` when it listens, and ends with the bench. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface Child extends AsyncDisposable {
  readonly port: number
  readonly pid: number
}

/** Starts a file of this folder. `settings` are its environment, nothing else is. */
export async function startChild(file: string, settings: Record<string, string>): Promise<Child> {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const child = fork(path, { env: settings, execArgv: [] })
  const [message] = await Promise.race([once(child, 'message'), failed(child, file)])
  return {
    port: (message as { port: number }).port,
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: () => end(child),
  }
}

async function failed(child: ChildProcess, file: string): Promise<never> {
  const [code] = await once(child, 'exit')
  throw new Error(`${file} ended with code ${code} before it listened`)
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

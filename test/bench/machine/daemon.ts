/**
 * A program of somebody else that serves on loopback while the bench runs: a process group of its own, so that a Ctrl-C
 * leaves the order of ending to the bench; ended by its id, and gone with the bench even when that is killed.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endWithParent } from '#infra/embedded/end-with-parent.ts'

export interface DaemonOptions {
  /** Resolves when this port of 127.0.0.1 accepts connections. */
  port: number
  /** Its own; what it prints goes to a file there. */
  folder: string
}

export interface Daemon extends AsyncDisposable {
  readonly pid: number
}

const listensWithinMs = 15_000

/** @throws with the end of what it printed, when it ends or does not listen in time. */
export async function startDaemon(
  program: string,
  args: readonly string[],
  { port, folder }: DaemonOptions,
): Promise<Daemon> {
  const name = program.slice(program.lastIndexOf('/') + 1)
  const logFile = join(folder, `${name}-${port}.log`)
  await using log = await open(logFile, 'a')
  const child = spawn(program, args, {
    cwd: folder,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  })
  await once(child, 'spawn')
  await endWithParent(child)
  const isUp = await Promise.race([listening(port), once(child, 'exit').then(() => false)])
  if (!isUp) {
    await end(child)
    const printed = (await readFile(logFile, 'utf8')).trim().split('\n').slice(-5).join('\n')
    throw new Error(`${name} does not serve at port ${port}:\n${printed}`)
  }
  return { pid: child.pid ?? 0, [Symbol.asyncDispose]: () => end(child) }
}

async function listening(port: number): Promise<boolean> {
  for (const until = Date.now() + listensWithinMs; Date.now() < until; ) {
    const socket = connect(port, '127.0.0.1')
    const isUp = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isUp) return true
    await sleep(20)
  }
  return false
}

const endsWithinMs = 5_000

/** SIGTERM, and SIGKILL to one that does not heed it. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), endsWithinMs)
  await exited
  clearTimeout(late)
}

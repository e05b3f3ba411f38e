/**
 * Cockpit, the web console of a Linux machine, as Debian packages it (cockpit-ws, cockpit-bridge, cockpit-system): a
 * private application that nobody here wrote, and that does everything through one WebSocket. It runs as whoever runs
 * the tests, without a log-in, for as long as a test lasts.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'

const server = '/usr/lib/cockpit/cockpit-ws'

/** What has to be there. */
export const cockpitFiles = [server, 'cockpit-bridge', '/usr/share/cockpit/systemd/terminal.html']

export interface Cockpit extends AsyncDisposable {
  readonly url: string
  /** For files that tests have it write. */
  readonly folder: string
}

export async function startCockpit(): Promise<Cockpit> {
  await using stack = new AsyncDisposableStack()
  const home = await mkdtemp(join(tmpdir(), 'sallyport-cockpit-'))
  stack.defer(() => rm(home, { recursive: true, force: true }))
  const port = await freePort()
  const words = ['--no-tls', '--address=127.0.0.1', `--port=${port}`]
  const child = spawn(server, [...words, '--local-session=cockpit-bridge'], {
    // Of its own group, for the bridge and the shells that it starts.
    detached: true,
    stdio: 'ignore',
    cwd: home,
    env: { PATH: process.env.PATH, HOME: home, XDG_CONFIG_DIRS: home, LC_ALL: 'C.UTF-8' },
  })
  stack.defer(() => end(child))
  const url = `http://127.0.0.1:${port}`
  await vi.waitFor(() => fetch(url), { timeout: 10_000, interval: 50 })
  const owned = stack.move()
  return { url, folder: home, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const ended = once(child, 'exit')
  process.kill(-child.pid, 'SIGTERM')
  await ended
}

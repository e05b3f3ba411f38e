/** haproxy with one thread and connections kept alive; what an answer has is sent at once, as ours. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '#infra/embedded/ports.ts'
import { startDaemon } from '../machine/daemon.ts'
import { temporaryFolder } from '../machine/folder.ts'
import { programPath, versionOf } from '../machine/programs.ts'
import { type MissingTarget, notInstalled, type StartOptions, type Target } from './target.ts'

export async function haproxy({ origin }: StartOptions): Promise<Target | MissingTarget> {
  const program = await programPath('haproxy')
  if (!program) return notInstalled('haproxy', 'haproxy')
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  const port = await freePort()
  const file = join(folder, 'haproxy.cfg')
  await writeFile(file, configuration(port, origin.port))
  const daemon = stack.use(await startDaemon(program, ['-f', file, '-db'], { port, folder }))
  const owned = stack.move()
  return {
    name: 'haproxy',
    port,
    headers: {},
    processes: { haproxy: [daemon.pid] },
    version: `${(await versionOf(program, ['-v'])).split(' - ')[0]}, 1 thread, connections kept alive`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function configuration(port: number, originPort: number): string {
  return `
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout tunnel 600s
  http-reuse always
  option http-no-delay
frontend front
  bind 127.0.0.1:${port}
  default_backend origin
backend origin
  server origin 127.0.0.1:${originPort}
`
}

/** chisel with a reverse remote: TCP in an SSH session in a WebSocket, encrypted, no identity of users. */

import { freePort } from '#infra/embedded/ports.ts'
import { startDaemon } from '../machine/daemon.ts'
import { temporaryFolder } from '../machine/folder.ts'
import { programPath, versionOf } from '../machine/programs.ts'
import { type MissingTarget, notInstalled, type StartOptions, type Target } from './target.ts'

export async function chisel({ origin }: StartOptions): Promise<Target | MissingTarget> {
  const program = await programPath('chisel')
  if (!program) return notInstalled('chisel', 'chisel')
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  const [serverPort, port] = [await freePort(), await freePort()]
  const serverArguments = ['server', '--host', '127.0.0.1', '--port', String(serverPort)]
  const server = stack.use(
    await startDaemon(program, [...serverArguments, '--reverse'], { port: serverPort, folder }),
  )
  const remote = `R:127.0.0.1:${port}:127.0.0.1:${origin.port}`
  const client = stack.use(
    await startDaemon(program, ['client', `http://127.0.0.1:${serverPort}`, remote], {
      port,
      folder,
    }),
  )
  const owned = stack.move()
  return {
    name: 'chisel',
    port,
    headers: {},
    processes: { 'chisel server': [server.pid], 'chisel client': [client.pid] },
    version: await versionOf(program, ['--version']),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

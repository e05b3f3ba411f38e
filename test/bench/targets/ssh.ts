/**
 * `ssh -R` to an sshd of the bench's own on loopback, with throw-away keys: the reverse connection that administrators
 * make by hand. The accounts and keys of the machine are not touched.
 */

import { execFile } from 'node:child_process'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '#infra/embedded/ports.ts'
import { startDaemon } from '../machine/daemon.ts'
import { temporaryFolder } from '../machine/folder.ts'
import { programPaths, versionOf } from '../machine/programs.ts'
import { type MissingTarget, notInstalled, type StartOptions, type Target } from './target.ts'

const run = promisify(execFile)

export async function ssh({ origin }: StartOptions): Promise<Target | MissingTarget> {
  const programs = await programPaths('sshd', 'ssh', 'ssh-keygen')
  if ('missing' in programs) return notInstalled('ssh', programs.missing)
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  stack.use(await privilegeSeparationFolder())
  await makeKeys(programs['ssh-keygen'], folder)
  const [serverPort, port] = [await freePort(), await freePort()]
  await writeFile(join(folder, 'sshd_config'), serverConfiguration(folder, serverPort))
  const sshd = stack.use(
    await startDaemon(programs.sshd, ['-D', '-e', '-f', join(folder, 'sshd_config')], {
      port: serverPort,
      folder,
    }),
  )
  const forwarded = `127.0.0.1:${port}:127.0.0.1:${origin.port}`
  const client = stack.use(
    await startDaemon(programs.ssh, clientArguments(folder, serverPort, forwarded), {
      port,
      folder,
    }),
  )
  const owned = stack.move()
  return {
    name: 'ssh',
    port,
    headers: {},
    processes: { sshd: [sshd.pid], ssh: [client.pid] },
    version: `${(await versionOf(programs.ssh, ['-V'])).split(',')[0]}, ssh -R`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function makeKeys(keygen: string, folder: string): Promise<void> {
  for (const name of ['host', 'client']) {
    await run(keygen, ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)])
  }
}

function serverConfiguration(folder: string, port: number): string {
  return `
ListenAddress 127.0.0.1:${port}
HostKey ${folder}/host
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile ${folder}/client.pub
AllowTcpForwarding remote
GatewayPorts no
`
}

function clientArguments(folder: string, serverPort: number, forwarded: string): string[] {
  const options = [
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'IdentitiesOnly=yes',
    'ExitOnForwardFailure=yes',
  ].flatMap(option => ['-o', option])
  const identity = ['-F', '/dev/null', '-i', join(folder, 'client')]
  const server = ['-p', String(serverPort), `${userInfo().username}@127.0.0.1`]
  return ['-N', '-T', ...identity, ...options, '-R', forwarded, ...server]
}

/** Debian's service makes this folder before it starts; sshd as root refuses to run without. */
async function privilegeSeparationFolder(): Promise<AsyncDisposable> {
  const path = '/run/sshd'
  const isMade =
    process.getuid?.() === 0 &&
    (await mkdir(path, { mode: 0o755 }).then(
      () => true,
      () => false,
    ))
  return { [Symbol.asyncDispose]: async () => void (isMade && (await rmdir(path))) }
}

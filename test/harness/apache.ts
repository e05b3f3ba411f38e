/**
 * Apache with mod_dav as Debian packages it (apache2-bin): a WebDAV server and file server that nobody here wrote, with
 * a configuration of its own, in the foreground, on a folder of its own.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'

const modulesFolder = '/usr/lib/apache2/modules'

/** What has to be there. */
export const apacheFiles = ['apache2', `${modulesFolder}/mod_dav_fs.so`]

export interface Apache extends AsyncDisposable {
  readonly url: string
  /** What it serves below `/dav/`. */
  readonly folder: string
}

const modules = [...['mpm_event', 'authn_core', 'authz_core', 'mime', 'dir'], ...['dav', 'dav_fs']]

export async function startApache(): Promise<Apache> {
  await using stack = new AsyncDisposableStack()
  const root = await mkdtemp(join(tmpdir(), 'sallyport-apache-'))
  stack.defer(() => rm(root, { recursive: true, force: true }))
  const folder = join(root, 'files', 'dav')
  await mkdir(folder, { recursive: true })
  await mkdir(join(root, 'locks'))
  const port = await freePort()
  await writeFile(join(root, 'apache.conf'), configuration(root, port))
  // Started as root it serves as somebody else.
  for (const place of [root, join(root, 'locks'), folder]) await chmod(place, 0o777)
  const server = spawn('apache2', ['-d', root, '-f', 'apache.conf', '-DFOREGROUND'], {
    stdio: 'ignore',
  })
  stack.defer(() => end(server))
  const url = `http://127.0.0.1:${port}`
  await vi.waitFor(() => fetch(url), { timeout: 10_000, interval: 50 })
  const owned = stack.move()
  return { url, folder, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function configuration(root: string, port: number): string {
  const load = (name: string) => `LoadModule ${name}_module ${modulesFolder}/mod_${name}.so`
  return [
    ...modules.map(load),
    `ServerName 127.0.0.1`,
    `Listen 127.0.0.1:${port}`,
    `PidFile ${root}/apache.pid`,
    `ErrorLog ${root}/error.log`,
    `DocumentRoot ${root}/files`,
    `TypesConfig /dev/null`,
    `User nobody`,
    `Group nogroup`,
    `LimitXMLRequestBody 0`,
    `DavLockDB ${root}/locks/db`,
    `DavDepthInfinity on`,
    `<Directory ${root}/files>`,
    `  Require all granted`,
    `</Directory>`,
    `<Location /dav>`,
    `  Dav On`,
    `</Location>`,
    '',
  ].join('\n')
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = once(server, 'exit')
  server.kill('SIGTERM')
  await ended
}

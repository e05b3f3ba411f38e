/**
 * DokuWiki as Debian packages it (dokuwiki, php-cli, php-xml): a private application that nobody here wrote. It runs on
 * PHP's own server with a configuration and data of its own, and one user.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'

export const wikiFolder = '/usr/share/dokuwiki'
const configFolder = '/etc/dokuwiki'

export const hasDokuWiki =
  existsSync(join(wikiFolder, 'doku.php')) &&
  (process.env.PATH ?? '').split(':').some(folder => existsSync(join(folder, 'php')))

export const wikiUser = { name: 'wanda', password: 'the-wiki-is-hers' }

export interface DokuWiki extends AsyncDisposable {
  readonly url: string
}

export async function startDokuWiki(): Promise<DokuWiki> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-dokuwiki-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  await configure(folder)
  const port = await freePort()
  const server = spawn(
    'php',
    [
      ...['-d', `auto_prepend_file=${join(folder, 'before.php')}`],
      ...['-d', 'upload_max_filesize=32M', '-d', 'post_max_size=33M', '-d', 'display_errors=0'],
      ...['-S', `127.0.0.1:${port}`, '-t', wikiFolder],
    ],
    // Of its own group, for its workers; it is quiet unless somebody wants to see every request.
    { stdio: 'ignore', detached: true, env: { ...process.env, PHP_CLI_SERVER_WORKERS: '4' } },
  )
  stack.defer(() => end(server))
  await vi.waitFor(() => answers(port), { timeout: 10_000, interval: 50 })
  const owned = stack.move()
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function configure(folder: string): Promise<void> {
  const [conf, data] = [join(folder, 'conf/'), join(folder, 'data')]
  // Users and rules of the machine's own wiki are for its web server's eyes only.
  const filter = (path: string) => !path.endsWith('.auth.php')
  await cp(configFolder, conf, { recursive: true, dereference: true, filter })
  const parts = ['pages', 'attic', 'media', 'media_attic', 'media_meta', 'meta']
  for (const part of [...parts, 'cache', 'index', 'locks', 'log', 'tmp']) {
    await mkdir(join(data, part), { recursive: true })
  }
  const settings = {
    title: 'A wiki',
    useacl: 1,
    passcrypt: 'md5',
    superuser: '@admin',
    savedir: data,
  }
  const lines = Object.entries(settings).map(([key, value]) => `$conf['${key}'] = '${value}';`)
  await writeFile(join(conf, 'local.php'), ['<?php', ...lines, ''].join('\n'))
  await writeFile(join(conf, 'acl.auth.php'), '* @ALL 1\n* @user 8\n')
  const { name, password } = wikiUser
  const user = `${name}:${hash('md5', password)}:Wanda:wanda@example.com:admin,user\n`
  await writeFile(join(conf, 'users.auth.php'), user)
  const before = [
    `<?php`,
    `define('DOKU_MAIN_CONF', '${conf}');`,
    `define('DOKU_CONF', '${conf}');`,
  ]
  await writeFile(join(folder, 'before.php'), before.join('\n'))
}

async function answers(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.pid === undefined) return
  const ended = once(server, 'exit')
  process.kill(-server.pid, 'SIGTERM')
  await ended
}

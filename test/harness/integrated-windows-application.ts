/**
 * A real application with integrated Windows authentication: Apache with mod_auth_gssapi in front of any origin, which
 * learns the user from `X-Remote-User`. Every request needs a ticket of its own, WebSockets too; below `/open/` nobody
 * is asked. The header also stands in each answer.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '#infra/config.ts'
import { freePort } from '#infra/embedded/ports.ts'

const folderOfModules = '/usr/lib/apache2/modules'

/** What has to be there. */
export const integratedWindowsFiles = ['apache2', `${folderOfModules}/mod_auth_gssapi.so`]

export interface IntegratedWindowsApplication extends AsyncDisposable {
  readonly url: string
}

export interface IntegratedWindowsOptions {
  readonly folder: string
  /** Of the account that has the application's SPN. */
  readonly keytab: string
  readonly krb5Config: string
  /** What it protects. */
  readonly origin: string
  readonly environment?: Environment
}

export async function startIntegratedWindowsApplication(
  options: IntegratedWindowsOptions,
): Promise<IntegratedWindowsApplication> {
  const { folder, krb5Config, environment } = options
  await using stack = new AsyncDisposableStack()
  await mkdir(join(folder, 'cache'), { recursive: true })
  await giveToServer(options)
  const port = await freePort()
  await writeFile(join(folder, 'httpd.conf'), configuration(options, port))
  const words = ['-DFOREGROUND', '-f', join(folder, 'httpd.conf')]
  const server = spawn('setpriv', ['--pdeathsig', 'TERM', 'apache2', ...words], {
    env: {
      PATH: '/usr/sbin:/usr/bin',
      KRB5_CONFIG: krb5Config,
      // The default would lie in /var/tmp.
      KRB5RCACHENAME: `file2:${folder}/cache/replay`,
      ...environment,
    },
    stdio: 'ignore',
  })
  stack.defer(() => end(server))
  const url = `http://127.0.0.1:${port}`
  await answering(url, folder)
  const owned = stack.move()
  return { url, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Its workers are nobody's and read the keytab themselves. */
async function giveToServer({ folder, keytab }: IntegratedWindowsOptions): Promise<void> {
  const passwd = await readFile('/etc/passwd', 'utf8')
  const [uid = 0, gid = 0] = /^nobody:[^:]*:(\d+):(\d+)/m.exec(passwd)?.slice(1).map(Number) ?? []
  const own = join(folder, 'http.keytab')
  await copyFile(keytab, own)
  await chmod(own, 0o600)
  await chmod(folder, 0o755)
  await chown(own, uid, gid)
  await chown(join(folder, 'cache'), uid, gid)
}

const modules = [
  ...['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'auth_gssapi', 'headers', 'mime'],
  ...['proxy', 'proxy_http', 'proxy_wstunnel'],
]

function configuration({ folder, origin }: IntegratedWindowsOptions, port: number): string {
  return [
    ...modules.map(name => `LoadModule ${name}_module ${folderOfModules}/mod_${name}.so`),
    'ServerName intranet.ad.sallyport.test',
    `Listen 127.0.0.1:${port}`,
    `PidFile ${folder}/httpd.pid`,
    `DefaultRuntimeDir ${folder}`,
    `ErrorLog ${folder}/error.log`,
    'LogLevel info auth_gssapi:debug',
    `DocumentRoot ${folder}`,
    'TypesConfig /dev/null',
    'User nobody',
    'Group nogroup',
    'StartServers 1',
    'MaxRequestWorkers 100',
    'ThreadsPerChild 50',
    'LimitRequestFieldSize 65536',
    'ProxyPreserveHost On',
    `ProxyPass / ${origin}/ upgrade=websocket`,
    '<Location />',
    '  AuthType GSSAPI',
    '  AuthName "intranet"',
    `  GssapiCredStore keytab:${folder}/http.keytab`,
    '  GssapiAllowedMech krb5',
    '  GssapiSSLonly Off',
    '  Require valid-user',
    '  RequestHeader set X-Remote-User "expr=%{REMOTE_USER}"',
    '  Header always set X-Remote-User "expr=%{REMOTE_USER}"',
    '</Location>',
    '<Location /open/>',
    '  AuthType None',
    '  Require all granted',
    '</Location>',
    '',
  ].join('\n')
}

async function answering(url: string, folder: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (await fetch(url).catch(() => undefined)) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  const log = await readFile(join(folder, 'error.log'), 'utf8').catch(() => '')
  throw new Error(`apache2 did not start:\n${log}`)
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = once(server, 'exit')
  server.kill('SIGTERM')
  await ended
}

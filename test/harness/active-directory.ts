/**
 * A real domain controller of Active Directory (Samba) on loopback, unattended, in a folder of its own: nothing outside
 * of it is written. Its KDC alone runs; accounts are written straight into the directory. Needs root.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Environment } from '#infra/config.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { succeed } from './programs.ts'

const modules = '/usr/lib/x86_64-linux-gnu/samba/ldb'

/** What has to be there. */
export const activeDirectoryFiles = [
  'samba',
  'samba-tool',
  'ldbadd',
  'ldbmodify',
  'setpriv',
  modules,
]

export interface Account {
  readonly name: string
  /** User principal name; `name@realm` when left out. */
  readonly upn?: string
  readonly spns?: readonly string[]
  /** Applications that it may sign users on to. */
  readonly delegatesTo?: readonly string[]
  /** Trusted to authenticate for delegation: protocol transition. */
  readonly anyProtocol?: true
  readonly isDisabled?: true
  /** Sensitive, cannot be delegated. */
  readonly isSensitive?: true
  readonly hasKeytab?: true
}

export interface ActiveDirectoryOptions {
  readonly folder: string
  readonly realm: string
  readonly accounts: readonly Account[]
  /** For the domain controller, as libfaketime's. */
  readonly environment?: Environment
}

export interface ActiveDirectory extends AsyncDisposable {
  readonly port: number
  /** For programs that look for the KDC by themselves. */
  readonly krb5Config: string
}

const flag = {
  normal: 0x200,
  disabled: 0x2,
  neverExpires: 0x10000,
  sensitive: 0x100000,
  anyProtocol: 0x1000000,
} as const
const password = 'Fixture-Passw0rd-1!'

export async function startActiveDirectory(
  options: ActiveDirectoryOptions,
): Promise<ActiveDirectory> {
  const { folder, realm, accounts, environment } = options
  const port = await freePort()
  await using stack = new AsyncDisposableStack()
  for (const part of ['private', 'state', 'cache', 'lock', 'ncalrpc', 'bind-dns'])
    await mkdir(join(folder, part), { recursive: true })
  const krb5Config = join(folder, 'krb5.conf')
  await writeFile(krb5Config, clientConfiguration(realm, port))
  await writeFile(join(folder, 'smb.conf'), serverConfiguration(options, port, await freePort()))
  await provision(options)
  await addAccounts(options)
  for (const account of accounts) if (account.hasKeytab) await exportKeytab(options, account)
  const server = start(options, environment)
  stack.defer(() => end(server))
  await listening(server, port, folder)
  const owned = stack.move()
  return { port, krb5Config, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Changes an account of a directory that runs; by the folder alone, so from any process. */
export async function setDisabled(
  folder: string,
  realm: string,
  name: string,
  isDisabled: boolean,
) {
  const control = flag.normal | flag.neverExpires | (isDisabled ? flag.disabled : 0)
  const file = join(folder, `${name}.ldif`)
  const change = [
    'changetype: modify',
    'replace: userAccountControl',
    `userAccountControl: ${control}`,
  ]
  await writeFile(file, [`dn: ${dnOf(name, realm)}`, ...change, ''].join('\n'))
  await succeed('ldbmodify', ['-H', join(folder, 'private/sam.ldb'), file], running(folder))
}

export const keytabOf = (folder: string, name: string) => join(folder, `${name}.keytab`)

const running = (folder: string) => ({
  environment: {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    KRB5_CONFIG: join(folder, 'krb5.conf'),
    LC_ALL: 'C.UTF-8',
    HOME: folder,
    LDB_MODULES_PATH: modules,
  },
})

function dnOf(name: string, realm: string): string {
  return [
    `CN=${name}`,
    'CN=Users',
    ...realm
      .toLowerCase()
      .split('.')
      .map(part => `DC=${part}`),
  ].join()
}

async function provision({ folder, realm }: ActiveDirectoryOptions): Promise<void> {
  const settings = [
    ...[`--configfile=${folder}/smb.conf`, `--realm=${realm}`, '--domain=CORP', '--server-role=dc'],
    ...['--dns-backend=NONE', '--use-rfc2307', `--adminpass=${password}`, '--host-name=dc1'],
    '--host-ip=127.0.0.1',
  ]
  await succeed('samba-tool', ['domain', 'provision', ...settings], running(folder))
}

async function addAccounts({ folder, realm, accounts }: ActiveDirectoryOptions): Promise<void> {
  const file = join(folder, 'accounts.ldif')
  await writeFile(file, `${accounts.map(account => entryOf(account, realm)).join('\n\n')}\n`)
  const { output, errors } = await succeed(
    'ldbadd',
    ['-H', join(folder, 'private/sam.ldb'), file],
    running(folder),
  )
  // Its exit status says nothing of entries that it left out.
  if (!output.includes(`Added ${accounts.length} records`)) throw new Error(`${output}${errors}`)
}

/** Without the encryption types (AES) an exported keytab would hold RC4 keys alone. */
function entryOf(account: Account, realm: string): string {
  const { name, upn = `${name}@${realm.toLowerCase()}`, spns = [], delegatesTo = [] } = account
  const control =
    flag.normal |
    flag.neverExpires |
    (account.isDisabled ? flag.disabled : 0) |
    (account.isSensitive ? flag.sensitive : 0) |
    (account.anyProtocol ? flag.anyProtocol : 0)
  return [
    `dn: ${dnOf(name, realm)}`,
    'objectClass: user',
    `sAMAccountName: ${name}`,
    `userPrincipalName: ${upn}`,
    `userAccountControl: ${control}`,
    `unicodePwd:: ${Buffer.from(`"${password}"`, 'utf16le').toString('base64')}`,
    'msDS-SupportedEncryptionTypes: 24',
    ...spns.map(spn => `servicePrincipalName: ${spn}`),
    ...delegatesTo.map(spn => `msDS-AllowedToDelegateTo: ${spn}`),
  ].join('\n')
}

/** The account's name first: that is the key that is used where none is named. */
async function exportKeytab({ folder }: ActiveDirectoryOptions, { name, spns = [] }: Account) {
  const file = keytabOf(folder, name)
  for (const principal of [name, ...spns]) {
    const words = [`--principal=${principal}`, `--configfile=${folder}/smb.conf`]
    await succeed('samba-tool', ['domain', 'exportkeytab', file, ...words], running(folder))
  }
  if (!existsSync(file)) throw new Error(`no keytab of ${name}`)
}

/** It ends with this process, however that ends. */
function start(
  { folder }: ActiveDirectoryOptions,
  environment: Environment | undefined,
): ChildProcess {
  const log = openSync(join(folder, 'samba.log'), 'w')
  const words = ['-i', '-M', 'single', `--configfile=${folder}/smb.conf`, '--debug-stdout']
  const server = spawn('setpriv', ['--pdeathsig', 'KILL', 'samba', ...words], {
    env: { ...running(folder).environment, ...environment },
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  return server
}

async function listening(server: ChildProcess, port: number, folder: string): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (await answers(port)) return
    if (server.exitCode !== null) break
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`samba did not start:\n${await readFile(join(folder, 'samba.log'), 'utf8')}`)
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(socket.destroy() === socket))
    socket.once('error', () => resolve(false))
  })
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = once(server, 'exit')
  server.kill('SIGTERM')
  await ended
}

function clientConfiguration(realm: string, port: number): string {
  return [
    '[libdefaults]',
    ` default_realm = ${realm}`,
    ' dns_lookup_kdc = false',
    ' dns_canonicalize_hostname = false',
    ' rdns = false',
    '[realms]',
    ` ${realm} = {`,
    `  kdc = 127.0.0.1:${port}`,
    ' }',
    '',
  ].join('\n')
}

function serverConfiguration(
  { folder, realm }: ActiveDirectoryOptions,
  kdc: number,
  kpasswd: number,
) {
  return [
    '[global]',
    'server role = active directory domain controller',
    `realm = ${realm}`,
    'workgroup = CORP',
    'netbios name = DC1',
    'interfaces = 127.0.0.1/8',
    'bind interfaces only = yes',
    `krb5 port = ${kdc}`,
    `kpasswd port = ${kpasswd}`,
    'server services = kdc',
    `private dir = ${folder}/private`,
    `state directory = ${folder}/state`,
    `cache directory = ${folder}/cache`,
    `lock directory = ${folder}/lock`,
    `pid directory = ${folder}/lock`,
    `ncalrpc dir = ${folder}/ncalrpc`,
    `binddns dir = ${folder}/bind-dns`,
    `log file = ${folder}/samba.log`,
    'log level = 1',
    'disable netbios = yes',
    'vfs objects = dfs_samba4 acl_xattr xattr_tdb',
    `xattr_tdb:file = ${folder}/state/xattr.tdb`,
    '[sysvol]',
    `path = ${folder}/state/sysvol`,
    'read only = no',
    '[netlogon]',
    `path = ${folder}/state/sysvol/${realm.toLowerCase()}/scripts`,
    'read only = no',
    '',
  ].join('\n')
}

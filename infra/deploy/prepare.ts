/**
 * Prepares a folder of secrets for compose.yaml or the systemd units:
 * `node infra/deploy/prepare.ts [--name bus.example.com…] [folder [node…]]`. It makes the certificate authority, the
 * keys of the bus's roles, the configuration of its nodes, a bus URL for each role and the administrators' token.
 * `--name` is under which connectors reach the bus. What is there is kept, so that it may be run again after an upgrade,
 * and should be once a year: the certificates of the bus and of the registry are good for two (docs/connectors.md).
 */

import { randomBytes } from 'node:crypto'
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { keepAuthority } from '../authority.ts'
import { createFolder } from '../files.ts'
import { busRoles } from '../permissions.ts'
import { busUrlOf, keepRoleKeys } from '../role-keys.ts'
import { clientPort, clusterConfig } from './nats-config.ts'

/** Only the folder keeps others out: a container reads single files of it, under a user id of its own. */
const folderMode = 0o700
const fileMode = 0o644

/** Where the containers find what they are given of the authority. */
const authorityInside = '/run/authority'

export interface Preparation {
  nodes: readonly string[]
  /** Further names of the bus: those that connectors use. */
  names?: readonly string[]
}

export async function prepare(
  folder: string,
  { nodes, names = [] }: Preparation,
): Promise<string[]> {
  await createFolder(folder, folderMode)
  await chmod(folder, folderMode)
  await prepareAuthority(join(folder, 'authority'), [...nodes, ...names])
  const keys = await keepRoleKeys(folder)
  const routePassword = await keptSecret(join(folder, 'route-password'))
  await keptSecret(join(folder, 'admin-token'))
  const cluster = { nodes, keys, routePassword, storeDirectory: '/data' }
  const files: Record<string, string> = {
    'nats.conf': clusterConfig({ ...cluster, authority: authorityInside }),
  }
  for (const role of busRoles.filter(one => one !== 'connector')) {
    const urls = nodes.map(node => busUrlOf(role, keys, `tls://${node}:${clientPort}`))
    files[`${role}-bus-url`] = `${urls.join(',')}\n`
  }
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, name), content, { mode: fileMode })
  }
  return [...Object.keys(files), 'admin-token', 'authority']
}

async function prepareAuthority(folder: string, busNames: readonly string[]): Promise<void> {
  await keepAuthority(folder, { busNames })
  for (const name of await readdir(folder)) await chmod(join(folder, name), fileMode)
}

async function keptSecret(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const secret = randomBytes(32).toString('base64url')
  await writeFile(file, `${secret}\n`, { mode: fileMode })
  return secret
}

/** Without port and scheme. */
const hostName = /^(?=.{1,253}$)[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*$/i

const usage = `node infra/deploy/prepare.ts [--name bus.example.com…] [folder [node…]]

  folder  where the secrets go (default: infra/deploy/secrets)
  node    names of the bus's servers among themselves (default: nats-1 nats-2 nats-3)
  --name  a name of the bus that connectors use; repeatable
`

/** Exit status of a wrong call. */
const wrongUsage = 2

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { name: { type: 'string', multiple: true }, help: { type: 'boolean', short: 'h' } },
    })
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`)
    process.exit(wrongUsage)
  }
}

if (import.meta.main) {
  const { values, positionals } = readArguments()
  const [folder = join(import.meta.dirname, 'secrets'), ...given] = positionals
  const nodes = given.length > 0 ? given : ['nats-1', 'nats-2', 'nats-3']
  const names = values.name ?? []
  const strange = [...nodes, ...names].find(name => !hostName.test(name) && isIP(name) === 0)
  if (values.help) {
    process.stdout.write(usage)
  } else if (strange !== undefined) {
    process.stderr.write(`"${strange}" is no host name, as bus.example.com is\n\n${usage}`)
    process.exitCode = wrongUsage
  } else {
    const written = await prepare(folder, { nodes, names })
    process.stdout.write(`${folder}: ${written.join(', ')}\n`)
  }
}

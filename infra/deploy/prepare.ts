/**
 * Prepares a folder of secrets for compose.yaml or the systemd units: `node infra/deploy/prepare.ts [folder [node…]]`.
 * It writes the passwords of the bus, the configuration of its nodes, a bus URL for each role and the administrators'
 * token. What is there is kept: passwords survive, so that it may be run again after an upgrade.
 */

import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { keepPasswords } from '../embedded/nats-config.ts'
import { busRoles } from '../permissions.ts'
import { clusterConfig } from './nats-config.ts'

/** Only the folder keeps others out: a container reads single files of it, under a user id of its own. */
const folderMode = 0o700
const fileMode = 0o644

export async function prepare(folder: string, nodes: readonly string[]): Promise<string[]> {
  await mkdir(folder, { recursive: true, mode: folderMode })
  await chmod(folder, folderMode)
  const passwords = await keepPasswords(folder)
  const routePassword = await keptSecret(join(folder, 'route-password'))
  await keptSecret(join(folder, 'admin-token'))
  const files: Record<string, string> = {
    'nats.conf': clusterConfig({ nodes, passwords, routePassword, storeDirectory: '/data' }),
  }
  for (const role of busRoles) {
    const urls = nodes.map(node => `nats://${role}:${passwords[role]}@${node}:4222`)
    files[`${role}-bus-url`] = `${urls.join(',')}\n`
  }
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, name), content, { mode: fileMode })
  }
  return [...Object.keys(files), 'admin-token']
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

if (import.meta.main) {
  const [folder = join(import.meta.dirname, 'secrets'), ...nodes] = process.argv.slice(2)
  const written = await prepare(folder, nodes.length > 0 ? nodes : ['nats-1', 'nats-2', 'nats-3'])
  process.stdout.write(`${folder}: ${written.join(', ')}\n`)
}

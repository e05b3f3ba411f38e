/**
 * The configuration file of the embedded nats-server: loopback only, JetStream, one user per role with a random
 * password and the permissions of infra/permissions.ts; `system` belongs to the server's own account. The passwords stand in a file of their own and stay the same
 * over restarts. Both files are readable by their owner alone.
 */

import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type BusRole, busRoles, permissions } from '../permissions.ts'

export type Passwords = Readonly<Record<BusRole, string>>

export interface NatsConfigOptions {
  directory: string
  /** 0 for a free one. */
  port: number
  passwords: Passwords
}

const ownerOnly = 0o600

/** Reads the passwords of a data folder, adds those that are missing, and keeps the result. */
export async function keepPasswords(
  directory: string,
  given: Partial<Record<BusRole, string>> = {},
): Promise<Passwords> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const file = join(directory, 'passwords.json')
  const kept = await readPasswords(file)
  const passwords = Object.fromEntries(
    busRoles.map(role => [
      role,
      given[role] ?? kept[role] ?? randomBytes(24).toString('base64url'),
    ]),
  ) as Record<BusRole, string>
  await writeFile(file, `${JSON.stringify(passwords, null, 2)}\n`, { mode: ownerOnly })
  return passwords
}

const KeptPasswords = z.partialRecord(z.enum(busRoles), z.string().min(1))

async function readPasswords(file: string): Promise<Partial<Record<BusRole, string>>> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
  try {
    return KeptPasswords.parse(JSON.parse(text))
  } catch (error) {
    throw new Error(`${file} cannot be understood; delete it, new passwords are made`, {
      cause: error,
    })
  }
}

/** Writes `nats-server.conf` into the data folder and returns its path. */
export async function writeNatsConfig(options: NatsConfigOptions): Promise<string> {
  const file = join(options.directory, 'nats-server.conf')
  await writeFile(file, natsConfig(options), { mode: ownerOnly })
  return file
}

function natsConfig({ directory, port, passwords }: NatsConfigOptions): string {
  return serialized({
    listen: `127.0.0.1:${port === 0 ? -1 : port}`,
    jetstream: { store_dir: directory },
    ...serverSettings(passwords),
  })
}

/** What every nats-server has, embedded or of a cluster: limits, and one user per role with its permissions. */
export function serverSettings(passwords: Passwords) {
  const userOf = (role: BusRole) => ({
    user: role,
    password: passwords[role],
    permissions: {
      publish: allowed(permissions[role].publish),
      subscribe: allowed(permissions[role].subscribe),
    },
  })
  const users = busRoles.filter(role => role !== 'system').map(userOf)
  return {
    // The defaults leave a hung connection in its queue group for minutes.
    ping_interval: '5s',
    ping_max: 2,
    max_payload: 1_048_576,
    write_deadline: '10s',
    authorization: { timeout: 5, users },
    accounts: { $SYS: { users: [userOf('system')] } },
  }
}

/** An empty allow list would allow everything. */
function allowed(subjects: readonly string[]) {
  return subjects.length > 0 ? { allow: subjects } : { deny: ['>'] }
}

/** nats-server reads JSON as a subset of its own format. */
export function serialized(config: object): string {
  return `${JSON.stringify(config, null, 2)}\n`
}

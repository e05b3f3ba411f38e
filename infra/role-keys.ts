/**
 * The secrets of the bus's roles: a key for each, of which nats-server knows the public half alone. The seed travels as
 * the user name of the role's bus URL, so that this URL is the only variable with a secret in it. On a bus without TLS
 * and enrolment the same secrets are passwords, which every NATS client takes as they stand in the URL.
 */

import { join } from 'node:path'
import { z } from 'zod'
import { createFolder, readIfThere, replaceFile } from './files.ts'
import { createSeed, deriveSeed, signerOf } from './nkey.ts'
import { type BusRole, busRoles } from './permissions.ts'

export type RoleKeys = Readonly<Record<BusRole, string>>

const fileName = 'role-keys.json'

export function createRoleKeys(): RoleKeys {
  return completed({})
}

/** Reads the keys of a folder, adds those that are missing, and keeps the result, readable by its owner alone. */
export async function keepRoleKeys(
  directory: string,
  given: Partial<RoleKeys> = {},
): Promise<RoleKeys> {
  await createFolder(directory)
  const file = join(directory, fileName)
  const kept = await readIfThere(file)
  const keys = completed({ ...(kept !== undefined && parse(kept, file)), ...given })
  const text = `${JSON.stringify(keys, null, 2)}\n`
  if (text !== kept) await replaceFile(file, text)
  return keys
}

function completed(known: Partial<RoleKeys>): RoleKeys {
  return Object.fromEntries(
    busRoles.map(role => [role, known[role] ?? createSeed('user')]),
  ) as RoleKeys
}

const KeptKeys = z.partialRecord(z.enum(busRoles), z.string().min(1))

function parse(text: string, file: string): Partial<RoleKeys> {
  try {
    return KeptKeys.parse(JSON.parse(text))
  } catch (error) {
    throw new Error(`${file} cannot be understood; delete it, new keys are made`, { cause: error })
  }
}

/** What nats-server knows a role by. */
export function serverUserOf(role: BusRole, keys: RoleKeys, isSecure: boolean): object {
  if (!isSecure) return { user: role, password: keys[role] }
  return { nkey: signerOf(keys[role]).publicKey, allowed_connection_types: ['STANDARD'] }
}

/** What a service of this role is given; `address` is `tls://host:port`, or `nats://host:port` without TLS. */
export function busUrlOf(role: BusRole, keys: RoleKeys, address: string): string {
  const scheme = address.slice(0, address.indexOf('//') + 2)
  const user = scheme === 'tls://' ? keys[role] : `${role}:${keys[role]}`
  return `${scheme}${user}@${address.slice(scheme.length)}`
}

export interface CalloutKeys {
  /** Signs what a connector may do; nats-server believes this account alone. */
  readonly issuer: string
  /** What the server asks, and what it is answered, is sealed for it. */
  readonly curve: string
}

/** Both belong to whoever answers the server, and follow from that role's seed: there is one secret to keep. */
export function calloutKeysOf(calloutSeed: string): CalloutKeys {
  return {
    issuer: deriveSeed(calloutSeed, 'account', 'callout issuer'),
    curve: deriveSeed(calloutSeed, 'curve', 'callout curve'),
  }
}

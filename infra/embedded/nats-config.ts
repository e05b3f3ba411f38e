/**
 * The configuration of nats-server, embedded or of a cluster: JetStream, one user per role with the permissions of
 * infra/permissions.ts and its public key alone, and two listeners. The one for services takes TLS and the roles' keys; the
 * one for connectors is a WebSocket that demands a client certificate of the connectors' authority, and the server asks
 * registry whom it belongs to (auth callout). Without an authority there is neither TLS nor the second listener, and
 * roles have passwords.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { nkeys } from '@nats-io/transport-node'
import { signerOf } from '../nkey.ts'
import { type BusRole, busAccount, busRoles, permissions } from '../permissions.ts'
import { calloutKeysOf, type RoleKeys, serverUserOf } from '../role-keys.ts'

export interface NatsConfigOptions {
  directory: string
  /** 0 for a free one. */
  port: number
  keys: RoleKeys
  /** Folder of the authority (infra/authority.ts), for a bus with TLS and connectors that enrol. */
  authority?: string | undefined
  /** Of the connectors' listener; 0 for a free one. */
  webPort?: number | undefined
}

const ownerOnly = 0o600

/**
 * A client that nobody answers for is refused after so long: when everything starts again, connectors are there before a
 * registry, and should come again soon. Long enough for a thousand of them at once.
 */
const authorizationSeconds = 2

const calloutAccount = 'AUTH'
const systemAccount = 'SYS'

/** Writes `nats-server.conf` into the data folder and returns its path. */
export async function writeNatsConfig(options: NatsConfigOptions): Promise<string> {
  const file = join(options.directory, 'nats-server.conf')
  await writeFile(file, serialized(natsConfig(options)), { mode: ownerOnly })
  return file
}

function natsConfig({ directory, port, keys, authority, webPort = 0 }: NatsConfigOptions): object {
  const loopback = '127.0.0.1'
  return {
    listen: `${loopback}:${port || -1}`,
    jetstream: { store_dir: directory },
    ...serverSettings({
      keys,
      ...(authority !== undefined && {
        secure: { authority, web: { host: loopback, port: webPort || -1 } },
      }),
    }),
  }
}

export interface ServerSettings {
  keys: RoleKeys
  secure?: {
    /** Folder with `bus.pem`, `bus-key.pem` and `connectors.pem`, as the server sees it. */
    authority: string
    /** Where connectors come in. */
    web: { host: string; port: number }
  }
}

/** What every nats-server has: limits, accounts, users, and both listeners' certificates. */
export function serverSettings({ keys, secure }: ServerSettings): object {
  return {
    // The defaults leave a hung connection in its queue group for minutes.
    ping_interval: '5s',
    ping_max: 2,
    max_payload: 1_048_576,
    max_subscriptions: 1_000,
    write_deadline: '10s',
    accounts: accountsOf(keys, secure !== undefined),
    system_account: systemAccount,
    authorization: {
      timeout: authorizationSeconds,
      ...(secure && { auth_callout: calloutOf(keys) }),
    },
    ...(secure && listenersOf(secure)),
  }
}

/** A connector has no user of its own where it is asked for by certificate; nor is registry asked where it is not. */
function rolesOf(isSecure: boolean): readonly BusRole[] {
  return busRoles.filter(role => role !== (isSecure ? 'connector' : 'callout'))
}

function accountOf(role: BusRole): string {
  if (role === 'system') return systemAccount
  return role === 'callout' ? calloutAccount : busAccount
}

function accountsOf(keys: RoleKeys, isSecure: boolean) {
  const usersOf = (account: string) =>
    rolesOf(isSecure)
      .filter(role => accountOf(role) === account)
      .map(role => ({ ...serverUserOf(role, keys, isSecure), permissions: permissionsOf(role) }))
  return {
    [busAccount]: { jetstream: 'enabled', users: usersOf(busAccount) },
    [systemAccount]: { users: usersOf(systemAccount) },
    ...(isSecure && { [calloutAccount]: { users: usersOf(calloutAccount) } }),
  }
}

function permissionsOf(role: BusRole) {
  const { publish, subscribe, answersWithin } = permissions[role]
  return {
    ...(answersWithin === undefined
      ? { publish: allowed(publish) }
      : { allow_responses: { max: 1, expires: answersWithin } }),
    subscribe: allowed(subscribe),
  }
}

/** An empty allow list would allow everything. */
function allowed(subjects: readonly string[]) {
  return subjects.length > 0 ? { allow: subjects } : { deny: ['>'] }
}

function calloutOf(keys: RoleKeys) {
  const { issuer, curve } = calloutKeysOf(keys.callout)
  const staticRoles = rolesOf(true)
  return {
    issuer: signerOf(issuer).publicKey,
    account: calloutAccount,
    // These are known to the server itself: services need no registry to connect.
    auth_users: staticRoles.map(role => signerOf(keys[role]).publicKey),
    xkey: nkeys.fromCurveSeed(Buffer.from(curve)).getPublicKey(),
  }
}

function listenersOf({ authority, web }: NonNullable<ServerSettings['secure']>) {
  const server = {
    cert_file: join(authority, 'bus.pem'),
    key_file: join(authority, 'bus-key.pem'),
  }
  return {
    tls: { ...server, timeout: 5 },
    websocket: {
      ...web,
      compression: false,
      handshake_timeout: '5s',
      // The connectors' authority is the only one that counts: no other certificate gets as far as registry.
      tls: { ...server, ca_file: join(authority, 'connectors.pem'), verify: true },
    },
  }
}

/** nats-server reads JSON as a subset of its own format. */
export function serialized(config: object): string {
  return `${JSON.stringify(config, null, 2)}\n`
}

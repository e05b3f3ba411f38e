/**
 * The configuration of the nats-servers of a cluster: the same file for every node, which gets its name on the command
 * line (`nats-server --config nats.conf --name nats-1`). Roles, permissions and listeners are those of the embedded
 * server: services at 4222, connectors at 443.
 */

import { join } from 'node:path'
import { serialized, serverSettings } from '../embedded/nats-config.ts'
import type { RoleKeys } from '../role-keys.ts'

export interface ClusterOptions {
  /** Host names under which the nodes reach each other; three or five of them. */
  nodes: readonly string[]
  keys: RoleKeys
  /**
   * Folder with the root, the bus's certificate and the connectors' authority, as the nodes see it. Without it there is no TLS,
   * and one user for all connectors.
   */
  authority?: string
  /** With which the nodes let each other in. */
  routePassword: string
  storeDirectory: string
}

const routeUser = 'route'
export const clientPort = 4222
/** Where connectors come in: the one port that every network lets out. */
const connectorPort = 443
const routePort = 6222
const monitorPort = 8222

export function clusterConfig(options: ClusterOptions): string {
  const { nodes, keys, authority, routePassword, storeDirectory } = options
  const routes = nodes.map(node => `nats://${routeUser}:${routePassword}@${node}:${routePort}`)
  return serialized({
    port: clientPort,
    http: monitorPort,
    jetstream: { store_dir: storeDirectory },
    cluster: {
      name: 'sallyport',
      port: routePort,
      routes,
      authorization: { user: routeUser, password: routePassword, timeout: 5 },
      ...(authority !== undefined && { tls: routeTls(authority) }),
      // By default a node that hangs or is cut off is noticed after more than a minute.
      ping_interval: '1s',
      ping_max: 2,
      // Clients are told all nodes by their own configuration; a node does not know its address in their network.
      no_advertise: true,
    },
    // How long clients are given to move to another node before this one ends (SIGUSR2); NATS takes no shorter time.
    lame_duck_duration: '30s',
    ...serverSettings({
      keys,
      ...(authority !== undefined && {
        secure: { authority, web: { host: '0.0.0.0', port: connectorPort } },
      }),
    }),
  })
}

/** Nodes take each other by certificate, both ways, and by the password. */
function routeTls(authority: string): object {
  return {
    cert_file: join(authority, 'bus.pem'),
    key_file: join(authority, 'bus-key.pem'),
    ca_file: join(authority, 'root.pem'),
    verify: true,
    timeout: 5,
  }
}

/**
 * Which connectors, or workers of one, have lost their connection to the bus, as its server says: within milliseconds
 * of a crash, where silence says it only after many seconds. The server tells nobody but its system account, so this is
 * a connection of its own. A connector that came back before its old connection had ended is not lost, nor is one that
 * came back before this registry has read so.
 */

import { z } from 'zod'
import { type Bus, connectionName, type Message } from '#infra/bus.ts'
import { connectorIdOf, memberIdPattern } from '#infra/contracts/connector.ts'
import { parseJson } from '#infra/json.ts'
import type { BusRole } from '#infra/permissions.ts'
import { Attention } from '#infra/standstill.ts'
import { subjects } from '#infra/subjects.ts'
import { readUserName } from './user-name.ts'

export interface ConnectionsOptions {
  /** In the system account. */
  bus: Bus
  /** This connector, or this worker of one, has connected from this address. */
  onConnected?: (memberId: string, address: string) => void
  /** The last connection of this connector, or this worker of one, has ended. */
  onLost: (memberId: string) => void
}

/** What both events say (io.nats.server.advisory.v1.client_connect and client_disconnect). */
const ConnectionEvent = z.object({
  server: z.object({ id: z.string() }),
  client: z.object({
    id: z.number(),
    host: z.string().default(''),
    user: z.string().default(''),
    name: z.string().default(''),
  }),
})

const connectorRole: BusRole = 'connector'
const namePrefix = connectionName(connectorRole, '')

/** Resolves when the server's events are heard. */
export async function followConnections(options: ConnectionsOptions): Promise<Disposable> {
  const { bus, onConnected, onLost } = options
  const attention = new Attention(bus)
  const open = new Map<string, Set<string>>()
  // What happened while this connection was away is not told later.
  bus.onStatus(() => open.clear())
  follow(bus, subjects.connectionsBegun, (memberId, connection, address) => {
    if (address !== '') onConnected?.(memberId, address)
    open.set(memberId, (open.get(memberId) ?? new Set()).add(connection))
  })
  follow(bus, subjects.connectionsEnded, (memberId, connection) => {
    open.get(memberId)?.delete(connection)
    const judge = () => {
      if (open.get(memberId)?.size) return
      open.delete(memberId)
      onLost(memberId)
    }
    // Of one that came back while this registry stood still, the return is read next. What was not read when the
    // connection broke is not told later: whoever is lost then is silent.
    const caughtUp = attention.catchingUp
    if (caughtUp !== undefined) void caughtUp.then(isWhole => isWhole && judge())
    else judge()
  })
  await bus.connection.flush()
  return attention
}

function follow(
  bus: Bus,
  subject: string,
  listener: (memberId: string, connection: string, address: string) => void,
): void {
  bus.subscribe(subject, {
    callback: (message: Message) => {
      const { server, client } = parseJson(ConnectionEvent, message.data, message.subject)
      if (!client.name.startsWith(namePrefix)) return
      const memberId = client.name.slice(namePrefix.length)
      // The name is the client's own choice, the user is not: where connectors have certificates it is the connector's
      // id, and registry has let it in under no other name.
      const { connectorId } = readUserName(client.user) ?? {}
      if (client.user !== connectorRole && connectorId !== connectorIdOf(memberId)) return
      if (memberIdPattern.test(memberId))
        listener(memberId, `${server.id} ${client.id}`, client.host)
    },
  })
}

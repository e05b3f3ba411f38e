/**
 * The connections of connectors as the servers of the bus know them, asked for over the system account: which there are,
 * which begin, and the end of one. Nothing is remembered here, so that every registry may do this at any time.
 */

import { z } from 'zod'
import { type Bus, connectionName, type Message } from '#infra/bus.ts'
import { parseJson } from '#infra/json.ts'
import { busAccount } from '#infra/permissions.ts'
import { subjects } from '#infra/subjects.ts'
import { readUserName } from '../user-name.ts'
import type { Standing } from './admission.ts'

export interface LiveConnection extends Standing {
  readonly serverId: string
  /** The server's number for it. */
  readonly number: number
}

/** What an event says of a connection that begins (io.nats.server.advisory.v1.client_connect). */
const Begun = z.object({
  server: z.object({ id: z.string() }),
  client: z.object({ id: z.number(), user: z.string().default('') }),
})

/** A page of one server's list. */
const Listed = z.object({
  server: z.object({ id: z.string() }),
  data: z.object({
    total: z.number().default(0),
    /** By the clock of the server, as `start`. */
    now: z.string(),
    connections: z
      .array(
        z.object({
          cid: z.number(),
          name: z.string().default(''),
          start: z.string(),
          authorized_user: z.string().default(''),
          /** Of the client, its own certificate first; hexadecimal. */
          tls_peer_certs: z.array(z.object({ spki_sha256: z.string() })).nullish(),
        }),
      )
      .nullish(),
  }),
})

const connectorPrefix = connectionName('connector', '')
const pageSize = 512
/** After the last server that answered, another one may for so long. */
const stallMs = 300
const answersWithinMs = 2_000

export function onBegun(bus: Bus, listener: (connection: LiveConnection) => void): void {
  bus.subscribe(subjects.connectionsBegun, {
    callback: (message: Message) => {
      const { server, client } = parseJson(Begun, message.data, message.subject)
      const connection = connectionOf(client.user, {
        serverId: server.id,
        number: client.id,
        spki: undefined,
      })
      if (connection) listener(connection)
    },
  })
}

/** Those of all connectors, on every server, as the answers come in. */
export async function* listConnections(bus: Bus): AsyncIterable<LiveConnection> {
  for await (const { serverId, listed } of list(bus, { acc: busAccount })) {
    const { cid, authorized_user: user, tls_peer_certs: chain } = listed
    const key = Buffer.from(chain?.[0]?.spki_sha256 ?? '', 'hex').toString('base64url')
    const connection = connectionOf(user, { serverId, number: cid, spki: key })
    if (connection) yield connection
  }
}

export interface WaitingConnection extends Pick<LiveConnection, 'serverId' | 'number'> {
  readonly sinceMs: number
}

/** Those that come as connectors and are not let in yet, as the answers come in. */
export async function* listWaiting(bus: Bus): AsyncIterable<WaitingConnection> {
  for await (const { serverId, now, listed } of list(bus, {})) {
    const { cid, authorized_user: user, name, start } = listed
    if (user !== '' || !name.startsWith(connectorPrefix)) continue
    yield { serverId, number: cid, sinceMs: Date.parse(now) - Date.parse(start) }
  }
}

async function* list(bus: Bus, filter: { acc?: string }) {
  for (let offset = 0, isMore = true; isMore; offset += pageSize) {
    isMore = false
    const request = JSON.stringify({ ...filter, auth: true, limit: pageSize, offset })
    const answers = await bus.connection.requestMany(subjects.listConnections, request, {
      strategy: 'stall',
      stall: stallMs,
      maxWait: answersWithinMs,
    })
    for await (const answer of answers) {
      const { server, data } = parseJson(Listed, Buffer.from(answer.data), 'list of connections')
      isMore ||= data.total > offset + pageSize
      for (const listed of data.connections ?? [])
        yield { serverId: server.id, now: data.now, listed }
    }
  }
}

/** Ends one. It must be a request: without somewhere to answer to, the server does nothing. */
export async function endConnection(
  bus: Bus,
  { serverId, number }: Pick<LiveConnection, 'serverId' | 'number'>,
): Promise<void> {
  const payload = JSON.stringify({ cid: number })
  await bus.connection.request(subjects.endConnection(serverId), payload, {
    timeout: answersWithinMs,
  })
}

function connectionOf(
  user: string,
  rest: Pick<LiveConnection, 'serverId' | 'number' | 'spki'>,
): LiveConnection | undefined {
  const named = readUserName(user)
  return named && { ...named, ...rest }
}

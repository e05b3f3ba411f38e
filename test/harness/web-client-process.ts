/**
 * A client of the bus over secure WebSockets, as a process of its own: one process cannot have both kinds of transport.
 * It does what its parent says, whether or not a connector would, and tells what came of it (web-client.ts).
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type NatsConnection,
  PermissionViolationError,
  type Subscription,
} from '@nats-io/transport-node'
import { dial } from '#infra/bus-connection.ts'
import { detailOf } from '#infra/errors.ts'
import type { WebClientCalls } from './web-client.ts'

let connection: NatsConnection | undefined
const received: { subject: string; data: string; reply: string }[] = []
const violations: string[] = []
const statuses: string[] = []
const subscriptions: Subscription[] = []

const live = () => {
  if (!connection) throw new Error('not connected')
  return connection
}

/** The server's answer to a flush comes after any complaint about what was sent before. */
async function refusalsSince(count: number): Promise<string[]> {
  await live().flush()
  await live().flush()
  return violations.slice(count)
}

const calls: WebClientCalls = {
  async connect({ url, folder, name, proxy }) {
    // It would come back by itself, with all its subscriptions, as soon as it may.
    await leave()
    const file = (one: string) => readFile(join(folder, one), 'utf8')
    const identity = async () => ({
      key: await file('key.pem'),
      certificate: await file('certificate.pem'),
      authority: await file('authority.pem'),
    })
    const member = name.split(' ').at(-1)
    const inboxPrefix = `sallyport.inbox.connector.${member}`
    connection = await dial({ url, name, inboxPrefix, identity, proxy: proxy ?? {} })
    void follow(connection)
  },
  async publish({ subject, data = '', reply, count = 1, isBase64 }) {
    const before = violations.length
    const payload = Buffer.from(data, isBase64 ? 'base64' : 'utf8')
    for (let i = 0; i < count; i++) live().publish(subject, payload, reply ? { reply } : {})
    return refusalsSince(before)
  },
  async subscribe({ subject, queue }) {
    const before = violations.length
    const callback = (
      error: Error | null,
      message: { subject: string; data: Uint8Array; reply?: string },
    ) => {
      if (error) return
      const { data, reply = '' } = message
      received.push({ subject: message.subject, data: Buffer.from(data).toString('base64'), reply })
      if (received.length > 10_000) received.shift()
    }
    subscriptions.push(live().subscribe(subject, { ...(queue && { queue }), callback }))
    return refusalsSince(before)
  },
  received: async () => received,
  async request({ subject, data = '' }) {
    return (await live().request(subject, data, { timeout: 2_000 })).string()
  },
  state: async () => ({ isClosed: live().isClosed(), statuses }),
  async close() {
    await leave()
    connection = undefined
  },
}

/** The library trips over a connection that was cut and that it is just about to make anew. */
async function leave(): Promise<void> {
  await connection?.close().catch(() => undefined)
}

async function follow(nats: NatsConnection): Promise<void> {
  for await (const status of nats.status()) {
    if (status.type === 'ping') continue
    statuses.push(status.type)
    if (status.type === 'error' && status.error instanceof PermissionViolationError)
      violations.push(`${status.error.operation} ${status.error.subject}`)
  }
}

process.on(
  'message',
  ({ id, call, args }: { id: number; call: keyof WebClientCalls; args: never }) => {
    calls[call](args).then(
      result => process.send?.({ id, result }),
      error => process.send?.({ id, error: detailOf(error) }),
    )
  },
)
// Whoever cannot be told any more has gone.
process.on('error', () => process.exit(0))
process.once('disconnect', () => process.exit(0))
process.send?.({ ready: true })

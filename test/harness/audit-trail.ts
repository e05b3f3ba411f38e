/** The stream AUDIT as an auditor reads it: every event from the beginning, checked against the contract. */

import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import type { Bus } from '#infra/bus.ts'
import { type AccessEvent, AuditEvent } from '#infra/contracts/audit.ts'
import { streams } from '#infra/subjects.ts'

/** How many events of these subjects are stored. */
export async function countAudit(bus: Bus, subject: string): Promise<number> {
  const manager = await jetstreamManager(bus.connection, { checkAPI: false })
  const { state } = await manager.streams.info(streams.audit, { subjects_filter: subject })
  return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
}

/** Everything stored so far. */
export async function readAudit(bus: Bus): Promise<AuditEvent[]> {
  return (await readAuditTexts(bus)).map(text => AuditEvent.parse(JSON.parse(text)))
}

/** The same as it lies in the stream, for those who look for what must not be there. */
export async function readAuditTexts(bus: Bus): Promise<string[]> {
  const manager = await jetstreamManager(bus.connection, { checkAPI: false })
  const { state } = await manager.streams.info(streams.audit)
  const texts: string[] = []
  if (state.messages === 0) return texts
  const js = jetstream(bus.connection, { checkAPI: false })
  const consumer = await js.consumers.get(streams.audit)
  const messages = await consumer.consume({ max_messages: 2_000 })
  for await (const message of messages) {
    texts.push(message.string())
    if (message.seq >= state.last_seq) break
  }
  return texts
}

export function accessEvents(events: readonly AuditEvent[]): AccessEvent[] {
  return events.filter(event => event.category === 'access')
}

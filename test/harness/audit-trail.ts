/** The stream AUDIT as an auditor reads it: every event from the beginning, checked against the contract. */

import { jetstream } from '@nats-io/jetstream'
import type { Bus } from '#infra/bus.ts'
import { type AccessEvent, AuditEvent, eventsOf } from '#infra/contracts/audit.ts'
import { streams, subjects } from '#infra/subjects.ts'

/** How many events of these subjects are stored. */
export async function countAudit(bus: Bus, subject: string): Promise<number> {
  return (await readAuditTexts(bus, subject)).length
}

/** Everything stored so far. */
export async function readAudit(bus: Bus): Promise<AuditEvent[]> {
  return (await readAuditTexts(bus)).map(text => AuditEvent.parse(JSON.parse(text)))
}

/** The same as it lies in the stream, for those who look for what must not be there. */
export async function readAuditTexts(
  bus: Bus,
  subject: string = subjects.audits,
): Promise<string[]> {
  const js = jetstream(bus.connection, { checkAPI: false })
  const consumer = await js.consumers.get(streams.audit, { filter_subjects: subject })
  const texts: string[] = []
  let { num_pending: left } = await consumer.info(true)
  if (left === 0) return texts
  for await (const message of await consumer.consume({ max_messages: 2_000 })) {
    texts.push(...eventsOf(message.data))
    if (--left === 0) break
  }
  return texts
}

export function accessEvents(events: readonly AuditEvent[]): AccessEvent[] {
  return events.filter(event => event.category === 'access')
}

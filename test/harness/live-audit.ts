/** Audit events as they happen, through a plain subscription as any auditor may have. */

import { type AccessEvent, AuditEvent, eventsOf } from '#infra/contracts/audit.ts'
import { subjects } from '#infra/subjects.ts'
import type { TestSystem } from './system.ts'

export interface LiveEvent {
  readonly event: AuditEvent
  /** Unix time in ms at which it came here. */
  readonly receivedAtMs: number
}

/** Collects everything from now on. */
export async function followAudit(
  system: TestSystem,
  subject = subjects.audits,
): Promise<readonly LiveEvent[]> {
  const bus = await system.connect('auditor')
  const received: LiveEvent[] = []
  bus.subscribe(subject, {
    callback: ({ data }) => {
      const receivedAtMs = Date.now()
      for (const text of eventsOf(data)) {
        received.push({ event: AuditEvent.parse(JSON.parse(text)), receivedAtMs })
      }
    },
  })
  await bus.connection.flush()
  return received
}

/** Those of requests, in the order in which they ended. */
export function liveAccess(received: readonly LiveEvent[]): AccessEvent[] {
  return received.map(({ event }) => event).filter(event => event.category === 'access')
}

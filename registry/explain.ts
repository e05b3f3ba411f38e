/**
 * What became of a request, by its support id: found in the audit trail, which has the decision with everything that it
 * was made on. Requests that shared a decision name the one that it was made for.
 */

import { DeliverPolicy, jetstream } from '@nats-io/jetstream'
import type { Bus } from '#infra/bus.ts'
import {
  type AccessEvent,
  AuditEvent,
  eventsOf,
  type PolicyEvent,
  type SignInEvent,
} from '#infra/contracts/audit.ts'
import { streams, subjects } from '#infra/subjects.ts'
import { Refusal } from './refusal.ts'

export interface Explained {
  /** The answer to the request; undefined when it was not the audit's business, or is not stored yet. */
  readonly access: AccessEvent | undefined
  /** The decision; undefined when there was none, or when it was a grant that had been recorded before. */
  readonly policy: PolicyEvent | undefined
  readonly signIn: SignInEvent | undefined
}

export type Explain = (supportId: string) => Promise<Explained>

const timeoutMs = 5_000

/** A search ends after so long, found or not: an old id in a long trail is for the tools of a security team. */
const usualSearchMs = 20_000

/** The last hour first, then the last day, then everything. */
const hoursBack = [1, 24, Number.POSITIVE_INFINITY]

/** Everything that a support id may stand for, but for what went well. */
const refusals = [
  subjects.auditsLike('policy'),
  subjects.auditsLike('sign-in', undefined, 'failed'),
  ...['denied', 'challenged', 'failed', 'aborted'].map(outcome =>
    subjects.auditsLike('access', undefined, outcome),
  ),
]

export function explainer(bus: Bus, { searchMs = usualSearchMs } = {}): Explain {
  return async supportId => {
    const deadline = performance.now() + searchMs
    for (const hours of hoursBack) {
      if (performance.now() > deadline) break
      const found = await search(bus, { supportId, hours, deadline })
      const [access, policy, signIn] = [
        found.find(event => event.category === 'access'),
        found.find(event => event.category === 'policy'),
        found.find(event => event.category === 'sign-in'),
      ]
      const decidedFor = access?.decision?.requestId
      if (!policy && decidedFor !== undefined && decidedFor !== supportId) {
        const shared = await search(bus, { supportId: decidedFor, hours, deadline })
        const decision = shared.find(event => event.category === 'policy')
        return { access, policy: decision, signIn }
      }
      if (found.length > 0) return { access, policy, signIn }
    }
    throw new Refusal(
      'resource_not_found',
      `no refusal has the support id "${supportId}", or none that is still stored`,
    )
  }
}

interface Search {
  supportId: string
  hours: number
  deadline: number
}

/** @throws SallyportError `bus_unavailable`, also when the bus is lost meanwhile: a consumer waits for its return. */
function search(bus: Bus, asked: Search): Promise<AuditEvent[]> {
  return bus.whileConnected(() => read(bus, asked))
}

async function read(bus: Bus, { supportId, hours, deadline }: Search): Promise<AuditEvent[]> {
  const js = jetstream(bus.connection, { timeout: timeoutMs })
  const since = Number.isFinite(hours)
    ? {
        deliver_policy: DeliverPolicy.StartTime,
        opt_start_time: new Date(Date.now() - hours * 3_600_000).toISOString(),
      }
    : {}
  const consumer = await js.consumers.get(streams.audit, { filter_subjects: refusals, ...since })
  const needle = `"requestId":${JSON.stringify(supportId)}`
  const found: AuditEvent[] = []
  let { num_pending: left } = await consumer.info(true)
  if (left === 0) return found
  const messages = await consumer.consume({ max_messages: 1_000 })
  // What was counted may never come: it has expired since, or the server stands still.
  const late = setTimeout(() => messages.stop(), deadline - performance.now())
  try {
    for await (const { data } of messages) {
      for (const text of eventsOf(data)) {
        if (text.includes(needle)) found.push(...parsed(text, supportId))
      }
      if (--left === 0) break
    }
  } finally {
    clearTimeout(late)
  }
  return found
}

/** The needle may also stand in something that somebody else has written. */
function parsed(text: string, supportId: string): AuditEvent[] {
  const event = AuditEvent.safeParse(JSON.parse(text))
  return event.success && event.data.requestId === supportId ? [event.data] : []
}

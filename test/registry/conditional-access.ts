/** One of everything that the admin API can show of conditional access. */

import { jetstream } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { z } from 'zod'
import { Signal, signalKey } from '#infra/contracts/conditional-access/signals.ts'
import { buckets, queues, subjects } from '#infra/subjects.ts'
import { takeSignal } from '../../policy/signal-intake.ts'
import type { TestRegistry } from './fixture.ts'

const root = '/identity/conditionalAccess'

export async function seedConditionalAccess(registry: TestRegistry): Promise<void> {
  const ipRanges = [{ cidrAddress: '192.0.2.0/24' }]
  await registry.send('POST', `${root}/namedLocations`, {
    id: 'l-1',
    displayName: 'Office',
    ipRanges,
  })
  await registry.send('POST', `${root}/policies`, {
    id: 'p-1',
    displayName: 'Office only',
    state: 'enabled',
    conditions: {
      users: { includeUsers: ['All'] },
      applications: { includeApplications: ['All'] },
      locations: { includeLocations: ['All'], excludeLocations: ['l-1'] },
    },
    grantControls: { operator: 'OR', builtInControls: ['block'] },
  })
  await seedSignals(registry)
  await seedRefusal(registry)
}

/** Keeps what is said of users and things, as policy does. */
export async function keepSignals({ nats }: TestRegistry): Promise<void> {
  const bus = await nats.connect('policy')
  const store = jetstream(bus.connection)
  bus.serve(subjects.signals, {
    queue: queues.policy,
    request: z.unknown(),
    handle: (body, subject) => takeSignal(store, subject, body),
  })
  await bus.connection.flush()
}

async function seedSignals({ nats }: TestRegistry): Promise<void> {
  const bus = await nats.connect('policy')
  const bucket = await new Kvm(bus.connection).open(buckets.signals)
  const common = {
    reasons: ['test'],
    source: 'test',
    updatedDateTime: '2026-01-01T00:00:00Z',
    expiresDateTime: null,
  }
  const risk = { kind: 'risk', scope: 'user', id: 'ada@example.com', level: 'high' }
  const fact = { kind: 'fact', scope: 'everything', id: '', name: 'frozen', value: true }
  for (const said of [risk, fact]) {
    const signal = Signal.parse({ ...said, ...common })
    const { kind, scope, id } = signal
    const name = signal.kind === 'fact' ? { name: signal.name } : {}
    await bucket.put(signalKey({ kind, scope, id, ...name }), JSON.stringify(signal))
  }
}

/** A refusal as policy records it. */
async function seedRefusal({ nats }: TestRegistry): Promise<void> {
  const bus = await nats.connect('policy')
  const event = {
    id: 'event-1',
    time: new Date().toISOString(),
    source: 'policy/test',
    category: 'policy',
    outcome: 'block',
    requestId: 'request-1',
    user: 'ada@example.com',
    session: 'session-1',
    application: 'wiki',
    clientAddress: '203.0.113.1',
    decision: { outcome: 'block', reasons: ['policy-blocks'], policies: ['p-1'] },
    durationMs: 1,
    smallestChange: ['come from the named location l-1'],
  }
  bus.publishJson(subjects.audit('policy', 'wiki', 'block'), event)
  await bus.connection.flush()
}

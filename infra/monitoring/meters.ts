/**
 * Metrics that several services have: of the connection to the bus, and of the audit trail, through which everything
 * passes that is worth counting. No label names a user, an application or a connector: their number has no limit, and
 * the audit trail knows them.
 */

import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Audit } from '../audit.ts'
import type { Bus } from '../bus.ts'
import type { AccessEvent } from '../contracts/audit.ts'
import type { Monitoring } from './monitoring.ts'

/** Seconds: from what a bus hop takes to the longest time-outs. */
const buckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90, 180,
]

function meterBus(registry: Registry, bus: Bus): void {
  gauge(registry, 'sallyport_bus_connected', '1 while the bus is connected.', () =>
    Number(bus.isConnected),
  )
  const losses = new Counter({
    name: 'sallyport_bus_disconnections_total',
    help: 'How often the connection to the bus was lost.',
    registers: [registry],
  })
  bus.onStatus(status => {
    if (status === 'disconnected') losses.inc()
  })
}

/** What every service that keeps the trail cannot do without, as far as it is not there. */
export function missing(bus: Bus, audit: Audit): string[] {
  return [...(bus.isConnected ? [] : ['bus']), ...(audit.isHealthy ? [] : ['audit'])]
}

/** The trail as a service writes it: metered together with its bus where somebody looks. */
export function meteredAudit(monitoring: Monitoring | undefined, bus: Bus, audit: Audit): Audit {
  if (!monitoring) return audit
  meterBus(monitoring.registry, bus)
  return meterAudit(monitoring.registry, audit)
}

/** The same trail, with everything counted that is recorded in it. */
function meterAudit(registry: Registry, audit: Audit): Audit {
  gauge(
    registry,
    'sallyport_audit_pending_events',
    'Events not acknowledged by the stream yet.',
    () => audit.pending,
  )
  counter(
    registry,
    'sallyport_audit_dropped_events_total',
    'Events lost since the start.',
    () => audit.dropped,
  )
  gauge(registry, 'sallyport_audit_healthy', '1 while events are stored in time.', () =>
    Number(audit.isHealthy),
  )
  const events = new Counter({
    name: 'sallyport_events_total',
    help: 'Audit events recorded, by category and outcome.',
    labelNames: ['category', 'outcome'],
    registers: [registry],
  })
  const countAccess = accessMeter(registry)
  return {
    record: event => {
      audit.record(event)
      events.inc({ category: event.category, outcome: event.outcome })
      if (event.category === 'access') countAccess(event)
    },
    shown: (field, value) => audit.shown(field, value),
    flush: deadlineMs => audit.flush(deadlineMs),
    get isHealthy() {
      return audit.isHealthy
    },
    get pending() {
      return audit.pending
    },
    get dropped() {
      return audit.dropped
    },
    [Symbol.asyncDispose]: () => audit[Symbol.asyncDispose](),
  }
}

type Access = Omit<AccessEvent, 'id' | 'time' | 'source'>

function accessMeter(registry: Registry): (event: Access) => void {
  const registers = [registry]
  const histogram = (name: string, help: string) =>
    new Histogram({ name, help, buckets, registers })
  const decided = histogram(
    'sallyport_decision_seconds',
    'From the head of a request to the decision of policy.',
  )
  const responded = histogram(
    'sallyport_response_seconds',
    'From the head of a request to the head of its answer.',
  )
  const ended = histogram('sallyport_exchange_seconds', 'From the head of a request to its end.')
  const faults = new Counter({
    name: 'sallyport_faults_total',
    help: 'Requests that Sallyport itself answered or broke off, by fault code.',
    labelNames: ['fault'],
    registers,
  })
  const carried = new Counter({
    name: 'sallyport_carried_bytes_total',
    help: 'Octets of bodies.',
    labelNames: ['direction'],
    registers,
  })
  const lasting = new Counter({
    name: 'sallyport_last_lease_exchanges_total',
    help: 'Exchanges that went on by a lease that had ended, while policy was away.',
    registers,
  })
  return event => {
    const { decidedMs, respondedMs, durationMs, fault, requestBytes, responseBytes } = event
    if (event.lastLease) lasting.inc()
    if (decidedMs !== null) decided.observe(decidedMs / 1_000)
    if (respondedMs !== null) responded.observe(respondedMs / 1_000)
    ended.observe(durationMs / 1_000)
    if (fault !== null) faults.inc({ fault })
    if (requestBytes > 0) carried.inc({ direction: 'up' }, requestBytes)
    if (responseBytes > 0) carried.inc({ direction: 'down' }, responseBytes)
  }
}

/** A count since the start that somebody else keeps. */
export function counter(registry: Registry, name: string, help: string, read: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset()
      this.inc(read())
    },
  })
}

/** A number that is asked for when somebody looks. */
export function gauge(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read())
    },
  })
}

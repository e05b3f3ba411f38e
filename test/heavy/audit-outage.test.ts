/**
 * The audit trail at 500 events a second, through a restart of the bus and through a minute without one. The events are
 * those of real requests to one gateway, which has to keep them all: exchanges while there is a bus, refusals (503, an
 * event each as well) while there is none. What was recorded is told by three witnesses that know nothing of each other:
 * the request ids that the client was told, the services' own counters, and the numbers in the ids of the events.
 */

import { once } from 'node:events'
import { setTimeout as pass } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { AuditEvent } from '#infra/contracts/audit.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { readAuditTexts } from '../harness/audit-trail.ts'
import { startCountingOrigin } from '../harness/counting-origin.ts'
import { watchMemory } from '../harness/memory.ts'
import { type SteadyAnswer, startSteadyLoad } from '../harness/steady-load.ts'
import { signedInApplication, startSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

const perSecond = 500
const outageMs = 60_000

/**
 * Of the gateway in the outage: its 30,000 events are 20 MiB, the requests that wait for the bus to come back, up to a
 * thousand at once, and what V8 leaves lying about are the rest.
 */
const gatewayMayGrowMib = 256

/** From the bus's return to the moment at which the stream has everything. */
const storedWithinMs = 15_000

test('500 events a second outlive a restart of the bus and a minute without it: each is stored, in order, none is dropped', async () => {
  const ports = { gateway: await freePort(), policy: await freePort() }
  await using origin = await startCountingOrigin()
  await using system = await startSystem({
    // One of them is back soon: their waits grow with the outage, each of a random length.
    connectors: 2,
    publish: [signedInApplication('wiki', origin.url)],
    environment: {
      SALLYPORT_GATEWAY_MONITORING_PORT: `${ports.gateway}`,
      SALLYPORT_POLICY_MONITORING_PORT: `${ports.policy}`,
    },
  })
  const { nats } = system.parts
  const gatewayMetrics = () => metricsOf(ports.gateway)
  const { headers } = await signInTo(system, 'wiki')
  const [gateway = ''] = system.gatewayUrls
  await using load = startSteadyLoad({ gateway, headers, perSecond })
  const served = (sinceMs: number) =>
    load.answers.filter(({ status, sentAtMs }) => status === 200 && sentAtMs >= sinceMs).length
  const untilServed = async (seconds: number) => {
    const sinceMs = Date.now()
    const least = seconds * perSecond
    await expect.poll(() => served(sinceMs), { timeout: 60_000 }).toBeGreaterThan(least)
  }
  await untilServed(4)

  // The bus is stopped in order, and whoever keeps it starts it again.
  const stopped = once(nats.process, 'exit')
  nats.process.kill('SIGTERM')
  await stopped
  await untilServed(4)

  using memory = await watchMemory(system, ['gateway'])
  const goneAtMs = Date.now()
  await nats.kill()
  await pass(outageMs)
  const during = await gatewayMetrics()
  expect(await statusOf(ports.gateway, '/readyz')).toBe(503)
  await nats.start()
  const backAtMs = Date.now()
  const pending = async () => (await gatewayMetrics()).get('sallyport_audit_pending_events') ?? 0
  await expect.poll(pending, { timeout: storedWithinMs, interval: 50 }).toBeLessThan(2 * perSecond)
  const storedAfterMs = Date.now() - backAtMs
  await untilServed(4)
  const { perSecond: kept } = await load.stop()

  const metrics = await Promise.all(Object.values(ports).map(async port => await allStored(port)))
  const [texts, readMs] = await timed(async () => readAuditTexts(await system.connect('auditor')))
  const events = texts.map(text => AuditEvent.parse(JSON.parse(text)))
  const first = [...new Map(events.toReversed().map(event => [event.id, event])).values()].reverse()
  const { growthMib } = memory
  process.stdout.write(
    `${load.answers.length} requests at ${kept.toFixed(0)}/s: ${JSON.stringify(countBy(load.answers))}; ` +
      `pending at the end of the outage ${during.get('sallyport_audit_pending_events')}, ` +
      `stored ${storedAfterMs} ms after the bus was back; ` +
      `gateway grew by ${JSON.stringify(growthMib())} MiB; ` +
      `${texts.length} events in the stream (${texts.length - first.length} twice), read in ${readMs} ms\n`,
  )
  // What was to be shown was shown: the rate was kept, and the outage was one.
  expect(kept).toBeGreaterThan(perSecond * 0.98)
  expect(load.unanswered).toEqual([])
  const refused = load.answers.filter(({ status }) => status === 503)
  expect(refused.length).toBeGreaterThan((outageMs / 1_000) * perSecond * 0.95)
  const inOutage = load.answers.filter(
    ({ sentAtMs }) => sentAtMs > goneAtMs + 2_000 && sentAtMs < backAtMs - 2_000,
  )
  expect(inOutage.filter(({ status }) => status !== 503)).toEqual([])
  expect(during.get('sallyport_audit_pending_events')).toBeGreaterThan(25_000)

  // Zero loss, as each of the witnesses says.
  const recorded = Map.groupBy(first, ({ requestId }) => requestId)
  const lost = load.answers.filter(
    ({ requestId }) => recorded.get(requestId)?.filter(isAccess).length !== 1,
  )
  expect(lost).toEqual([])
  for (const [role, counted] of metrics) {
    const own = first.filter(({ source }) => source.startsWith(`${role}/`))
    expect(own.length).toBe(counted.recorded)
    expect(counted.dropped).toBe(0)
  }
  expect(gaps(first)).toEqual([])
  expect(disorder(first)).toEqual([])
  expect(Object.values(growthMib()).every(mib => mib < gatewayMayGrowMib)).toBe(true)
  expect(await statusOf(ports.gateway, '/readyz')).toBe(200)
})

const isAccess = ({ category }: AuditEvent) => category === 'access'

function countBy(answers: readonly SteadyAnswer[]): Record<string, number> {
  const groups = Map.groupBy(answers, ({ status }) => `${status}`)
  return Object.fromEntries([...groups].map(([status, all]) => [status, all.length]))
}

async function timed<Value>(work: () => Promise<Value>): Promise<[Value, number]> {
  const startedMs = performance.now()
  return [await work(), Math.round(performance.now() - startedMs)]
}

/** What a service's metrics say: names with labels, and values. */
async function metricsOf(port: number): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map(line => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

async function statusOf(port: number, path: string): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}${path}`)).status
}

/** Waits until a service has nothing left to store; which one it is, and what it has recorded and dropped. */
async function allStored(port: number) {
  const pending = async () => (await metricsOf(port)).get('sallyport_audit_pending_events')
  await expect.poll(pending, { timeout: storedWithinMs }).toBe(0)
  const metrics = await metricsOf(port)
  const role = [...metrics.keys()].find(name => name.startsWith('sallyport_build_info'))
  const counters = [...metrics].filter(([name]) => name.startsWith('sallyport_events_total{'))
  const recorded = counters.reduce((sum, [, value]) => sum + value, 0)
  const [, dropped] =
    [...metrics].find(([name]) => name.startsWith('sallyport_audit_dropped_events')) ?? []
  return [/service="(\w+)"/.exec(role ?? '')?.[1] ?? '', { recorded, dropped }] as const
}

/** An id is the run of its service and a number that counts up, in base 36. */
function numbered({ id }: AuditEvent): { run: string; number: number } {
  const at = id.lastIndexOf('-')
  return { run: id.slice(0, at), number: Number.parseInt(id.slice(at + 1), 36) }
}

/** Numbers that no event has, of every run. */
function gaps(events: readonly AuditEvent[]): string[] {
  const runs = Map.groupBy(events.map(numbered), ({ run }) => run)
  return [...runs].flatMap(([run, all]) => {
    const last = Math.max(...all.map(({ number }) => number))
    return last + 1 === all.length ? [] : [`${run}: ${last + 1 - all.length} missing`]
  })
}

/** Events that stand behind a later one of the same service and subject. */
function disorder(events: readonly AuditEvent[]): string[] {
  const latest = new Map<string, number>()
  return events.flatMap(event => {
    const { run, number } = numbered(event)
    const place = `${run} ${event.category} ${event.application} ${event.outcome}`
    const before = latest.get(place) ?? -1
    latest.set(place, Math.max(before, number))
    return number > before ? [] : [`${event.id} of ${place} behind ${before}`]
  })
}

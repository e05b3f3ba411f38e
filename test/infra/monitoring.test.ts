import { jetstreamManager } from '@nats-io/jetstream'
import pino from 'pino'
import { describe, expect, test } from 'vitest'
import { openAudit } from '#infra/audit.ts'
import { counter, meteredAudit, missing } from '#infra/monitoring/meters.ts'
import { openMonitoring } from '#infra/monitoring/monitoring.ts'
import { streams, subjects } from '#infra/subjects.ts'
import { startTestNats } from '../harness/nats.ts'

const log = pino({ level: 'silent' })
const open = () => openMonitoring({ host: '127.0.0.1', port: 0 }, { service: 'gateway', log })

const ask = async (port: number, path: string) => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`)
  return { status: response.status, text: await response.text() }
}

describe('readiness', () => {
  test('is refused until the service has started, while something is missing, and when it stops', async () => {
    await using monitoring = await open()
    const { port } = monitoring
    expect(await ask(port, '/readyz')).toEqual({ status: 503, text: 'started\n' })
    let isAway = false
    monitoring.ready(() => (isAway ? ['bus'] : []))
    expect(await ask(port, '/readyz')).toEqual({ status: 200, text: 'ready\n' })
    isAway = true
    expect(await ask(port, '/readyz')).toEqual({ status: 503, text: 'bus\n' })
    monitoring.stopping()
    expect(await ask(port, '/readyz')).toEqual({ status: 503, text: 'stopping\n' })
    expect(await ask(port, '/livez')).toEqual({ status: 200, text: 'alive\n' })
  })

  test('follows the bus: away is not ready, back is ready', async () => {
    await using nats = await startTestNats()
    const bus = await nats.connect('gateway')
    await using monitoring = await open()
    await using audit = meteredAudit(monitoring, bus, openAudit(bus, { service: 'gateway', log }))
    monitoring.ready(() => missing(bus, audit))
    const status = async () => (await ask(monitoring.port, '/readyz')).status
    expect(await status()).toBe(200)
    await nats.kill()
    await expect.poll(status, { timeout: 5_000 }).toBe(503)
    const metrics = async () => (await ask(monitoring.port, '/metrics')).text
    expect(await metrics()).toMatch(/^sallyport_bus_connected 0$/m)
    await nats.restart()
    await expect.poll(status, { timeout: 10_000 }).toBe(200)
    expect(await metrics()).toMatch(/^sallyport_bus_disconnections_total 1$/m)
  })
})

test('a port that is taken is refused with the name of its variable', async () => {
  await using first = await open()
  const second = openMonitoring({ host: '127.0.0.1', port: first.port }, { service: 'policy', log })
  await expect(second).rejects.toThrow(
    `cannot listen on 127.0.0.1:${first.port}: another program uses this port; stop it, or set SALLYPORT_POLICY_MONITORING_PORT`,
  )
})

test('a host that this machine does not have is refused with the name of its variable', async () => {
  const elsewhere = openMonitoring({ host: '192.0.2.1', port: 0 }, { service: 'policy', log })
  await expect(elsewhere).rejects.toThrow(/no such address; set SALLYPORT_POLICY_MONITORING_HOST/)
})

test('a worker for which no port is left names the variable', async () => {
  const third = openMonitoring(
    { host: '127.0.0.1', port: 65_534 },
    { service: 'gateway', slot: 3, log },
  )
  await expect(third).rejects.toThrow(/SALLYPORT_GATEWAY_MONITORING_PORT: 65534 leaves no port/)
})

test('each of several workers has the next port', async () => {
  await using first = await open()
  const { port } = first
  const second = openMonitoring(
    { host: '127.0.0.1', port: port - 1 },
    { service: 'gateway', slot: 2, log },
  )
  await expect(second).rejects.toThrow(`:${port}: `)
})

test('metrics count events by category and outcome, and say how long exchanges took', async () => {
  await using nats = await startTestNats()
  const [bus, registry] = await Promise.all([nats.connect('gateway'), nats.connect('registry')])
  const manager = await jetstreamManager(registry.connection)
  await manager.streams.add({ name: streams.audit, subjects: [subjects.audits] })
  await using monitoring = await open()
  await using audit = meteredAudit(monitoring, bus, openAudit(bus, { service: 'gateway', log }))
  const event = {
    category: 'access' as const,
    requestId: 'r',
    user: 'ada@example.com',
    session: 's',
    application: 'wiki',
    clientAddress: '127.0.0.1',
    method: 'GET',
    host: 'wiki.example.com',
    path: '/',
    connectorGroup: 'default',
    connector: null,
    attempts: 0,
    decision: null,
    faultDetail: null,
    requestBytes: 0,
    respondedMs: null,
    decidedMs: null,
  }
  for (let i = 0; i < 3; i++) {
    audit.record({
      ...event,
      outcome: 'granted',
      status: 200,
      fault: null,
      responseBytes: 1_000,
      durationMs: 40,
    })
  }
  audit.record({
    ...event,
    outcome: 'failed',
    status: 504,
    fault: 'no_connector',
    lastLease: true,
    responseBytes: 0,
    durationMs: 2,
  })
  const { text } = await ask(monitoring.port, '/metrics')
  for (const line of [
    'sallyport_events_total{category="access",outcome="granted"} 3',
    'sallyport_events_total{category="access",outcome="failed"} 1',
    'sallyport_faults_total{fault="no_connector"} 1',
    'sallyport_last_lease_exchanges_total 1',
    'sallyport_carried_bytes_total{direction="down"} 3000',
    'sallyport_exchange_seconds_bucket{le="0.025"} 1',
    'sallyport_exchange_seconds_bucket{le="0.05"} 4',
    'sallyport_bus_connected 1',
    '# TYPE sallyport_audit_dropped_events_total counter',
    'sallyport_audit_dropped_events_total 0',
  ]) {
    expect(text).toContain(`${line}\n`)
  }
  expect(text).not.toMatch(/ada|wiki/)
  expect(text).toMatch(/sallyport_build_info\{service="gateway",version="\d/)
})

test('other paths and methods are refused', async () => {
  await using monitoring = await open()
  expect((await ask(monitoring.port, '/')).status).toBe(404)
  const url = `http://127.0.0.1:${monitoring.port}/metrics`
  expect((await fetch(url, { method: 'POST' })).status).toBe(405)
})

test('a count that somebody else keeps is a counter, and is not added up by those who look', async () => {
  await using monitoring = await open()
  let served = 3
  counter(monitoring.registry, 'sallyport_served_total', 'Served.', () => served)
  const shown = async () => (await ask(monitoring.port, '/metrics')).text
  expect(await shown()).toMatch(
    /^# TYPE sallyport_served_total counter\nsallyport_served_total 3$/m,
  )
  served = 5
  await shown()
  expect(await shown()).toMatch(/^sallyport_served_total 5$/m)
})

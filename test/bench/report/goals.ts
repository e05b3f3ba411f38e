/** What Sallyport must reach, and what it aims for, in the order in which the results show it. */

import { initialCreditBytes } from '#infra/wire.ts'
import { besideBulk } from '../cases/beside-bulk.ts'
import { decisions, withPolicies } from '../cases/decisions.ts'
import { growth, withApplications } from '../cases/growth.ts'
import { idleWebSockets, stalledDownloads } from '../cases/held-streams.ts'
import { oneByOne, oneByOnePolling, smallJson } from '../cases/requests.ts'
import { alone, besideSlow, slowConnector } from '../cases/slow-connector.ts'
import { tls } from '../cases/tls.ts'
import { download, upload } from '../cases/transfers.ts'
import { withoutAudit } from '../cases/without-audit.ts'
import { differenceGoal, type Goal, ratioGoal, valueGoal } from './goal.ts'
import { hopCpu, type MeasureOf, rateOf, sumOf } from './results.ts'

const ours = 'sallyport'
const p99Ms: MeasureOf = round => round.p99Ms
const p50Ms: MeasureOf = round => round.p50Ms

/** Of what every exchange passes; policy and registry work beside it. */
const exchangeCpu: MeasureOf = ({ cpu }) =>
  cpu && sumOf(cpu, name => ['gateway', 'nats-server', 'connector'].includes(name))

const memoryKib: MeasureOf = ({ memory }) =>
  memory && sumOf(memory, name => ['gateway', 'connector'].includes(name))

const windowKib = initialCreditBytes / 1_024
const memoryInWindows: MeasureOf = round => {
  const kib = memoryKib(round)
  return kib === undefined ? undefined : kib / windowKib
}

const higher = (about: string, must: number, aim: number) =>
  ({ about, must, aim, isBetter: 'higher' }) as const
const lower = (about: string, must: number, aim: number) =>
  ({ about, must, aim, isBetter: 'lower' }) as const

function rateAgainst(caseName: string, other: string, bounds: ReturnType<typeof higher>): Goal {
  return ratioGoal([caseName, ours, other], rateOf, bounds)
}

const rates: Goal[] = [
  rateAgainst(smallJson.name, 'nginx', higher('small JSON, 64 connections, by nginx', 0.4, 0.6)),
  rateAgainst(tls.name, 'nginx', higher('the same with TLS, by nginx with TLS', 0.32, 0.45)),
  rateAgainst(smallJson.name, 'fastify-proxy', higher('by @fastify/http-proxy', 1, 1.3)),
  rateAgainst(smallJson.name, 'chisel', higher('by chisel', 0.85, 1.1)),
  rateAgainst(smallJson.name, 'frp-tcp', higher('by frp tcp', 0.85, 1.1)),
  rateAgainst(smallJson.name, 'frp-http', higher('by frp http', 3, 5)),
  rateAgainst(smallJson.name, 'oauth2-proxy', higher('by oauth2-proxy + frp http', 4, 8)),
]

/**
 * A goal in µs of CPU as a ratio within rounds, for machines of another speed: by the plain Node proxy, which took 36 µs
 * where the goals are from.
 */
function costAgainstNode(caseName: string, mustUs: number, aimUs: number): Goal {
  const nodeUs = 36
  const bounds = lower('the same, by node-proxy', mustUs / nodeUs, aimUs / nodeUs)
  return ratioGoal([caseName, ours, 'node-proxy'], hopCpu, bounds)
}

const costs: Goal[] = [
  valueGoal([withoutAudit.name, ours], exchangeCpu, {
    ...lower('CPU per exchange, gateway + nats-server + connector, with identity', 75, 50),
    unit: 'µs',
  }),
  costAgainstNode(withoutAudit.name, 75, 50),
  valueGoal([smallJson.name, ours], exchangeCpu, {
    ...lower('CPU per exchange, with audit stored', 90, 60),
    unit: 'µs',
  }),
  costAgainstNode(smallJson.name, 90, 60),
  differenceGoal([oneByOne.name, ours, 'direct'], p50Ms, {
    ...lower('added latency at 1 connection, p50', 0.3, 0.2),
    unit: 'ms',
  }),
  differenceGoal([oneByOnePolling.name, ours, 'direct'], p50Ms, {
    ...lower('the same where idle cores poll, as Linux has it by default', 0.3, 0.2),
    unit: 'ms',
  }),
  ratioGoal([smallJson.name, ours, 'nginx'], p99Ms, lower('p99 at 64 connections, by nginx', 4, 2)),
]

const transfers: Goal[] = [
  rateAgainst(download.name, 'nginx', higher('512 MiB down, by nginx unbuffered', 0.45, 1)),
  rateAgainst(upload.name, 'nginx', higher('512 MiB up, by nginx unbuffered', 0.35, 1)),
  rateAgainst(download.name, 'chisel', higher('512 MiB down, by chisel', 1, 3)),
  rateAgainst(upload.name, 'chisel', higher('512 MiB up, by chisel', 1, 3)),
]

const neighbours: Goal[] = [
  valueGoal([besideBulk.name, ours], p99Ms, {
    ...lower('small-request p99 while 8 clients each draw 10 MB/s', 15, 8),
    unit: 'ms',
  }),
  ratioGoal(
    [slowConnector.name, besideSlow, alone],
    rateOf,
    higher('a slow connector beside a fast one, requests/s by the fast one alone', 0.8, 0.95),
  ),
  valueGoal([slowConnector.name, besideSlow], p99Ms, {
    ...lower('a slow connector beside a fast one, p99', 60, 25),
    unit: 'ms',
  }),
]

const memory: Goal[] = [
  valueGoal([idleWebSockets.name, ours], memoryKib, {
    ...lower('memory per idle WebSocket, gateway + connector', 40, 20),
    unit: 'KiB',
  }),
  valueGoal([stalledDownloads.name, ours], memoryInWindows, {
    ...lower('memory per stalled download, gateway + connector', 3, 1.5),
    unit: `windows of ${windowKib} KiB`,
  }),
]

/** Five per cent of requests, or of what one costs; "flat" is what a run can tell apart. */
function growthTo(count: 1_000 | 100_000): Goal[] {
  const of = [growth.name, withApplications(count), withApplications(10)] as const
  const about = `${withApplications(count)} by 10`
  return [
    ratioGoal(of, rateOf, higher(`${about}, requests/s`, 0.95, 0.98)),
    ratioGoal(of, hopCpu, lower(`${about}, CPU per request`, 1.05, 1.02)),
  ]
}

const deciding: Goal[] = [
  valueGoal([decisions.name, withPolicies(1_000)], rateOf, {
    ...higher('conditional access decisions on one core, with 1,000 policies', 100_000, 200_000),
    unit: 'decisions/s',
  }),
]

/** Microsoft's table for a connector on two cores; of another payload, so an order of magnitude only. */
const microsoft = { requestsPerSecond: 586, p99Ms: 325 }

const orderOfMagnitude: Goal[] = [
  valueGoal([smallJson.name, ours], rateOf, {
    ...higher(
      `10 and 25 times Microsoft's ${microsoft.requestsPerSecond} transactions/s (order of magnitude only)`,
      microsoft.requestsPerSecond * 10,
      microsoft.requestsPerSecond * 25,
    ),
    unit: 'requests/s',
  }),
  valueGoal([smallJson.name, ours], p99Ms, {
    ...lower(
      `at a tenth of their p99 of ${microsoft.p99Ms} ms`,
      microsoft.p99Ms / 10,
      microsoft.p99Ms / 10,
    ),
    unit: 'ms',
  }),
]

export const goals: readonly Goal[] = [
  ...rates,
  ...costs,
  ...transfers,
  ...neighbours,
  ...memory,
  ...growthTo(1_000),
  ...growthTo(100_000),
  ...deciding,
  ...orderOfMagnitude,
]

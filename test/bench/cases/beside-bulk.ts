/** What small requests wait for while others draw large answers through the same target. */

import { setTimeout as sleep } from 'node:timers/promises'
import { startBulk } from '../load/bulk.ts'
import { load } from '../load/requests.ts'
import { onPlainTargets } from './on-plain-targets.ts'

const clients = 8
const bytesPerSecond = 10e6

/** Until the downloads have filled what lies between them and the origin. */
const settleMs = 500

/** Below this part of the pace the clients did not draw what the case says. */
const leastShare = 0.8

export const besideBulk = onPlainTargets({
  name: 'beside-downloads',
  about: `1 KiB of JSON, 4 connections, while ${clients} clients draw ${bytesPerSecond / 1e6} MB/s each (MB/s: the slowest of them)`,
  rounds: 5,
  among: ['nginx', 'haproxy', 'node-proxy', 'chisel', 'frp-tcp', 'frp-http', 'sallyport'],
  measure: async (bench, target) => {
    await target.refresh?.()
    await using bulk = await startBulk(target, { clients, bytesPerSecond })
    await sleep(settleMs)
    const { effort, wrk, signal } = bench
    const small = { path: '/json', connections: 4, seconds: effort.seconds, wrk, signal }
    const { requestsPerSecond, p50Ms, p99Ms } = await load(target, small)
    const pace = await bulk.stop()
    if (pace < bytesPerSecond * leastShare) {
      bench.report(`${target.name}: the slowest download got ${(pace / 1e6).toFixed(1)} MB/s only`)
    }
    return { requestsPerSecond, p50Ms, p99Ms, megabytesPerSecond: pace / 1e6 }
  },
})

/** One large body with one client, and how soon an answer begins that goes on. */

import type { Case } from '../case.ts'
import { firstBytes } from '../load/first-bytes.ts'
import { transfer } from '../load/transfer.ts'
import { percentile } from '../machine/statistics.ts'
import { withCpu } from './load-subject.ts'
import { onPlainTargets } from './on-plain-targets.ts'

const transferBytes = 512 * 2 ** 20

export const download = transferCase('down')
export const upload = transferCase('up')

function transferCase(direction: 'down' | 'up'): Case {
  return onPlainTargets({
    name: direction === 'down' ? 'download-512m' : 'upload-512m',
    about: `512 MiB ${direction}, one client; nginx without buffering; CPU is for one MiB`,
    rounds: 5,
    hasStreams: true,
    measure: async (bench, target) => {
      await target.refresh?.()
      const bytes = transferBytes * bench.effort.transferShare
      return withCpu(bench, target, async () => {
        const elapsedMs = await transfer(target, { direction, bytes, signal: bench.signal })
        return {
          count: bytes / 2 ** 20,
          round: { megabytesPerSecond: bytes / 1_000 / elapsedMs },
        }
      })
    },
  })
}

export const firstByte = onPlainTargets({
  name: 'first-byte',
  about: 'until the first byte of an answer that goes on for 20 ms, one client',
  rounds: 3,
  hasStreams: true,
  measure: async ({ effort, signal }, target) => {
    await target.refresh?.()
    const times = await firstBytes(target, { path: '/stream', count: effort.firstBytes, signal })
    return { p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) }
  },
})

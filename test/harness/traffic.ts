/**
 * A steady stream of GETs that does not wait for answers, so that an interruption shows at its full length, and what
 * became of each of them.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { detailOf } from '#infra/errors.ts'
import type { UserAgent } from './user-agent.ts'

export interface Sample {
  readonly sentMs: number
  readonly tookMs: number
  /** 0 when there was no answer in time. */
  readonly status: number
  /** The fault named in a problem document; the error's message when there was no answer. */
  readonly code: string | undefined
}

export interface Traffic extends AsyncDisposable {
  /** Resolves when this many requests in a row, all sent from now on, have been answered with 200. */
  flows(): Promise<void>
  /** Sends no more and resolves with everything, in the order of sending. */
  stop(): Promise<readonly Sample[]>
}

const flowsAfter = 20
const flowsWithinMs = 30_000
/** Far above what Sallyport may take: an answer that comes later counts as none. */
const givenUpAfterMs = 15_000

export function startTraffic(agent: UserAgent, url: string, everyMs: number): Traffic {
  const stopping = new AbortController()
  const samples: Sample[] = []
  const open = new Set<Promise<void>>()
  const send = async () => {
    const sentMs = performance.now()
    const answered = await ask(agent, url)
    samples.push({ sentMs, tookMs: performance.now() - sentMs, ...answered })
  }
  const sending = (async () => {
    for (;;) {
      const sent = send().finally(() => open.delete(sent))
      open.add(sent)
      await sleep(everyMs, undefined, { signal: stopping.signal })
    }
  })().catch(() => undefined)
  const sorted = () => samples.toSorted((a, b) => a.sentMs - b.sentMs)
  const stop = async () => {
    stopping.abort()
    await sending
    await Promise.all(open)
    return sorted()
  }
  return {
    async flows() {
      const fromMs = performance.now()
      while (!isFlowing(sorted().filter(({ sentMs }) => sentMs >= fromMs))) {
        if (performance.now() - fromMs > flowsWithinMs)
          throw new Error(`no steady traffic to ${url}: ${JSON.stringify(summarize(sorted()))}`)
        await sleep(everyMs)
      }
    },
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}

function isFlowing(samples: readonly Sample[]): boolean {
  const last = samples.slice(-flowsAfter)
  return last.length === flowsAfter && last.every(({ status }) => status === 200)
}

async function ask(agent: UserAgent, url: string): Promise<Pick<Sample, 'status' | 'code'>> {
  try {
    const signal = AbortSignal.timeout(givenUpAfterMs)
    const answer = await agent.request(url, { headers: { accept: '*/*' }, signal })
    const isProblem = answer.header('content-type') === 'application/problem+json'
    return { status: answer.status, code: isProblem ? JSON.parse(answer.text).code : undefined }
  } catch (error) {
    return { status: 0, code: detailOf(error) }
  }
}

export interface Summary {
  readonly sent: number
  readonly failed: number
  /** Answers that were not 200, as `503 bus_unavailable`, with their number. */
  readonly failures: Readonly<Record<string, number>>
  readonly slowestMs: number
  /** The longest time in which nothing that was sent was answered with 200. */
  readonly longestOutageMs: number
}

export function summarize(samples: readonly Sample[]): Summary {
  const failures: Record<string, number> = {}
  const failed = samples.filter(({ status }) => status !== 200)
  for (const { status, code } of failed) {
    const name = `${status} ${code ?? 'unclear'}`
    failures[name] = (failures[name] ?? 0) + 1
  }
  return {
    sent: samples.length,
    failed: failed.length,
    failures,
    slowestMs: Math.round(Math.max(0, ...samples.map(({ tookMs }) => tookMs))),
    longestOutageMs: longestOutage(samples),
  }
}

function longestOutage(samples: readonly Sample[]): number {
  let longest = 0
  let lastGood = samples[0]?.sentMs ?? 0
  for (const { sentMs, status } of samples) {
    longest = Math.max(longest, sentMs - lastGood)
    if (status === 200) lastGood = sentMs
  }
  return Math.round(longest)
}

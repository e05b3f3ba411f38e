/**
 * So many GETs a second of one session, whatever becomes of them: it does not wait for answers, so that a service that
 * answers late is not spared. What it has sent and how each was answered is kept by request id.
 */

import http from 'node:http'
import { setInterval } from 'node:timers/promises'

export interface SteadyAnswer {
  readonly requestId: string
  readonly status: number
  /** Unix time in ms. */
  readonly sentAtMs: number
}

export interface SteadyLoad extends AsyncDisposable {
  readonly answers: readonly SteadyAnswer[]
  /** Requests that got no answer, with the reason. */
  readonly unanswered: readonly string[]
  /** Sends no more, and waits for the answers to what was sent. Resolves with the rate that was kept. */
  stop(): Promise<{ perSecond: number }>
}

export interface SteadyOptions {
  readonly gateway: string
  readonly path?: string
  readonly headers: Readonly<Record<string, string>>
  readonly perSecond: number
}

const everyMs = 10
const hangsAfterMs = 20_000

export function startSteadyLoad({
  gateway,
  path = '/',
  headers,
  perSecond,
}: SteadyOptions): SteadyLoad {
  const agent = new http.Agent({ keepAlive: true })
  const stopping = new AbortController()
  const answers: SteadyAnswer[] = []
  const unanswered: string[] = []
  const open = new Set<Promise<void>>()
  const startedMs = performance.now()
  const send = async () => {
    const sentAtMs = Date.now()
    const signal = AbortSignal.timeout(hangsAfterMs)
    try {
      answers.push({ sentAtMs, ...(await ask(new URL(path, gateway), { agent, headers, signal })) })
    } catch (error) {
      unanswered.push(String(error))
    }
  }
  let sent = 0
  const sending = (async () => {
    for await (const _ of setInterval(everyMs, undefined, { signal: stopping.signal })) {
      for (const due = ((performance.now() - startedMs) * perSecond) / 1_000; sent < due; sent++) {
        const answered = send().finally(() => open.delete(answered))
        open.add(answered)
      }
    }
  })().catch(() => undefined)
  const stop = async () => {
    stopping.abort()
    await sending
    const seconds = (performance.now() - startedMs) / 1_000
    await Promise.all(open)
    agent.destroy()
    return { perSecond: sent / seconds }
  }
  return {
    answers,
    unanswered,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  }
}

function ask(
  url: URL,
  options: http.RequestOptions,
): Promise<Pick<SteadyAnswer, 'requestId' | 'status'>> {
  const { promise, resolve, reject } =
    Promise.withResolvers<Pick<SteadyAnswer, 'requestId' | 'status'>>()
  http
    .get(url, options, response => {
      const { statusCode: status = 0, headers } = response
      const requestId = String(headers['sallyport-request-id'])
      response
        .resume()
        .once('end', () => resolve({ requestId, status }))
        .once('error', reject)
    })
    .once('error', reject)
  return promise
}

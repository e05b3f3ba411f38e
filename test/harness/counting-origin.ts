/**
 * A private application that counts: how often each numbered request has arrived, and which are under way. Requests to
 * `/held` wait for `release`; `/long` sends its head and first bytes and then waits; anything else is answered with the
 * number that it carried, at once or after `delayMs`.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { vi } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'

export interface CountingOrigin extends AsyncDisposable {
  readonly url: string
  /** How often the request with this number has arrived. */
  timesSeen(number: number | string): number
  /** All requests that have arrived. */
  readonly arrived: number
  /** Numbers of the requests that arrived twice or more. */
  repeated(): string[]
  delayMs: number
  /** Requests that wait to be released. */
  readonly held: number
  /** Answers everything that waits, and ends what is half sent. */
  release(): void
  /** Refuses connections from now on, and cuts those that are open. */
  close(): Promise<void>
  /** Listens again, at the same port. */
  reopen(): Promise<void>
}

export const numberHeader = 'x-number'

/** One host name can lead to several of them: at one port, each at an address of its own. */
export async function startCountingOrigin(
  host = '127.0.0.1',
  givenPort?: number,
): Promise<CountingOrigin> {
  const seen = new Map<string, number>()
  const waiting = new Set<() => void>()
  let arrived = 0
  const server = createServer((req, res) => {
    const number = String(req.headers[numberHeader] ?? '')
    if (number !== '') seen.set(number, (seen.get(number) ?? 0) + 1)
    arrived++
    answer(req, res, { number, waiting, delayMs: origin.delayMs })
  })
  const listen = async (port: number) => {
    server.listen(port, host)
    await once(server, 'listening')
    return port
  }
  const close = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  // Nobody else is given it while it is closed.
  const port = await listen(givenPort ?? (await freePort()))
  const origin: CountingOrigin = {
    url: `http://${host}:${port}`,
    delayMs: 0,
    timesSeen: number => seen.get(String(number)) ?? 0,
    get arrived() {
      return arrived
    },
    repeated: () => [...seen].filter(([, times]) => times > 1).map(([number]) => number),
    get held() {
      return waiting.size
    },
    release: () => {
      for (const answerNow of waiting) answerNow()
    },
    close,
    reopen: async () => void (await listen(port)),
    [Symbol.asyncDispose]: close,
  }
  return origin
}

/** How many the origin goes on holding when it has noticed all the connections of a process that was killed. */
export async function heldBySurvivors(origin: CountingOrigin, before: number): Promise<number> {
  let held = before
  const isSettled = () => {
    const last = held
    held = origin.held
    return held < before && held === last
  }
  await vi.waitUntil(isSettled, { timeout: 10_000, interval: 100 })
  return held
}

interface Answering {
  number: string
  waiting: Set<() => void>
  delayMs: number
}

function answer(
  req: IncomingMessage,
  res: ServerResponse,
  { number, waiting, delayMs }: Answering,
): void {
  const path = req.url?.split('?')[0] ?? '/'
  const body = JSON.stringify({ number, method: req.method })
  const finish = () => {
    waiting.delete(finish)
    res.end(body)
  }
  req.resume().once('end', () => {
    res.setHeader('content-type', 'application/json')
    if (path === '/long') res.write('begun ')
    if (path !== '/held' && path !== '/long') {
      if (delayMs > 0) setTimeout(() => res.end(body), delayMs)
      else res.end(body)
      return
    }
    waiting.add(finish)
    res.once('close', () => waiting.delete(finish))
  })
}

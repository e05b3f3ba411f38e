/**
 * The weather station on the roof: one reading a second, sent to everybody who watches as a server-sent event.
 * A watcher that does not read is let go instead of being buffered for.
 */

import type { ServerResponse } from 'node:http'

export interface Reading {
  count: number
  time: string
  temperature: number
  pressure: number
  wind: number
}

export interface Station extends Disposable {
  latest(): Reading
  /** Answers with an event stream until the client goes, or the station stops. */
  watch(res: ServerResponse): void
}

const intervalMs = 1_000
const maxWatchers = 200
const maxBufferedBytes = 64 * 1_024

export function startStation(): Station {
  const watchers = new Set<ServerResponse>()
  let reading = readingAfter(undefined)
  const timer = setInterval(() => {
    reading = readingAfter(reading)
    for (const watcher of watchers) tell(watcher, reading)
  }, intervalMs)
  timer.unref()
  return {
    latest: () => reading,
    watch(res) {
      if (watchers.size >= maxWatchers) return void res.writeHead(503, { 'retry-after': '5' }).end()
      res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
      res.write('retry: 2000\n\n')
      watchers.add(res)
      res.once('close', () => watchers.delete(res))
      tell(res, reading)
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      for (const watcher of watchers) watcher.end()
    },
  }
}

function tell(watcher: ServerResponse, reading: Reading): void {
  if (watcher.writableLength > maxBufferedBytes) return void watcher.destroy()
  watcher.write(`id: ${reading.count}\nevent: reading\ndata: ${JSON.stringify(reading)}\n\n`)
}

function readingAfter(last: Reading | undefined): Reading {
  return {
    count: (last?.count ?? 0) + 1,
    time: new Date().toISOString(),
    temperature: drift(last?.temperature ?? 11.4, 0.1, { from: -8, to: 31 }),
    pressure: drift(last?.pressure ?? 1_013.2, 0.2, { from: 978, to: 1_042 }),
    wind: drift(last?.wind ?? 4.6, 0.4, { from: 0, to: 22 }),
  }
}

function drift(value: number, step: number, range: { from: number; to: number }): number {
  const next = value + (Math.random() * 2 - 1) * step
  return Math.round(Math.min(range.to, Math.max(range.from, next)) * 10) / 10
}

/**
 * What is merely configured must cost nothing: the same load with 10, 1,000 and 100,000 applications, one system for
 * each. Measuring begins when every service has taken in what was written.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import type { Case, Opened } from '../case.ts'
import { openSocket, statusLine } from '../load/socket.ts'
import { untilIdle } from '../machine/cpu.ts'
import { type SallyportTarget, sallyport } from '../targets/sallyport.ts'
import { configureApplications, configuredHost } from './configured-applications.ts'
import { loadSubject } from './load-subject.ts'

const counts = [10, 1_000, 100_000] as const

export const withApplications = (count: (typeof counts)[number]) =>
  `${count.toLocaleString('en')} applications`

export const growth: Case = {
  name: 'growth',
  about:
    '1 KiB of JSON, 64 connections, with so many applications configured, 100 to a connector group',
  reference: withApplications(10),
  rounds: 9,
  open,
}

const idleWithinMs = 120_000
const publishedWithinMs = 120_000

async function open(bench: Bench): Promise<Opened> {
  await using stack = new AsyncDisposableStack()
  const targets: { name: string; target: SallyportTarget }[] = []
  for (const count of bench.names.includes('sallyport') ? counts : []) {
    if (count > bench.effort.mostApplications) continue
    bench.signal.throwIfAborted()
    bench.report(`configuring ${withApplications(count)}`)
    const target = stack.use(await sallyport({ origin: bench.origin }))
    const more = count - target.system.applications.length
    await configureApplications(await target.system.connect('registry'), more)
    await untilPublished(target, more - 1)
    await untilIdle(target.processes, idleWithinMs)
    targets.push({ name: withApplications(count), target })
  }
  const owned = stack.move()
  return {
    subjects: targets.map(({ name, target }) =>
      loadSubject(bench, target, { name, path: '/json', connections: 64 }),
    ),
    missing: [],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** The gateway answers 404 for a host of which it has not heard. */
async function untilPublished({ port }: SallyportTarget, index: number): Promise<void> {
  const request = `GET / HTTP/1.1\r\nHost: ${configuredHost(index)}\r\n\r\n`
  for (const until = performance.now() + publishedWithinMs; ; await sleep(100)) {
    const socket = await openSocket({ port })
    socket.write(request)
    const status = await statusLine(socket)
    socket.destroy()
    if (!status.startsWith('HTTP/1.1 404')) return
    if (performance.now() > until) throw new Error(`${configuredHost(index)} is not published`)
  }
}

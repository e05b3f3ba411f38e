/**
 * A fast connector alone, and the same beside one of its group that is slow: 50 ms for each request, eight at a time.
 * A queue group chooses at random; without a limit the slow one would decide the pace of all.
 */

import { freePort } from '#infra/embedded/ports.ts'
import { resolving } from '../../harness/name-resolution.ts'
import type { Bench } from '../bench.ts'
import type { Case, Opened } from '../case.ts'
import { startChild } from '../machine/child.ts'
import { sallyport } from '../targets/sallyport.ts'
import { loadSubject } from './load-subject.ts'

export const alone = 'fast connector alone'
export const besideSlow = 'beside a slow one'

const delayMs = 50
const atATime = 8

/** The same URL leads each connector to an origin of its own. */
const originHost = 'origin.bench.test'
const [fastAddress, slowAddress] = ['127.0.0.1', '127.0.0.2']

export const slowConnector: Case = {
  name: 'slow-connector',
  about: `1 KiB of JSON, 64 connections; the slow connector takes ${delayMs} ms for a request and ${atATime} at a time`,
  reference: alone,
  rounds: 7,
  open,
}

async function open(bench: Bench): Promise<Opened> {
  const none = { subjects: [], missing: [], [Symbol.asyncDispose]: async () => {} }
  if (!bench.names.includes('sallyport')) return none
  await using stack = new AsyncDisposableStack()
  const port = await freePort()
  const start = (host: string, settings: Record<string, string> = {}) =>
    startChild('origin-process.ts', { HOST: host, PORT: String(port), ...settings })
  const origin = stack.use(await start(fastAddress))
  stack.use(await start(slowAddress, { DELAY_MS: String(delayMs) }))
  const options = {
    origin,
    internalUrl: `http://${originHost}:${port}/`,
    environment: resolving({ [originHost]: fastAddress }),
  }
  const fast = stack.use(await sallyport(options))
  const mixed = stack.use(await sallyport(options))
  await mixed.system.add('connector', {
    ...resolving({ [originHost]: slowAddress }),
    SALLYPORT_CONNECTOR_MAX_EXCHANGES: String(atATime),
  })
  const measured = { path: '/json', connections: 64 }
  const owned = stack.move()
  return {
    subjects: [
      loadSubject({ ...bench, origin }, fast, { name: alone, ...measured }),
      loadSubject({ ...bench, origin }, mixed, { name: besideSlow, ...measured }),
    ],
    missing: [],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

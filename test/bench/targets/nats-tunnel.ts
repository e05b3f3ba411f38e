/** What the bus alone costs: two Node processes with a nats-server between them, and nothing of what Sallyport is for. */

import { startTestNats } from '../../harness/nats.ts'
import { startChild } from '../machine/child.ts'
import type { StartOptions, Target } from './target.ts'

export async function natsTunnel({ origin }: StartOptions): Promise<Target> {
  await using stack = new AsyncDisposableStack()
  const nats = stack.use(await startTestNats())
  const { url: BUS } = nats.server.addressFor('registry')
  const file = 'nats-tunnel-process.ts'
  const ORIGIN = `http://127.0.0.1:${origin.port}`
  const connector = stack.use(await startChild(file, { SIDE: 'connector', BUS, ORIGIN }))
  const gateway = stack.use(await startChild(file, { SIDE: 'gateway', BUS }))
  const owned = stack.move()
  return {
    name: 'nats-tunnel',
    port: gateway.port,
    headers: {},
    processes: {
      gateway: [gateway.pid],
      'nats-server': [nats.server.process.pid ?? 0],
      connector: [connector.pid],
    },
    version: 'node:http, one message each way, undici: no user, no checks, no record, no streams',
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

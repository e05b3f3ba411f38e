/** Which processes a service with several workers consists of, and which of them had a part in what went by. */

import type { ServiceProcess } from '#infra/embedded/service-process.ts'
import type { Reply } from './load.ts'
import { descendantsOf } from './processes.ts'
import type { TestSystem } from './system.ts'

export async function workersOf({ pid }: ServiceProcess): Promise<number[]> {
  if (pid === undefined) throw new Error('it does not run')
  return (await descendantsOf(pid)).map(worker => worker.pid)
}

/** The name of the gateway, or of its worker, that gave a request its id. */
export const gatewayOf = (requestId: string | undefined) => requestId?.split('-')[0]

export function gatewaysOf(replies: readonly Reply[]): Set<string | undefined> {
  return new Set(replies.map(({ requestId }) => gatewayOf(requestId)))
}

export interface Answers {
  /** Those that answered since the last `clear`, as the bus knows them. */
  readonly members: ReadonlySet<string>
  clear(): void
}

/** Listens to who answers on the bus from now on. */
export async function listenToAnswers(system: TestSystem): Promise<Answers> {
  const bus = await system.connect('registry')
  const members = new Set<string>()
  bus.subscribe('sallyport.up.>', {
    callback: ({ subject }) => void members.add(subject.split('.')[2] ?? ''),
  })
  await bus.connection.flush()
  return { members, clear: () => members.clear() }
}

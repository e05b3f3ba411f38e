/** Downloads at a fixed pace while something else is measured, in a process of their own. */

import { once } from 'node:events'
import type { StartBulk } from '../helpers/bulk-process.ts'
import { type Child, startChild } from '../machine/child.ts'
import type { Target } from '../targets/target.ts'
import { requestText } from './socket.ts'

export interface Bulk extends AsyncDisposable {
  /** Ends the downloads and tells the pace of the slowest. */
  stop(): Promise<number>
}

/** More than any client can draw while a round lasts. */
const endlessBytes = 2 ** 40

/** Resolves when every download has begun. */
export async function startBulk(
  target: Target,
  options: { clients: number; bytesPerSecond: number },
): Promise<Bulk> {
  const child = await startChild('bulk-process.ts', {})
  const path = `/download?bytes=${endlessBytes}`
  const request = requestText(target, 'GET', path)
  try {
    await ask(child, { request, port: target.port, ...options } satisfies StartBulk)
  } catch (error) {
    await child[Symbol.asyncDispose]()
    throw error
  }
  return {
    stop: async () => (await ask(child, { stop: true })).bytesPerSecond ?? 0,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}

interface Answer {
  failure?: string
  bytesPerSecond?: number
}

async function ask({ process: child }: Child, message: object): Promise<Answer> {
  child.send(message)
  const [answer] = (await once(child, 'message')) as [Answer]
  if (answer.failure) throw new Error(`bulk downloads: ${answer.failure}`)
  return answer
}

/** The time to the first byte of an answer that goes on: what buffers it on the way shows here. */

import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { Target } from '../targets/target.ts'

const answeredWithinMs = 30_000

/** Milliseconds to the first byte of the body, one request after the other on a connection kept alive. */
export async function firstBytes(
  target: Target,
  { path, count, signal }: { path: string; count: number; signal: AbortSignal },
): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times: number[] = []
  for (let i = 0; i < count; i++) times.push(await firstByte(target, path, { agent, signal }))
  agent.destroy()
  return times
}

async function firstByte(
  target: Target,
  path: string,
  { agent, signal }: { agent: Agent; signal: AbortSignal },
): Promise<number> {
  const startedMs = performance.now()
  const { port, headers } = target
  const stopping = AbortSignal.any([signal, AbortSignal.timeout(answeredWithinMs)])
  const options = { host: '127.0.0.1', port, path, headers, agent, signal: stopping }
  const [res] = await once(request(options).end(), 'response')
  // On a busy machine the whole answer may come at once: both are listened for before either can happen.
  const [elapsedMs] = await Promise.all([
    once(res, 'data').then(() => performance.now() - startedMs),
    once(res, 'end'),
  ])
  if (res.statusCode !== 200) throw new Error(`${target.name} ${path}: status ${res.statusCode}`)
  return elapsedMs
}

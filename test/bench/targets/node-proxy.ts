/** One hop of plain Node: node:http and undici, no identity, no bus. */

import { startChild } from '../machine/child.ts'
import type { StartOptions, Target } from './target.ts'

export async function nodeProxy({ origin }: StartOptions): Promise<Target> {
  const child = await startChild('node-proxy-process.ts', {
    ORIGIN: `http://127.0.0.1:${origin.port}`,
  })
  return {
    name: 'node-proxy',
    port: child.port,
    headers: {},
    processes: { proxy: [child.pid] },
    version: `Node.js ${process.versions.node}, node:http and undici's dispatch`,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}

/** One hop of plain Node: node:http and undici, no identity, no bus. */

import { type Child, startChild } from '../child.ts'
import type { Target } from './target.ts'

export async function nodeProxy(origin: Child): Promise<Target> {
  const child = await startChild('node-proxy-process.ts', {
    ORIGIN: `http://127.0.0.1:${origin.port}`,
  })
  return {
    name: 'node-proxy',
    port: child.port,
    headers: {},
    processes: { proxy: [child.pid] },
    version: `node ${process.versions.node}, undici dispatch`,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}

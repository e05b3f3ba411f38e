/** No hop at all: what the origin and the load generator allow. */

import type { StartOptions, Target } from './target.ts'

export async function direct({ origin }: StartOptions): Promise<Target> {
  return {
    name: 'direct',
    port: origin.port,
    headers: {},
    processes: {},
    version: `Node.js ${process.versions.node}`,
    [Symbol.asyncDispose]: async () => {},
  }
}

/** No hop at all: what the origin and the load generator allow. */

import type { Child } from '../child.ts'
import type { Target } from './target.ts'

export function direct(origin: Child): Target {
  return {
    name: 'direct',
    port: origin.port,
    headers: {},
    processes: {},
    version: `node ${process.versions.node}`,
    [Symbol.asyncDispose]: async () => {},
  }
}

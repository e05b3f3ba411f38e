/** @fastify/http-proxy, the proxy that people reach for in Node. Not a dependency: measured where it is installed. */

import { type Child, startChild } from '../child.ts'
import type { MissingTarget, Target } from './target.ts'

/** A variable, so that nothing tries to resolve it before it is known to be there. */
export const fastifyProxyPackage: string = '@fastify/http-proxy'

export async function fastifyProxy(origin: Child): Promise<Target | MissingTarget> {
  if (!isInstalled()) return { name: 'fastify-proxy', note: 'not measured: not installed' }
  const child = await startChild('fastify-proxy-process.ts', {
    ORIGIN: `http://127.0.0.1:${origin.port}`,
  })
  return {
    name: 'fastify-proxy',
    port: child.port,
    headers: {},
    processes: { proxy: [child.pid] },
    version: fastifyProxyPackage,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}

function isInstalled(): boolean {
  try {
    import.meta.resolve(fastifyProxyPackage)
    return true
  } catch {
    return false
  }
}

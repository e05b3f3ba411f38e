/** @fastify/http-proxy, the proxy that people reach for in Node. Measured where it is installed (NODE_PATH counts). */

import { createRequire } from 'node:module'
import { startChild } from '../machine/child.ts'
import { type MissingTarget, notInstalled, type StartOptions, type Target } from './target.ts'

const packageName = '@fastify/http-proxy'
const require = createRequire(import.meta.url)

export async function fastifyProxy({ origin }: StartOptions): Promise<Target | MissingTarget> {
  const version = installedVersion()
  if (version === undefined) return notInstalled('fastify-proxy', packageName)
  const child = await startChild('fastify-proxy-process.ts', {
    ORIGIN: `http://127.0.0.1:${origin.port}`,
    NODE_PATH: process.env.NODE_PATH ?? '',
  })
  return {
    name: 'fastify-proxy',
    port: child.port,
    headers: {},
    processes: { proxy: [child.pid] },
    version: `${packageName} ${version}`,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}

function installedVersion(): string | undefined {
  try {
    return require(`${packageName}/package.json`).version
  } catch {
    return undefined
  }
}

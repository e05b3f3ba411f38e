/**
 * A client of the bus that comes in where connectors do, by certificate, and then does what the test says: for rogue
 * connectors, and for what lies between a connector and its bus.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { ProxySettings } from '#infra/bus-connection.ts'

export interface WebClientCalls {
  /** `folder` holds key.pem, certificate.pem and authority.pem. */
  connect(options: {
    url: string
    folder: string
    name: string
    proxy?: ProxySettings
  }): Promise<void>
  /** Both answer with what the server refused of it. */
  publish(options: {
    subject: string
    data?: string
    isBase64?: boolean
    reply?: string
    count?: number
  }): Promise<string[]>
  subscribe(options: { subject: string; queue?: string }): Promise<string[]>
  /** Everything that has arrived, its data as base64. */
  received(options?: undefined): Promise<{ subject: string; data: string; reply: string }[]>
  request(options: { subject: string; data?: string }): Promise<string>
  state(options?: undefined): Promise<{ isClosed: boolean; statuses: string[] }>
  close(options?: undefined): Promise<void>
}

export type WebClient = WebClientCalls & AsyncDisposable & { readonly process: ChildProcess }

const program = fileURLToPath(new URL('./web-client-process.ts', import.meta.url))

export async function startWebClient(): Promise<WebClient> {
  const child = fork(program, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await once(child, 'message')
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let count = 0
  child.on('message', (message: { id: number; result?: unknown; error?: string }) => {
    const call = waiting.get(message.id)
    waiting.delete(message.id)
    if (message.error === undefined) call?.resolve(message.result)
    else call?.reject(new Error(message.error))
  })
  const call = (name: keyof WebClientCalls) => (args: unknown) => {
    const id = ++count
    const answer = Promise.withResolvers<unknown>()
    waiting.set(id, answer)
    child.send({ id, call: name, args })
    return answer.promise as never
  }
  return {
    process: child,
    connect: call('connect'),
    publish: call('publish'),
    subscribe: call('subscribe'),
    received: call('received'),
    request: call('request'),
    state: call('state'),
    close: call('close'),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}

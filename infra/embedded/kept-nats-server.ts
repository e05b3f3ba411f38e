/**
 * The nats-server of a system: as infra/embedded/nats-server.ts starts it, and started again at the same port when it
 * ends by itself. The services notice the loss and come back by themselves.
 */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BusAddress } from '../bus-connection.ts'
import { detailOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { BusRole } from '../permissions.ts'
import { type NatsServer, type NatsServerOptions, startNatsServer } from './nats-server.ts'

const shortestWaitMs = 250
const longestWaitMs = 15_000

export async function keepNatsServer(
  options: NatsServerOptions & { log: Logger },
): Promise<KeptNatsServer> {
  const server = await startNatsServer(options)
  return new KeptNatsServer(server, options)
}

export class KeptNatsServer implements NatsServer {
  readonly url: string
  readonly port: number
  readonly #options: NatsServerOptions & { log: Logger }
  #server: NatsServer
  #stopping = new AbortController()

  constructor(server: NatsServer, { signal: _, ...options }: NatsServerOptions & { log: Logger }) {
    this.url = server.url
    this.port = server.port
    this.#server = server
    const { port, web } = server
    this.#options = { ...options, port, ...(web && { webPort: web.port }) }
    this.#watch()
  }

  get process(): ChildProcess {
    return this.#server.process
  }

  get web(): NatsServer['web'] {
    return this.#server.web
  }

  get caPath(): string | undefined {
    return this.#server.caPath
  }

  urlFor(role: BusRole): string {
    return this.#server.urlFor(role)
  }

  addressFor(role: BusRole): BusAddress {
    return this.#server.addressFor(role)
  }

  /** Ends it as a crash would. It stays away until `start`. */
  async kill(): Promise<void> {
    this.#stopping.abort()
    const { process: child } = this
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  async start(): Promise<void> {
    this.#stopping = new AbortController()
    this.#server = await startNatsServer({ ...this.#options, signal: this.#stopping.signal })
    this.#watch()
  }

  #watch(): void {
    const { signal } = this.#stopping
    this.process.once('exit', (code, killedBy) => {
      if (signal.aborted) return
      this.#startAgain(`it ended unexpectedly (${code ?? killedBy})`, signal).catch(error => {
        if (!signal.aborted) this.#options.log.error({ error }, 'nats-server is not kept any more')
      })
    })
  }

  async #startAgain(how: string, signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    let reason = how
    for (let waitMs = shortestWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      log.error(`nats-server: ${reason}; starting it again in ${waitMs / 1000} s`)
      await sleep(waitMs, undefined, { signal, ref: false })
      try {
        this.#server = await startNatsServer({ ...this.#options, signal })
        this.#watch()
        log.warn('nats-server: running again')
        return
      } catch (error) {
        signal.throwIfAborted()
        reason = detailOf(error)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await this.#server[Symbol.asyncDispose]()
    this.#options.log.info('nats-server: stopped')
  }
}

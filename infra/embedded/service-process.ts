/**
 * One service of the system as a process of its own: started through the `sallyport` command, ready when it says so
 * over its channel, started again with growing waits when it ends by itself. It ends in its own process group, so that
 * a Ctrl-C leaves the order of stopping to the parent, and it ends with the parent whatever happens to that.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Environment } from '../config.ts'
import { detailOf } from '../errors.ts'
import { exitRemoved } from '../lifecycle.ts'
import type { Logger } from '../log.ts'
import { endWithParent } from './end-with-parent.ts'

export const serviceRoles = ['registry', 'policy', 'connector', 'gateway'] as const
export type ServiceRole = (typeof serviceRoles)[number]

export interface ServiceProcessOptions {
  role: ServiceRole
  /** Stands in messages, as `gateway-2`. */
  name: string
  environment: Environment
  /** Receives what the process writes; standard error unless given. */
  logDescriptor?: number
  log: Logger
  signal?: AbortSignal
}

const command = fileURLToPath(new URL('../../sallyport.ts', import.meta.url))

const readyWithinMs = 60_000
/** Longer than a service gives itself (infra/lifecycle.ts). */
const endsWithinMs = 35_000
const shortestWaitMs = 250
const longestWaitMs = 15_000
/** After so long a life the next end counts as the first. */
const settledMs = 60_000

export class ServiceProcess implements AsyncDisposable {
  readonly name: string
  readonly role: ServiceRole
  /** What it told at its last start: ports, ids. */
  details: Record<string, unknown> = {}
  /** Ends and unexpected restarts so far. */
  restarts = 0
  readonly #options: ServiceProcessOptions
  readonly #stopping = new AbortController()
  #child: ChildProcess | undefined
  #exited: Promise<unknown> = Promise.resolve()

  constructor(options: ServiceProcessOptions) {
    this.#options = options
    this.name = options.name
    this.role = options.role
  }

  get pid(): number | undefined {
    return this.isRunning ? this.#child?.pid : undefined
  }

  get isRunning(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null
  }

  /** Once it has ended by itself or by a signal that it handles. */
  get exitCode(): number | null {
    return this.#child?.exitCode ?? null
  }

  /** Resolves when the service is ready; a process that ends before is an error with its name. */
  async start(): Promise<void> {
    const signal = AbortSignal.any(
      [this.#stopping.signal, this.#options.signal].filter(one => one !== undefined),
    )
    signal.throwIfAborted()
    const child = fork(command, [this.role], {
      env: this.#options.environment,
      execArgv: [],
      detached: true,
      stdio: ['ignore', 'ignore', this.#options.logDescriptor ?? 'inherit', 'ipc'],
    })
    this.#child = child
    this.#exited = new Promise(resolve => child.once('exit', resolve).once('error', resolve))
    const bornMs = Date.now()
    const [details] = await Promise.all([
      readyDetails(child, this.name, signal),
      endWithParent(child),
    ])
    this.details = details
    child.once('exit', (code, killedBy) => this.#ended(code ?? killedBy, Date.now() - bornMs))
    if (!this.isRunning) throw new Error(`${this.name} ended as soon as it was ready`)
  }

  #ended(how: number | string | null, livedMs: number): void {
    if (this.#stopping.signal.aborted) return
    if (how === exitRemoved) return this.#sayEnded()
    if (livedMs > settledMs) this.restarts = 0
    this.#startAgain(how).catch(error => {
      if (this.#stopping.signal.aborted) return
      this.#options.log.error({ error, name: this.name }, 'a service could not be started again')
    })
  }

  async #startAgain(how: number | string | null): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#stopping
    for (let reason = `it ended unexpectedly (${how})`; ; ) {
      const waitMs = Math.min(shortestWaitMs * 2 ** this.restarts, longestWaitMs)
      this.restarts++
      log.error(`${this.name}: ${reason}; starting it again in ${waitMs / 1000} s`)
      await sleep(waitMs, undefined, { signal, ref: false })
      try {
        await this.start()
        log.warn(`${this.name}: running again`)
        return
      } catch (error) {
        signal.throwIfAborted()
        this.#child?.kill('SIGKILL')
        await this.#exited
        if (this.exitCode === exitRemoved) return this.#sayEnded()
        reason = detailOf(error)
      }
    }
  }

  /** Starting it again would not change it. */
  #sayEnded(): void {
    this.#options.log.error(`${this.name}: ended for good; its log says why`)
  }

  /** Lets it finish what it has begun, and ends it by force when it takes too long. It is not started again. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error(`${this.name} is being stopped`))
    if (!this.isRunning) return
    this.#child?.kill('SIGTERM')
    const inTime = await Promise.race([
      this.#exited.then(() => true),
      sleep(endsWithinMs, false, { ref: false }),
    ])
    if (inTime) {
      this.#options.log.info(`${this.name}: stopped`)
      return
    }
    this.#options.log.error(`${this.name}: did not stop in time and was ended by force`)
    await this.kill()
  }

  /** Ends it as a crash would (SIGKILL). It is not started again. */
  async kill(): Promise<void> {
    this.killNow()
    await this.#exited
  }

  killNow(): void {
    this.#stopping.abort(new Error(`${this.name} is being stopped`))
    if (this.isRunning) this.#child?.kill('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

function readyDetails(
  child: ChildProcess,
  name: string,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>()
  child.on('message', (message: { ready?: Record<string, unknown> }) => {
    if (message.ready) resolve(message.ready)
  })
  child.once('error', reject)
  child.once('exit', (code, killedBy) => {
    reject(new Error(`${name} ended before it was ready (${code ?? killedBy}); its log says why`))
  })
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const late = setTimeout(() => {
    reject(new Error(`${name} was not ready within ${readyWithinMs / 1000} s; its log says why`))
  }, readyWithinMs)
  return promise.finally(() => {
    clearTimeout(late)
    signal.removeEventListener('abort', onAbort)
  })
}

/**
 * Several processes for one service, to use more than one core: a parent that serves nothing itself starts the workers
 * (by node:cluster), starts again what ends unexpectedly, and stops them all. Workers share nothing but what they `tell`
 * each other, and end with their parent.
 */

import cluster, { type Worker as Child } from 'node:cluster'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Environment } from './config.ts'
import { detailOf } from './errors.ts'
import { EndedForGood, exitRemoved, type Service } from './lifecycle.ts'
import type { Logger } from './log.ts'
import { type FromWorker, type ToWorker, type Worker, workerVariable } from './worker.ts'

export interface WorkersOptions {
  /** One or more. */
  count: number
  /** How long the work of each may take to finish after a signal. */
  drainMs: number
  /** What they have in place of this process's variables; `first` is what the first one told when it was ready. */
  environment: (first: Record<string, unknown> | undefined) => Environment
  log: Logger
}

const shortestWaitMs = 250
const longestWaitMs = 15_000
/** After so long a life the next end counts as the first. */
const settledMs = 60_000
/** A worker ends itself by force earlier than that (lifecycle.ts). */
const endsWithinMs = 12_000

/** Resolves when all of them are ready. One that cannot start the first time is an error, and none is left. */
export async function startWorkers(options: WorkersOptions): Promise<Service> {
  const parent = new Parent(options)
  // One alone first: what is wrong with all of them is said once.
  const details = await parent.start(1)
  const others = Array.from({ length: options.count - 1 }, (_, index) => parent.start(index + 2))
  await Promise.all(others)
  options.log.info({ workers: options.count }, 'all workers are ready')
  return {
    details: { ...details, workers: options.count },
    drainMs: options.drainMs + endsWithinMs,
    ended: parent.ended,
    [Symbol.asyncDispose]: () => parent.stop(),
  }
}

class Parent {
  readonly #options: WorkersOptions
  readonly #startedDateTime = new Date().toISOString()
  /** Those that are ready, by number. */
  readonly #ready = new Map<number, Child>()
  readonly #restarts = new Map<number, number>()
  readonly #stopping = new AbortController()
  readonly #ended = Promise.withResolvers<never>()
  #first: Record<string, unknown> | undefined
  #count = 0

  constructor(options: WorkersOptions) {
    this.#options = options
    this.#ended.promise.catch(() => undefined)
  }

  /** Rejects when a worker says that there is nothing to do any more: that holds for all of them. */
  get ended(): Promise<never> {
    return this.#ended.promise
  }

  /** Resolves with what it tells when it is ready. */
  async start(slot: number): Promise<Record<string, unknown>> {
    const bornAt = performance.now()
    const number = ++this.#count
    const child = this.#fork(slot, number)
    const details = await readyDetails(child, slot).catch(error => {
      child.process.kill('SIGKILL')
      throw error
    })
    this.#first ??= details
    this.#ready.set(number, child)
    this.#tellOthers(number, { joined: number })
    child.once('exit', (code, killedBy) => {
      this.#ready.delete(number)
      this.#tellOthers(number, { gone: number })
      if (this.#stopping.signal.aborted) return
      if (code === exitRemoved) return this.#ended.reject(endedForGood(slot))
      const livedMs = performance.now() - bornAt
      void this.#startAgain(slot, `ended unexpectedly (${killedBy || code})`, livedMs)
    })
    return details
  }

  #fork(slot: number, number: number): Child {
    const { environment, count, log } = this.#options
    const startedDateTime = this.#startedDateTime
    const place: Worker['place'] = { slot, number, count, startedDateTime }
    const child = cluster.fork({
      ...environment(this.#first),
      [workerVariable]: JSON.stringify(place),
    })
    child.on('error', error => log.warn({ error, worker: slot }, 'the channel to a worker failed'))
    child.on('message', ({ tell }: FromWorker) => {
      if (tell !== undefined) this.#tellOthers(number, { told: tell, from: number })
    })
    return child
  }

  #tellOthers(about: number, message: ToWorker): void {
    for (const [number, child] of this.#ready) {
      // One that is going need not hear it.
      if (number !== about && child.isConnected()) child.send(message, () => undefined)
    }
  }

  async #startAgain(slot: number, how: string, livedMs: number): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#stopping
    if (livedMs > settledMs) this.#restarts.delete(slot)
    for (let reason = how; !signal.aborted; ) {
      const restarts = this.#restarts.get(slot) ?? 0
      this.#restarts.set(slot, restarts + 1)
      const waitMs = Math.min(shortestWaitMs * 2 ** restarts, longestWaitMs)
      log.error({ worker: slot }, `a worker ${reason}; starting it again in ${waitMs / 1000} s`)
      try {
        await sleep(waitMs, undefined, { signal })
        await this.start(slot)
        log.warn({ worker: slot }, 'a worker is running again')
        return
      } catch (error) {
        if (error instanceof EndedForGood) return this.#ended.reject(error)
        reason = detailOf(error)
      }
    }
  }

  /** Lets all of them finish what they have begun, and ends by force what takes too long. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopping'))
    const children = Object.values(cluster.workers ?? {})
    await Promise.all(children.map(child => child && this.#stop(child)))
  }

  async #stop(child: Child): Promise<void> {
    if (child.isDead()) return
    const exited = once(child.process, 'exit')
    child.process.kill('SIGTERM')
    const limitMs = this.#options.drainMs + endsWithinMs
    const late = setTimeout(() => child.process.kill('SIGKILL'), limitMs)
    const [code, killedBy] = await exited
    clearTimeout(late)
    if (code || killedBy === 'SIGKILL') process.exitCode = 1
  }
}

function readyDetails(child: Child, slot: number): Promise<Record<string, unknown>> {
  const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>()
  child.on('message', ({ ready }: FromWorker) => ready && resolve(ready))
  child.once('exit', (code, killedBy) => {
    if (code === exitRemoved) return reject(endedForGood(slot))
    reject(new Error(`worker ${slot} ended before it was ready (${killedBy || code})`))
  })
  return promise
}

function endedForGood(slot: number): EndedForGood {
  return new EndedForGood(`worker ${slot} ended for good; its message says why`)
}

/**
 * The connector's end of the Kerberos helper: starts it when it is first needed and again when it has crashed, asks,
 * and gives up on what takes too long. The helper's environment names no default identity: nothing may fall back to one.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Environment } from '#infra/config.ts'
import type { Logger } from '#infra/log.ts'
import { SignOnFailure } from '../reasons.ts'
import type { FromHelper, HelperOptions, ToHelper } from './protocol.ts'

export interface HelperProcessOptions {
  readonly options: HelperOptions
  readonly krb5ConfigPath: string
  /** Besides what is set here. */
  readonly environment?: Environment | undefined
  readonly log: Logger
}

type Without<Message, Key extends string> = Message extends unknown ? Omit<Message, Key> : never
export type Question = Without<Extract<ToHelper, { id: number }>, 'id'>
type Answer = Exclude<FromHelper, { type: 'failed' }>

interface Waiting {
  readonly child: ChildProcess
  readonly resolve: (answered: Answered) => void
  readonly reject: (failure: SignOnFailure) => void
  readonly late: NodeJS.Timeout
}

/** Which process answered: what it has opened, only it can finish. */
export type Via = ChildProcess

export interface Answered {
  readonly answer: Answer
  readonly via: Via
}

/** A helper that ends at once is not started in a circle. */
const startsEveryMs = 250

/** How long a helper that was replaced may still finish what it has opened. */
const retiredForMs = 30_000

export class HelperProcess implements AsyncDisposable {
  readonly #options: HelperProcessOptions
  readonly #waiting = new Map<number, Waiting>()
  #child: ChildProcess | undefined
  #startedAt = Number.NEGATIVE_INFINITY
  #lastId = 0
  #isNetworkUp = true
  /** The KDC's time, and when it was so by our steady clock. */
  #clock: { readonly kdcTimeMs: number; readonly at: number } | undefined
  readonly #retired = new Set<ChildProcess>()
  #isClosed = false

  constructor(options: HelperProcessOptions) {
    this.#options = options
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** @throws SignOnFailure, with `kdc_timeout` when no answer comes in time. */
  ask(question: Question, timeoutMs: number, via?: Via): Promise<Answered> {
    const { promise, resolve, reject } = Promise.withResolvers<Answered>()
    const child = via ?? this.#running()
    if (!child?.connected) return Promise.reject(new SignOnFailure('helper_exited', 'it is gone'))
    const id = ++this.#lastId
    const late = setTimeout(() => {
      this.#waiting.delete(id)
      reject(new SignOnFailure('kdc_timeout', `no answer within ${timeoutMs / 1_000} s`))
    }, timeoutMs)
    this.#waiting.set(id, { child, resolve, reject, late })
    child.send({ ...question, id } satisfies ToHelper)
    return promise
  }

  /** Nothing comes back, and nothing is started for it. */
  tell(message: Exclude<ToHelper, { id: number }>, via = this.#child): void {
    if (via?.connected) via.send(message)
  }

  setNetwork(isUp: boolean): void {
    this.#isNetworkUp = isUp
    this.tell({ type: 'network', isUp })
  }

  setClock(kdcTimeMs: number): void {
    this.#clock = { kdcTimeMs, at: performance.now() }
    this.tell({ type: 'clock', kdcTimeMs })
  }

  /** The next question goes to a new process: threads of this one may wait for a dead KDC for long. */
  replace(): void {
    const child = this.#child
    this.#child = undefined
    this.#startedAt = Number.NEGATIVE_INFINITY
    if (!child) return
    this.#retired.add(child)
    setTimeout(() => child.kill('SIGKILL'), retiredForMs).unref()
  }

  #running(): ChildProcess | undefined {
    if (this.#child?.connected) return this.#child
    const now = performance.now()
    if (this.#isClosed || now - this.#startedAt < startsEveryMs) return undefined
    this.#startedAt = now
    this.#child = this.#start()
    return this.#child
  }

  #start(): ChildProcess {
    const { options, krb5ConfigPath, environment } = this.#options
    const child = fork(new URL('helper.ts', import.meta.url), {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
      env: {
        KRB5_CONFIG: krb5ConfigPath,
        KRB5CCNAME: 'MEMORY:none',
        KRB5_CLIENT_KTNAME: 'FILE:/dev/null',
        KRB5_KTNAME: 'FILE:/dev/null',
        UV_THREADPOOL_SIZE: '32',
        ...environment,
      },
    })
    child.on('message', (message: FromHelper) => this.#take(message, child))
    const { promise: ended, resolve: end } = Promise.withResolvers<string>()
    // Each message that cannot be sent any more is an error of its own, and before the exit is known.
    child.on('error', error => end(error.message))
    child.once('exit', (code, signal) => end(`${code ?? signal}`))
    ended.then(how => this.#ended(child, how))
    child.send({ type: 'start', options } satisfies ToHelper)
    child.send({ type: 'network', isUp: this.#isNetworkUp } satisfies ToHelper)
    if (this.#clock) {
      const kdcTimeMs = this.#clock.kdcTimeMs + performance.now() - this.#clock.at
      child.send({ type: 'clock', kdcTimeMs } satisfies ToHelper)
    }
    return child
  }

  #take(message: FromHelper, via: ChildProcess): void {
    const waiting = this.#settle(message.id)
    if (!waiting) return this.#discard(message, via)
    if (message.type !== 'failed') return waiting.resolve({ answer: message, via })
    waiting.reject(new SignOnFailure(message.failure.reason, message.failure.detail))
  }

  /** Nobody waits for it any more. */
  #discard(message: FromHelper, via: ChildProcess): void {
    if (message.type === 'token') this.tell({ type: 'release', context: message.context }, via)
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    clearTimeout(waiting?.late)
    return waiting
  }

  #ended(child: ChildProcess, how: string): void {
    if (this.#child === child) this.#child = undefined
    const isMeant = this.#retired.delete(child) || this.#isClosed
    if (!isMeant) this.#options.log.error({ how }, 'the Kerberos helper ended')
    for (const [id, waiting] of this.#waiting) {
      if (waiting.child !== child) continue
      this.#settle(id)
      waiting.reject(new SignOnFailure('helper_exited', `ended with ${how}`))
    }
  }

  /** By force: a thread that waits for a dead KDC would hold up a polite end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    const all = [...this.#retired, ...(this.#child ? [this.#child] : [])]
    await Promise.all(all.map(endNow))
  }
}

async function endNow(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

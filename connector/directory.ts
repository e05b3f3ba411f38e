/**
 * What this connector knows from registry: its group's applications, the keys that verify leases, and the time. Only
 * what the registry has signed, for this group, counts; it never goes back to an older list. Asked for at start, after
 * every reconnection and once a minute; changes are pushed. While registry is away, or what comes is not its own, the
 * last state stays. A list that is read in pages takes the place of the last one only when all of it has been read.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus, Message } from '#infra/bus.ts'
import {
  type Application,
  type ApplicationChanges,
  type ApplicationPage,
  type ApplicationsReply,
  type ApplicationsRequest,
  ApplicationsStatement,
} from '#infra/contracts/application.ts'
import { type LeaseKey, LeaseKeySet } from '#infra/contracts/policy.ts'
import { SallyportError } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import { type ApplicationList, readList } from './application-list.ts'
import type { Clock } from './clock.ts'
import { type Statements, untilAnswered } from './statements.ts'

export interface DirectoryOptions {
  bus: Bus
  log: Logger
  groupId: string
  statements: Statements
  clock: Clock
  signal?: AbortSignal
  onApplications: () => void
  onKeys: (keys: readonly LeaseKey[]) => void
}

export interface Directory extends Disposable {
  readonly applications: ReadonlyMap<string, Application>
  /** `performance.now()` since when an application of `applications` is as it is; undefined for one that leaves. */
  knownSince(application: Application): number | undefined
  /** Asks registry again, at most once at a time; failures are logged and tried again with the next occasion. */
  refresh(): void
}

const askEveryMs = 60_000
const retryMs = 300

/** Pushed keys that are older, by the registry's own clock, may have been kept back by somebody: they are asked for. */
const freshMs = 10_000

/** How often it is asked for a change that was heard of, and that the registry which answers does not know yet. */
const maxAttempts = 10

/**
 * An application that has left the group is served a little longer: a gateway may hear of it after this connector. Its
 * lease still decides.
 */
const leavingMs = 1_000

/** Resolves when registry has answered for the first time. */
export async function openDirectory(options: DirectoryOptions): Promise<Directory> {
  const directory = new RegistryDirectory(options)
  await directory.askUntilAnswered()
  return directory
}

class RegistryDirectory implements Directory {
  applications = new Map<string, Application>()
  readonly #options: DirectoryOptions
  readonly #stack = new DisposableStack()
  /** By what was told, so that whatever is told anew counts as changed: who may use it is not told. */
  readonly #since = new WeakMap<Application, number>()
  /** Of the list that `applications` shows; undefined before there is one. */
  #version: number | undefined
  /** The newest version that was told of and could not be made from the present one. */
  #missed = 0
  #asking: Promise<void> | undefined

  constructor(options: DirectoryOptions) {
    this.#options = options
    const { bus, groupId } = options
    const list = bus.subscribe(subjects.applicationsOf(groupId), {
      callback: message => unlessRefused(() => this.#hear(message)),
    })
    const keys = bus.subscribe(subjects.keys, {
      callback: message => unlessRefused(() => this.#hearKeys(message)),
    })
    this.#stack.defer(() => list.unsubscribe())
    this.#stack.defer(() => keys.unsubscribe())
    this.#stack.defer(bus.onStatus(status => status === 'connected' && this.refresh()))
    const timer = setInterval(() => this.refresh(), askEveryMs)
    this.#stack.defer(() => clearInterval(timer))
  }

  knownSince(application: Application): number | undefined {
    return this.#since.get(application)
  }

  refresh(): void {
    this.#askOnce().catch(error =>
      this.#options.log.warn({ reason: error.message }, 'registry does not answer'),
    )
  }

  askUntilAnswered(): Promise<void> {
    const { log, signal } = this.#options
    return untilAnswered(() => this.#askOnce(), { log, signal })
  }

  #askOnce(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  async #ask(): Promise<void> {
    const { statements, clock, onKeys } = this.#options
    const askedAt = performance.now()
    const question = { type: 'leaseKeys', said: LeaseKeySet, request: {} } as const
    const keySet = await statements.ask(subjects.keysRequest, question)
    clock.measured(keySet.nowMs, askedAt)
    onKeys(keySet.keys)
    await this.#askForApplications()
    for (let attempt = 1; this.#isBehind(); attempt++) {
      if (attempt > maxAttempts) throw new SallyportError('bus_unavailable', 'registry is behind')
      await sleep(retryMs, undefined, { ref: false })
      await this.#askForApplications()
    }
  }

  #isBehind(): boolean {
    return (this.#version ?? 0) < this.#missed
  }

  /** Until there is nothing more to learn, or what was learnt has been pushed meanwhile. */
  async #askForApplications(): Promise<void> {
    for (;;) {
      const since = this.#version
      const reply = await this.#askFor(since === undefined ? {} : { since })
      if (reply.kind === 'page') return this.#replace(await this.#read(reply))
      if (reply.version <= (this.#version ?? -1)) return
      this.#take(reply)
      if (reply.changed.length + reply.removed.length === 0) return
    }
  }

  #read(first: ApplicationPage): Promise<ApplicationList> {
    return readList(
      request => this.#askFor(request),
      first,
      () => this.#version ?? 0,
    )
  }

  async #askFor(request: ApplicationsRequest): Promise<ApplicationsReply> {
    const { statements, groupId } = this.#options
    const subject = subjects.applicationsRequest(groupId)
    const question = { type: 'applications', said: ApplicationsStatement, request } as const
    return this.#ofOwnGroup(await statements.ask(subject, question))
  }

  #ofOwnGroup({ group, said }: ApplicationsStatement): ApplicationsReply {
    const { statements, groupId } = this.#options
    if (group === groupId) return said
    return statements.refuse(`applications of the group "${group}", not of "${groupId}"`)
  }

  /** What was pushed. Changes that do not join on to the present list are asked for. */
  #hear({ data }: Message): void {
    const statement = this.#options.statements.hear('applications', ApplicationsStatement, data)
    const changes = this.#ofOwnGroup(statement)
    // A page is an answer, and nobody asked.
    if (changes.kind !== 'changes') return
    const version = this.#version ?? -1
    if (changes.version <= version) return
    if (changes.since <= version) return this.#take(changes)
    this.#missed = Math.max(this.#missed, changes.version)
    this.refresh()
  }

  #hearKeys({ data }: Message): void {
    const { statements, clock, onKeys } = this.#options
    const { nowMs, keys } = statements.hear('leaseKeys', LeaseKeySet, data)
    const ageMs = (clock.now() ?? Number.POSITIVE_INFINITY) - nowMs
    if (Math.abs(ageMs) <= freshMs) onKeys(keys)
    else this.refresh()
  }

  #take({ version, changed, removed }: ApplicationChanges): void {
    for (const application of changed) this.#learn(application)
    this.#leave(removed.flatMap(id => this.applications.get(id) ?? []))
    this.#becomes(version)
  }

  #replace({ version, applications }: ApplicationList): void {
    const leaving = [...this.applications.values()].filter(({ id }) => !applications.has(id))
    this.applications = new Map()
    for (const application of applications.values()) this.#learn(application)
    for (const application of leaving) this.applications.set(application.id, application)
    this.#leave(leaving)
    this.#becomes(version)
  }

  #learn(application: Application): void {
    this.applications.set(application.id, application)
    this.#since.set(application, performance.now())
  }

  #becomes(version: number): void {
    this.#version = version
    this.#options.onApplications()
  }

  /** Whatever comes back meanwhile is another object. */
  #leave(leaving: readonly Application[]): void {
    if (leaving.length === 0) return
    for (const application of leaving) this.#since.delete(application)
    const drop = () => {
      for (const application of leaving) {
        const { id } = application
        if (this.applications.get(id) === application) this.applications.delete(id)
      }
      this.#options.onApplications()
    }
    setTimeout(drop, leavingMs).unref()
  }

  [Symbol.dispose](): void {
    this.#stack.dispose()
  }
}

/** What is refused has been told (statements.ts); it must not fill the log of whoever received it. */
function unlessRefused(hear: () => void): void {
  try {
    hear()
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error
  }
}

/**
 * What this connector knows from registry: its group's applications, the keys that verify leases, and the time.
 * Asked for at start, after every reconnection and once a minute; changes are pushed. While registry is away the
 * last state stays.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { type Bus, parseJson } from '#infra/bus.ts'
import { type Application, ApplicationList } from '#infra/contracts/application.ts'
import { type LeaseKey, LeaseKeySet } from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import type { Clock } from './clock.ts'

export interface DirectoryOptions {
  bus: Bus
  log: Logger
  groupId: string
  clock: Clock
  signal?: AbortSignal
  onApplications: () => void
  onKeys: (keys: readonly LeaseKey[]) => void
}

export interface Directory extends Disposable {
  readonly applications: ReadonlyMap<string, Application>
  /** Asks registry again, at most once at a time; failures are logged and tried again with the next occasion. */
  refresh(): void
}

const askTimeoutMs = 2_000
const askEveryMs = 60_000
const retryMs = 300

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
  applications: ReadonlyMap<string, Application> = new Map()
  readonly #options: DirectoryOptions
  readonly #stack = new DisposableStack()
  #version = -1
  #listed: ReadonlyMap<string, Application> = new Map()
  #asking: Promise<void> | undefined

  constructor(options: DirectoryOptions) {
    this.#options = options
    const { bus, groupId } = options
    const list = bus.subscribe(subjects.applicationsOf(groupId), {
      callback: message => this.#takeApplications(parseJson(ApplicationList, message.data, 'list')),
    })
    const keys = bus.subscribe(subjects.keys, {
      callback: message => options.onKeys(parseJson(LeaseKeySet, message.data, 'keys').keys),
    })
    this.#stack.defer(() => list.unsubscribe())
    this.#stack.defer(() => keys.unsubscribe())
    this.#stack.defer(bus.onStatus(status => status === 'connected' && this.refresh()))
    const timer = setInterval(() => this.refresh(), askEveryMs)
    this.#stack.defer(() => clearInterval(timer))
  }

  refresh(): void {
    this.#asking ??= this.#ask()
      .catch(error => this.#options.log.warn({ reason: error.message }, 'registry does not answer'))
      .finally(() => {
        this.#asking = undefined
      })
  }

  async askUntilAnswered(): Promise<void> {
    const { log, signal } = this.#options
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted()
      try {
        return await this.#ask()
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        if (attempt % 10 === 1) log.warn({ reason }, 'waiting for registry')
        await sleep(retryMs, undefined, signal ? { signal } : {})
      }
    }
  }

  async #ask(): Promise<void> {
    const { bus, groupId, clock, onKeys } = this.#options
    const ask = { timeoutMs: askTimeoutMs, unavailable: 'bus_unavailable' as const }
    const askedAt = performance.now()
    const keySet = await bus.call(subjects.keysRequest, {}, { ...ask, reply: LeaseKeySet })
    clock.measured(keySet.nowMs, askedAt)
    onKeys(keySet.keys)
    const list = await bus.call(
      subjects.applicationsRequest(groupId),
      {},
      { ...ask, reply: ApplicationList },
    )
    this.#takeApplications(list)
  }

  /** An older list never replaces a newer one, whichever way it came. */
  #takeApplications({ version, applications }: ApplicationList): void {
    if (version < this.#version) return
    this.#version = version
    const listed = new Map(applications.map(application => [application.id, application]))
    const leaving = [...this.applications].filter(([id]) => !listed.has(id))
    this.#listed = listed
    this.applications = new Map([...listed, ...leaving])
    this.#options.onApplications()
    if (leaving.length > 0) setTimeout(() => this.#drop(leaving), leavingMs).unref()
  }

  #drop(leaving: readonly (readonly [string, Application])[]): void {
    const gone = new Set(leaving.map(([id]) => id).filter(id => !this.#listed.has(id)))
    this.applications = new Map([...this.applications].filter(([id]) => !gone.has(id)))
    this.#options.onApplications()
  }

  [Symbol.dispose](): void {
    this.#stack.dispose()
  }
}

/**
 * Which connectors there are and whether they are alive. Every registry listens to every status (not as a queue group:
 * each must know the last sign of life by itself), and all of them write to the bucket by compare-and-set: whoever
 * wins records the audit event. A connector that stopped or fell silent is announced to the gateways.
 */

import type { Audit } from '#infra/audit.ts'
import { type Bus, type Message, parseJson } from '#infra/bus.ts'
import type { ConnectorEvent } from '#infra/contracts/audit.ts'
import {
  type Connector,
  ConnectorStatus,
  connectorIdOf,
  memberIdOf,
  statusTimeoutMs,
} from '#infra/contracts/connector.ts'
import type { Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import { afterSilence, afterStatus, isOfOlderProcess, type Transition } from './presence.ts'
import { Refusal } from './refusal.ts'
import type { Store, Versioned } from './store.ts'
import { Workers } from './workers.ts'

export interface ConnectorsOptions {
  bus: Bus
  store: Store<Connector>
  audit: Audit
  log: Logger
  removeInactiveAfterMs: number
  /** How long a connector may be silent. */
  timeoutMs?: number
}

export interface Connectors extends AsyncDisposable {
  list(): Versioned<Connector>[]
  /** Refuses when there is none. */
  get(id: string): Versioned<Connector>
  /**
   * The bus has lost this connector, or this worker of one: gateways are told at once. The connector is inactive until
   * it reports again, unless other workers of it are there.
   */
  lost(memberId: string): void
  /** Forgets the inactive connectors of a group that is gone. */
  forgetGroup(groupId: string): Promise<void>
}

const sweepIntervalMs = 1_000

/** More than this many connectors are not recorded: somebody invents them. */
const maxConnectors = 20_000

export function openConnectors(options: ConnectorsOptions): Connectors {
  return new Presence(options)
}

class Presence implements Connectors {
  readonly #options: ConnectorsOptions
  readonly #timeoutMs: number
  readonly #workers: Workers
  readonly #lastSeenMs = new Map<string, number>()
  /** Writes of one connector follow each other: each must see what the one before it wrote. */
  readonly #writing = new Map<string, Promise<unknown>>()
  readonly #resources = new DisposableStack()
  /** Silence before this moment proves nothing: this registry was not listening. */
  #listeningSinceMs = Date.now()

  constructor(options: ConnectorsOptions) {
    this.#options = options
    const { bus } = options
    this.#timeoutMs = options.timeoutMs ?? statusTimeoutMs
    this.#workers = new Workers(this.#timeoutMs)
    const subscription = bus.subscribe(subjects.connectorStatuses, {
      callback: message => this.#hear(message),
    })
    this.#resources.defer(() => subscription.unsubscribe())
    this.#resources.defer(
      bus.onStatus(() => {
        this.#listeningSinceMs = Date.now()
      }),
    )
    const timer = setInterval(() => this.#sweep(), sweepIntervalMs)
    this.#resources.defer(() => clearInterval(timer))
  }

  list(): Versioned<Connector>[] {
    return this.#options.store.list()
  }

  get(id: string): Versioned<Connector> {
    const found = this.#options.store.get(id)
    if (found) return found
    throw new Refusal('resource_not_found', `there is no connector "${id}"`)
  }

  lost(memberId: string): void {
    const connectorId = connectorIdOf(memberId)
    this.#options.bus.publishJson(subjects.connectorGone(memberId), {
      connectorId,
      reason: 'disconnected',
    })
    const others = this.#workers.forget(connectorId, memberId)
    if (others) return this.#turn(connectorId, known => afterStatus(known, others, Date.now()))
    // A registry that has just started has not heard of the other workers yet; their silence would tell.
    if (memberId !== connectorId && this.#listenedMs < this.#timeoutMs) return
    this.#lastSeenMs.delete(connectorId)
    this.#turn(connectorId, known => known && afterSilence(known))
  }

  async forgetGroup(groupId: string): Promise<void> {
    const members = this.list().filter(({ value }) => value.connectorGroupId === groupId)
    for (const { value } of members) if (value.status === 'inactive') await this.#forget(value.id)
  }

  #hear(message: Message): void {
    const status = parseJson(ConnectorStatus, message.data, message.subject)
    const { connectorId, groupId } = status
    const { store, log } = this.#options
    if (message.subject !== subjects.connectorStatus(groupId, memberIdOf(status))) {
      log.warn({ subject: message.subject, connectorId, groupId }, 'status under a foreign name')
      return
    }
    const before = store.get(connectorId)
    if (!before && store.entries.size >= maxConnectors) {
      log.error({ connectorId }, 'too many connectors, a new one is left out')
      return
    }
    if (before && isOfOlderProcess(before.value, status)) {
      log.warn({ connectorId }, 'two connectors use one id; the one that started later counts')
      return
    }
    this.#lastSeenMs.set(connectorId, Date.now())
    const whole = this.#workers.hear(status, Date.now())
    this.#turn(connectorId, known => afterStatus(known, whole, Date.now()))
  }

  #sweep(): void {
    const { bus, store } = this.#options
    if (!bus.isConnected) return
    for (const connector of store.entries.values()) {
      const { id } = connector
      if (this.#isForgettable(connector)) this.#run(id, () => this.#forgetSilent(id))
      else this.#turn(id, known => known && this.#afterSilence(known))
    }
  }

  get #listenedMs(): number {
    return Date.now() - this.#listeningSinceMs
  }

  #silentMs({ id, lastSeenDateTime }: Connector): number {
    return Date.now() - Math.max(Date.parse(lastSeenDateTime), this.#lastSeenMs.get(id) ?? 0)
  }

  #isForgettable(connector: Connector): boolean {
    const { removeInactiveAfterMs } = this.#options
    return connector.status === 'inactive' && this.#silentMs(connector) > removeInactiveAfterMs
  }

  #afterSilence(connector: Connector): Transition | undefined {
    const isSilent = Math.min(this.#silentMs(connector), this.#listenedMs) > this.#timeoutMs
    return isSilent ? afterSilence(connector) : undefined
  }

  /** Decides once more when the writes before this one are done: what they wrote may make it needless, or needed. */
  #turn(id: string, decide: (known: Connector | undefined) => Transition | undefined): void {
    if (!this.#writing.has(id) && !decide(this.#options.store.get(id)?.value)) return
    this.#run(id, async () => {
      const known = this.#options.store.get(id)
      const transition = decide(known?.value)
      if (!transition) return
      const isOurs = await this.#options.store.replace(id, transition.record, known?.revision)
      if (isOurs && transition.event) this.#tell(transition.record, transition.event)
    })
  }

  #run(id: string, write: () => Promise<void>): void {
    const done = (this.#writing.get(id) ?? Promise.resolve())
      .then(write)
      .catch(error =>
        this.#options.log.warn({ connectorId: id, error }, 'presence was not written'),
      )
      .finally(() => {
        if (this.#writing.get(id) === done) this.#writing.delete(id)
      })
    this.#writing.set(id, done)
  }

  async #forgetSilent(id: string): Promise<void> {
    const known = this.#options.store.get(id)
    if (known && this.#isForgettable(known.value)) await this.#forget(id)
  }

  async #forget(id: string): Promise<void> {
    const { store } = this.#options
    const known = store.get(id)
    if (!known || known.value.status === 'active') return
    this.#lastSeenMs.delete(id)
    if (await store.remove(id, known.revision)) this.#tell(known.value, 'removed')
  }

  #tell(connector: Connector, outcome: ConnectorEvent['outcome']): void {
    const { bus, audit, log } = this.#options
    const { id, connectorGroupId, machineName, version } = connector
    log.info({ connectorId: id, connectorGroupId }, `connector ${outcome}`)
    audit.record({
      category: 'connector',
      outcome,
      connector: id,
      connectorGroup: connectorGroupId,
      machineName,
      version,
      requestId: null,
      user: null,
      session: null,
      application: null,
    })
    if (outcome === 'stopped' || outcome === 'inactive') {
      bus.publishJson(subjects.connectorGone(id), { connectorId: id, reason: outcome })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#resources.dispose()
    await Promise.all(this.#writing.values())
  }
}

/**
 * Which connectors there are and whether they are alive. Every registry listens to every status (not as a queue group:
 * each must know the last sign of life by itself), and all of them write to the bucket by compare-and-set: whoever
 * wins records the audit event. A connector that stopped or fell silent is announced to the gateways.
 */

import type { Audit } from '#infra/audit.ts'
import type { Bus, Message } from '#infra/bus.ts'
import {
  type Connector,
  ConnectorStatus,
  connectorIdOf,
  memberIdOf,
  statusTimeoutMs,
} from '#infra/contracts/connector.ts'
import { parseJson } from '#infra/json.ts'
import type { Logger } from '#infra/log.ts'
import { type SeldomLog, seldom } from '#infra/seldom-log.ts'
import { Standstill } from '#infra/standstill.ts'
import { subjects } from '#infra/subjects.ts'
import { type ConnectorChange, ConnectorRecords } from './connector-records.ts'
import { afterSilence, afterStatus, isOfOlderProcess, type Transition } from './presence.ts'
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
  /** True: connectors exist by enrolment alone, and what others report is not listened to. */
  isEnrolmentRequired?: boolean
  /** Whether a connector has said more than any does: then it is not listened to. */
  isTooMuch?: (message: Message) => boolean
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
  /** It has connected from this address. */
  connected(memberId: string, address: string): void
  /** Writes a record whatever else is written at the same time. True when something was written. */
  change(id: string, change: ConnectorChange): Promise<boolean>
  /** Takes a record away, and returns it as it was. Refuses when there is none, and when `check` throws. */
  remove(id: string, check?: (known: Connector) => void): Promise<Connector>
  /** Forgets the inactive connectors of a group that is gone. */
  forgetGroup(groupId: string): Promise<void>
}

const sweepIntervalMs = 1_000

/** Where everything was off, as over holidays, connectors start when this registry does: so long they have to report. */
const returnMs = 600_000

/** More than this many connectors are not recorded: somebody invents them. */
const maxConnectors = 20_000

export function openConnectors(options: ConnectorsOptions): Connectors {
  return new Presence(options)
}

class Presence implements Connectors {
  readonly #options: ConnectorsOptions
  readonly #timeoutMs: number
  readonly #workers: Workers
  readonly #records: ConnectorRecords
  readonly #warn: SeldomLog
  /** By the monotonic clock: a wall clock that is set makes nobody silent. */
  readonly #heardAtMs = new Map<string, number>()
  /** Where each was last seen to connect from: a connector may connect before it has a record. */
  readonly #addresses = new Map<string, string>()
  readonly #resources = new DisposableStack()
  /** Silence before this moment proves nothing: this registry was not listening. */
  #listeningSinceMs = performance.now()
  readonly #standstill = new Standstill(sweepIntervalMs)

  constructor(options: ConnectorsOptions) {
    this.#options = options
    const { bus } = options
    this.#timeoutMs = options.timeoutMs ?? statusTimeoutMs
    this.#workers = new Workers(this.#timeoutMs)
    this.#records = new ConnectorRecords(options)
    this.#warn = seldom(options.log)
    const subscription = bus.subscribe(subjects.connectorStatuses, {
      callback: message => this.#hear(message),
    })
    this.#resources.defer(() => subscription.unsubscribe())
    this.#resources.defer(
      bus.onStatus(() => {
        this.#listeningSinceMs = performance.now()
      }),
    )
    this.#resources.defer(
      options.store.onChange(changes => {
        for (const { key, before, after } of changes) {
          if (!after) this.#forget(key)
          else if (after.lastSeenDateTime !== before?.lastSeenDateTime) this.#heard(key)
        }
      }),
    )
    const timer = setInterval(() => this.#sweep(), sweepIntervalMs)
    this.#resources.defer(() => clearInterval(timer))
  }

  list(): Versioned<Connector>[] {
    return this.#options.store.list()
  }

  get(id: string): Versioned<Connector> {
    return this.#records.get(id)
  }

  lost(memberId: string): void {
    const connectorId = connectorIdOf(memberId)
    this.#options.bus.publishJson(subjects.connectorGone(memberId), {
      connectorId,
      reason: 'disconnected',
    })
    const others = this.#workers.forget(connectorId, memberId)
    // One that was removed does not come back by what its other workers said last.
    if (others)
      return this.#records.turn(
        connectorId,
        known => known && afterStatus(known, others, Date.now()),
      )
    // A registry that has just started has not heard of the other workers yet; their silence would tell.
    if (memberId !== connectorId && this.#listenedMs < this.#timeoutMs) return
    this.#heardAtMs.delete(connectorId)
    this.#records.turn(connectorId, known => known && afterSilence(known, 'lost'))
  }

  connected(memberId: string, address: string): void {
    const id = connectorIdOf(memberId)
    if (this.#addresses.has(id) || this.#addresses.size < maxConnectors)
      this.#addresses.set(id, address)
    this.#records.turn(id, known => {
      const isNews = known !== undefined && known.externalIp !== address
      return isNews ? { record: { ...known, externalIp: address }, event: undefined } : undefined
    })
  }

  change(id: string, change: ConnectorChange): Promise<boolean> {
    return this.#records.change(id, change)
  }

  remove(id: string, check?: (known: Connector) => void): Promise<Connector> {
    return this.#records.remove(id, check)
  }

  async forgetGroup(groupId: string): Promise<void> {
    const isIdle = ({ status, certificates }: Connector) =>
      status === 'inactive' && certificates.length === 0
    for (const { value } of this.list()) {
      if (value.connectorGroupId === groupId) await this.#records.forget(value.id, isIdle)
    }
  }

  #hear(message: Message): void {
    if (this.#options.isTooMuch?.(message)) return
    const status = parseJson(ConnectorStatus, message.data, message.subject)
    const { connectorId, groupId } = status
    const { store, log, isEnrolmentRequired } = this.#options
    if (message.subject !== subjects.connectorStatus(groupId, memberIdOf(status))) {
      const { subject } = message
      this.#warn(subject, { subject, connectorId, groupId }, 'status under a foreign name')
      return
    }
    const before = store.get(connectorId)
    if (!before && isEnrolmentRequired) {
      const what = 'a connector that is not enrolled, or was removed, reports'
      this.#warn(message.subject, { connectorId }, what)
      return
    }
    if (!before && store.entries.size >= maxConnectors) {
      log.error({ connectorId }, 'too many connectors, a new one is left out')
      return
    }
    if (before && isOfOlderProcess(before.value, status)) {
      const what = 'two connectors use one id; the one that started later counts'
      this.#warn(message.subject, { connectorId }, what)
      return
    }
    this.#heard(connectorId)
    const whole = this.#workers.hear(status, performance.now())
    this.#records.turn(connectorId, known => {
      // Removed since: what it said last does not bring it back.
      const isUnknown = !known && isEnrolmentRequired
      const transition = isUnknown ? undefined : afterStatus(known, whole, Date.now())
      return transition && this.#withAddress(transition)
    })
  }

  #heard(id: string): void {
    this.#heardAtMs.set(id, performance.now())
  }

  #forget(id: string): void {
    this.#workers.forgetAll(id)
    this.#heardAtMs.delete(id)
    this.#addresses.delete(id)
  }

  #withAddress({ record, event }: Transition): Transition {
    const externalIp = this.#addresses.get(record.id) ?? record.externalIp
    return { record: { ...record, externalIp }, event }
  }

  #sweep(): void {
    const { bus, store } = this.#options
    const stoodStillMs = this.#standstill.lastedMs(performance.now())
    if (!bus.isConnected) return
    for (const connector of store.entries.values()) {
      const { id } = connector
      if (this.#isForgettable(connector))
        void this.#records.forget(id, known => this.#isForgettable(known))
      else this.#records.turn(id, known => known && this.#afterSilence(known, stoodStillMs))
    }
  }

  get #listenedMs(): number {
    return performance.now() - this.#listeningSinceMs
  }

  #heardAgoMs(id: string): number {
    return performance.now() - (this.#heardAtMs.get(id) ?? Number.NEGATIVE_INFINITY)
  }

  /** One that an administrator has disabled waits for the administrator. */
  #isForgettable(connector: Connector): boolean {
    const { id, status, isEnabled, lastSeenDateTime } = connector
    if (status === 'active' || !isEnabled) return false
    const { removeInactiveAfterMs } = this.#options
    const silentMs = Math.min(Date.now() - Date.parse(lastSeenDateTime), this.#heardAgoMs(id))
    if (silentMs <= removeInactiveAfterMs) return false
    return hasExpired(connector) || this.#listenedMs > Math.min(returnMs, removeInactiveAfterMs)
  }

  #afterSilence(connector: Connector, stoodStillMs: number): Transition | undefined {
    const silentMs = Math.min(this.#heardAgoMs(connector.id), this.#listenedMs) - stoodStillMs
    const isSilent = silentMs > this.#timeoutMs
    return isSilent ? afterSilence(connector) : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#resources.dispose()
    await this.#records[Symbol.asyncDispose]()
  }
}

/** It cannot come back by itself. */
function hasExpired({ certificates }: Connector): boolean {
  const nowMs = Date.now()
  return (
    certificates.length > 0 && certificates.every(({ notAfter }) => Date.parse(notAfter) < nowMs)
  )
}

/**
 * Which members of a group are alive, connectors or each of their workers, as their own status messages and registry's
 * loss events say.
 */

import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import {
  ConnectorStatus,
  connectorIdOf,
  memberIdOf,
  statusTimeoutMs,
} from '#infra/contracts/connector.ts'
import { parseJson } from '#infra/json.ts'
import { Standstill } from '#infra/standstill.ts'
import { subjects } from '#infra/subjects.ts'

export interface Members extends Disposable {
  /** Members of the group that are up, whether or not they are in its queue now. */
  liveIn(groupId: string): number
  /** Whether any of them has been heard since the bus was away last. */
  isHeardIn(groupId: string): boolean
  /** Calls back with the id of each member that stopped, was lost, or fell silent. */
  onGone(listener: GoneListener): void
  /** Asks members that hold back to come: nobody else is in the group's queue. */
  call(groupId: string): void
}

/** Barred: an administrator has disabled or removed it, and nothing more may come from it. */
export type GoneListener = (memberId: string, isBarred: boolean) => void

const Gone = z.object({ reason: z.string() })
const barring = ['disabled', 'removed']

/** Whoever ends for a reason that cannot be read is barred too. */
function isBarring(data: Buffer): boolean {
  try {
    return barring.includes(parseJson(Gone, data, 'end of a connector').reason)
  } catch {
    return true
  }
}

/** Requests that find the queue empty at about the same time call once. */
const callIntervalMs = 20

const sweepMs = 1_000

export function followMembers(bus: Bus): Members {
  return new Followed(bus)
}

class Followed implements Members {
  readonly #bus: Bus
  /** When each member of each group was last heard. */
  readonly #groups = new Map<string, Map<string, number>>()
  /** A member serves one group: it leaves the one before when it is heard in another. */
  readonly #groupOf = new Map<string, string>()
  /** When the process of each member started, by the clock of its host. */
  readonly #startedAt = new Map<string, number>()
  readonly #listeners: GoneListener[] = []
  readonly #calledAt = new Map<string, number>()
  readonly #resources = new DisposableStack()
  /** Silence before this moment proves nothing: this gateway was not listening. */
  #listeningSince = performance.now()
  readonly #standstill = new Standstill(sweepMs)

  constructor(bus: Bus) {
    this.#bus = bus
    const offStatus = bus.onStatus(() => {
      this.#listeningSince = performance.now()
    })
    this.#resources.defer(offStatus)
    const statuses = bus.subscribe(subjects.connectorStatuses, {
      callback: message => {
        const status = parseJson(ConnectorStatus, message.data, 'connector status')
        // The bus lets nobody use another's subject, and says nothing of what is in the message.
        if (message.subject !== subjects.connectorStatus(status.groupId, memberIdOf(status))) return
        if (!this.#isOfYoungest(status)) return
        if (status.state === 'stopped') this.#forget(memberIdOf(status))
        else this.#heard(memberIdOf(status), status.groupId)
      },
    })
    const gone = bus.subscribe(subjects.connectorsGone, {
      callback: ({ subject, data }) => {
        this.#gone(subject.slice(subject.lastIndexOf('.') + 1), isBarring(data))
      },
    })
    const sweeper = setInterval(() => this.#sweep(), sweepMs)
    this.#resources.defer(() => clearInterval(sweeper))
    this.#resources.defer(() => statuses.unsubscribe())
    this.#resources.defer(() => gone.unsubscribe())
  }

  liveIn(groupId: string): number {
    return this.#groups.get(groupId)?.size ?? 0
  }

  isHeardIn(groupId: string): boolean {
    const members = this.#groups.get(groupId)?.values() ?? []
    return [...members].some(heardAt => heardAt >= this.#listeningSince)
  }

  onGone(listener: GoneListener): void {
    this.#listeners.push(listener)
  }

  call(groupId: string): void {
    const now = performance.now()
    if (now - (this.#calledAt.get(groupId) ?? Number.NEGATIVE_INFINITY) < callIntervalMs) return
    this.#calledAt.set(groupId, now)
    this.#bus.publish(subjects.wanted(groupId), new Uint8Array(0))
  }

  /**
   * Of two processes with one id the one that started later counts, as for registry. What the other had under way is lost:
   * it was ended by force, and the bus has not noticed that its connection is gone.
   */
  #isOfYoungest(status: ConnectorStatus): boolean {
    const memberId = memberIdOf(status)
    const startedAt = Date.parse(status.startedDateTime)
    const knownAt = this.#startedAt.get(memberId) ?? startedAt
    if (startedAt < knownAt) return false
    if (startedAt > knownAt) this.#forget(memberId)
    this.#startedAt.set(memberId, startedAt)
    return true
  }

  #heard(memberId: string, groupId: string): void {
    const before = this.#groupOf.get(memberId)
    // What it has under way there goes on: it moves, and finishes first.
    if (before !== undefined && before !== groupId) this.#groups.get(before)?.delete(memberId)
    const members = this.#groups.get(groupId) ?? new Map<string, number>()
    members.set(memberId, performance.now())
    this.#groups.set(groupId, members)
    this.#groupOf.set(memberId, groupId)
  }

  /** A worker, or a connector with all of its workers. */
  #gone(id: string, isBarred: boolean): void {
    const workers = [...this.#groupOf.keys()].filter(memberId => connectorIdOf(memberId) === id)
    // Also one that this gateway has not heard of yet: it may have taken an exchange.
    for (const memberId of new Set([id, ...workers])) this.#forget(memberId, isBarred)
  }

  #forget(memberId: string, isBarred = false): void {
    const groupId = this.#groupOf.get(memberId)
    if (groupId !== undefined) this.#groups.get(groupId)?.delete(memberId)
    this.#groupOf.delete(memberId)
    this.#startedAt.delete(memberId)
    for (const listener of this.#listeners) listener(memberId, isBarred)
  }

  #sweep(): void {
    const now = performance.now()
    const stoodStillMs = this.#standstill.lastedMs(now)
    // While the bus is away nobody can be heard, which says nothing about anybody.
    if (!this.#bus.isConnected) return
    const silentSince = now - statusTimeoutMs - stoodStillMs
    if (this.#listeningSince > silentSince) return
    for (const members of this.#groups.values()) {
      for (const [memberId, heardAt] of members) if (heardAt < silentSince) this.#forget(memberId)
    }
  }

  [Symbol.dispose](): void {
    this.#resources.dispose()
  }
}

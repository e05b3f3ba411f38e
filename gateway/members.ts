/**
 * Which members of a group are alive, connectors or each of their workers, as their own status messages and registry's
 * loss events say.
 */

import { type Bus, parseJson } from '#infra/bus.ts'
import { ConnectorStatus, memberIdOf, statusTimeoutMs } from '#infra/contracts/connector.ts'
import { subjects } from '#infra/subjects.ts'

export interface Members extends Disposable {
  /** Members of the group that are up, whether or not they are in its queue now. */
  liveIn(groupId: string): number
  /** Calls back with the id of each member that stopped, was lost, or fell silent. */
  onGone(listener: (memberId: string) => void): void
  /** Asks members that hold back to come: nobody else is in the group's queue. */
  call(groupId: string): void
}

/** Requests that find the queue empty at about the same time call once. */
const callIntervalMs = 20

const sweepMs = 1_000

export function followMembers(bus: Bus): Members {
  const groups = new Map<string, Map<string, number>>()
  const listeners: ((memberId: string) => void)[] = []
  const calledAt = new Map<string, number>()
  const forget = (memberId: string) => {
    for (const members of groups.values()) members.delete(memberId)
    // Also for one that this gateway has not heard of yet: it may have taken an exchange.
    for (const listener of listeners) listener(memberId)
  }
  const statuses = bus.subscribe(subjects.connectorStatuses, {
    callback: message => {
      const status = parseJson(ConnectorStatus, message.data, 'connector status')
      const memberId = memberIdOf(status)
      if (status.state === 'stopped') return forget(memberId)
      const members = groups.get(status.groupId) ?? new Map<string, number>()
      members.set(memberId, performance.now())
      groups.set(status.groupId, members)
    },
  })
  const gone = bus.subscribe(subjects.connectorsGone, {
    callback: ({ subject }) => forget(subject.slice(subject.lastIndexOf('.') + 1)),
  })
  const sweeper = setInterval(() => {
    // While the bus is away nobody can be heard, which says nothing about anybody.
    if (!bus.isConnected) return
    const silentSince = performance.now() - statusTimeoutMs
    for (const members of groups.values()) {
      for (const [memberId, heardAt] of members) if (heardAt < silentSince) forget(memberId)
    }
  }, sweepMs)
  return {
    liveIn: groupId => groups.get(groupId)?.size ?? 0,
    onGone: listener => listeners.push(listener),
    call(groupId) {
      const now = performance.now()
      if (now - (calledAt.get(groupId) ?? Number.NEGATIVE_INFINITY) < callIntervalMs) return
      calledAt.set(groupId, now)
      bus.publish(subjects.wanted(groupId), new Uint8Array(0))
    },
    [Symbol.dispose]() {
      clearInterval(sweeper)
      statuses.unsubscribe()
      gone.unsubscribe()
    },
  }
}

/**
 * The last status of each worker of each connector, summed: administrators see one connector however many processes it
 * consists of. Kept in memory only; a registry that has just started knows all workers when each has reported once.
 */

import {
  type CarriedFor,
  type ConnectorStatus,
  maxCarriedFor,
  memberIdOf,
} from '#infra/contracts/connector.ts'

interface Report {
  readonly status: ConnectorStatus
  readonly heardAtMs: number
  /** Since when it has named the group that it names. */
  readonly inGroupSinceMs: number
}

export class Workers {
  readonly #timeoutMs: number
  readonly #connectors = new Map<string, Map<string, Report>>()

  /** A worker that was silent for so long counts no more. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /** What the connector as a whole reports with this status of one of its workers. */
  hear(status: ConnectorStatus, nowMs: number): ConnectorStatus {
    const { connectorId, startedDateTime } = status
    const memberId = memberIdOf(status)
    const before = this.#connectors.get(connectorId)?.get(memberId)
    const isInSameGroup = before?.status.groupId === status.groupId
    const inGroupSinceMs = isInSameGroup ? before.inGroupSinceMs : nowMs
    const reports = new Map<string, Report>()
    for (const [id, report] of this.#connectors.get(connectorId) ?? []) {
      const isOfThisStart = report.status.startedDateTime === startedDateTime
      if (isOfThisStart && nowMs - report.heardAtMs < this.#timeoutMs) reports.set(id, report)
    }
    if (status.state === 'stopped') reports.delete(memberId)
    else reports.set(memberId, { status, heardAtMs: nowMs, inGroupSinceMs })
    this.#keep(connectorId, reports)
    return sumOf([...reports.values()], status)
  }

  /** What the connector reports without this worker; undefined when no other is known. */
  forget(connectorId: string, memberId: string): ConnectorStatus | undefined {
    const reports = this.#connectors.get(connectorId) ?? new Map<string, Report>()
    reports.delete(memberId)
    this.#keep(connectorId, reports)
    const [first] = reports.values()
    return first && sumOf([...reports.values()], first.status)
  }

  /** Nothing that was said of it counts any more: whoever comes under its name is another connector. */
  forgetAll(connectorId: string): void {
    this.#connectors.delete(connectorId)
  }

  #keep(connectorId: string, reports: Map<string, Report>): void {
    if (reports.size > 0) this.#connectors.set(connectorId, reports)
    else this.#connectors.delete(connectorId)
  }
}

/** A connector that consists of one process reports for itself; so does the last worker that stops. */
function sumOf(reports: readonly Report[], latest: ConnectorStatus): ConnectorStatus {
  const { worker, ...rest } = latest
  if (worker === undefined) return latest
  if (reports.length === 0) return rest
  const statuses = reports.map(({ status }) => status)
  const total = (name: 'openExchanges' | 'maxExchanges' | 'exchangesServed' | 'carriedBytes') =>
    sum(statuses.map(status => status[name]))
  const notReady = new Map(
    statuses.flatMap(status => status.notReady.map(entry => [entry.applicationId, entry])),
  )
  return {
    ...rest,
    groupId: groupOf(reports),
    state: stateOf(statuses),
    openExchanges: total('openExchanges'),
    maxExchanges: total('maxExchanges'),
    exchangesServed: total('exchangesServed'),
    lastExchangeDateTime: latestOf(statuses.map(status => status.lastExchangeDateTime)),
    carriedBytes: total('carriedBytes'),
    lastByteDateTime: latestOf(statuses.map(status => status.lastByteDateTime)),
    carried: carriedByAll(statuses),
    notReady: [...notReady.values()],
    problems: [...new Set(statuses.flatMap(({ problems }) => problems))].slice(0, 10),
  }
}

/** It serves while any of its workers does. */
function stateOf(statuses: readonly ConnectorStatus[]): ConnectorStatus['state'] {
  const states = ['serving', 'saturated', 'draining'] as const
  return states.find(state => statuses.some(status => status.state === state)) ?? 'stopped'
}

/** On its way to another group it is where the last of its workers still is. */
function groupOf(reports: readonly Report[]): string {
  const [last] = reports.toSorted((one, other) => one.inGroupSinceMs - other.inGroupSinceMs)
  return (last as Report).status.groupId
}

/** A larger number could not be read again, and with it the whole record: the connector would be out of sight. */
function sum(numbers: readonly number[]): number {
  const all = numbers.reduce((total, number) => total + number, 0)
  return Math.min(all, Number.MAX_SAFE_INTEGER)
}

function latestOf(times: readonly (string | null)[]): string | null {
  return times.reduce((latest, time) => ((time ?? '') > (latest ?? '') ? time : latest), null)
}

function carriedByAll(statuses: readonly ConnectorStatus[]): CarriedFor[] {
  const all = statuses.flatMap(({ carried }) => carried)
  const byApplication = Map.groupBy(all, ({ applicationId }) => applicationId)
  const sums = [...byApplication].map(([applicationId, parts]) => ({
    applicationId,
    exchanges: sum(parts.map(({ exchanges }) => exchanges)),
    bytes: sum(parts.map(({ bytes }) => bytes)),
    lastByteDateTime: latestOf(parts.map(({ lastByteDateTime }) => lastByteDateTime)),
  }))
  const latestFirst = (one: CarriedFor, other: CarriedFor) =>
    (other.lastByteDateTime ?? '').localeCompare(one.lastByteDateTime ?? '')
  return sums.sort(latestFirst).slice(0, maxCarriedFor)
}

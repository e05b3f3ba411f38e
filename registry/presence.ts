/**
 * What a connector's status makes of what the registry knows about it: pure, so that every registry comes to the same
 * result. The one whose write wins tells of it.
 */

import type { ConnectorEvent } from '#infra/contracts/audit.ts'
import type { Connector, ConnectorStatus } from '#infra/contracts/connector.ts'

export interface Transition {
  readonly record: Connector
  /** What is worth an audit event, if anything is. */
  readonly event: ConnectorEvent['outcome'] | undefined
}

/** The bucket shows load and last sign of life at most this much too old. */
export const writeIntervalMs = 10_000

/** Undefined when the status says nothing that has to be written now. */
export function afterStatus(
  before: Connector | undefined,
  status: ConnectorStatus,
  nowMs: number,
): Transition | undefined {
  if (before && isOfOlderProcess(before, status)) return undefined
  const record: Connector = {
    id: status.connectorId,
    connectorGroupId: status.groupId,
    machineName: status.machineName,
    version: status.version,
    status: status.state === 'stopped' ? 'inactive' : 'active',
    lastSeenDateTime: new Date(nowMs).toISOString(),
    lastStatus: status,
  }
  const event = eventOf(before, record)
  const isNews = event !== undefined || differs(before, record)
  const isDue = before && nowMs - Date.parse(before.lastSeenDateTime) >= writeIntervalMs
  return isNews || isDue ? { record, event } : undefined
}

/** A connector that has been silent for too long. */
export function afterSilence(before: Connector): Transition | undefined {
  if (before.status === 'inactive') return undefined
  return { record: { ...before, status: 'inactive' }, event: 'inactive' }
}

/** Two processes with one id: the younger one counts while it is active. */
export function isOfOlderProcess(before: Connector, status: ConnectorStatus): boolean {
  return (
    before.status === 'active' &&
    Date.parse(status.startedDateTime) < Date.parse(before.lastStatus.startedDateTime)
  )
}

function eventOf(before: Connector | undefined, after: Connector): Transition['event'] {
  const { state, startedDateTime } = after.lastStatus
  const isSameProcess = before?.lastStatus.startedDateTime === startedDateTime
  if (state === 'stopped') {
    return isSameProcess && before.lastStatus.state === 'stopped' ? undefined : 'stopped'
  }
  if (!isSameProcess) return 'started'
  if (state === 'draining' && before.lastStatus.state !== 'draining') return 'draining'
  return before.status === 'inactive' ? 'active' : undefined
}

function differs(before: Connector | undefined, after: Connector): boolean {
  return (
    before === undefined ||
    before.status !== after.status ||
    before.connectorGroupId !== after.connectorGroupId ||
    before.version !== after.version ||
    before.lastStatus.state !== after.lastStatus.state ||
    before.lastStatus.maxExchanges !== after.lastStatus.maxExchanges
  )
}

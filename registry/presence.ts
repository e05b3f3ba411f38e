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
  // What a connector still says after an administrator disabled it does not make it active.
  if (before && (!before.isEnabled || isOfOlderProcess(before, status))) return undefined
  const record: Connector = {
    ...(before ?? unknownBefore),
    id: status.connectorId,
    connectorGroupId: isPlaced(before) ? before.connectorGroupId : status.groupId,
    machineName: status.machineName,
    version: status.version,
    status: status.state === 'stopped' ? 'inactive' : 'active',
    lastSeenDateTime: new Date(nowMs).toISOString(),
    lastStatus: status,
  }
  const event = eventOf(before, record, status)
  const isNews = event !== undefined || differs(before, record)
  const isDue = before && nowMs - Date.parse(before.lastSeenDateTime) >= writeIntervalMs
  return isNews || isDue ? { record, event } : undefined
}

const unknownBefore = {
  isEnabled: true,
  certificates: [],
  enrolledDateTime: null,
  movedDateTime: null,
  externalIp: null,
} satisfies Partial<Connector>

/** A connector that has been silent for too long, or that the bus has lost. */
export function afterSilence(
  before: Connector,
  event: 'inactive' | 'lost' = 'inactive',
): Transition | undefined {
  if (before.status === 'inactive') return undefined
  return { record: { ...before, status: 'inactive' }, event }
}

/** Its group is the administrator's choice, at enrolment or later; what the connector itself names does not count. */
export function isPlaced(connector: Connector | undefined): connector is Connector {
  return (
    connector !== undefined &&
    (connector.movedDateTime !== null || connector.certificates.length > 0)
  )
}

/** Two processes with one id: the younger one counts while it is active. */
export function isOfOlderProcess(before: Connector, status: ConnectorStatus): boolean {
  return (
    before.status === 'active' &&
    before.lastStatus !== null &&
    Date.parse(status.startedDateTime) < Date.parse(before.lastStatus.startedDateTime)
  )
}

function eventOf(
  before: Connector | undefined,
  after: Connector,
  { state, startedDateTime }: ConnectorStatus,
): Transition['event'] {
  const last = before?.lastStatus
  const isSameProcess = last?.startedDateTime === startedDateTime
  if (state === 'stopped') return isSameProcess && last.state === 'stopped' ? undefined : 'stopped'
  if (!isSameProcess) return 'started'
  if (state === 'draining' && last.state !== 'draining') return 'draining'
  return before?.status === 'inactive' && after.status === 'active' ? 'active' : undefined
}

function differs(before: Connector | undefined, after: Connector): boolean {
  const [last, latest] = [before?.lastStatus, after.lastStatus]
  return (
    before === undefined ||
    before.status !== after.status ||
    before.connectorGroupId !== after.connectorGroupId ||
    before.version !== after.version ||
    last?.groupId !== latest?.groupId ||
    last?.state !== latest?.state ||
    last?.maxExchanges !== latest?.maxExchanges ||
    troublesOf(last) !== troublesOf(latest)
  )
}

/** Whoever looks after the connector wants to hear of them at once, and of their end. */
function troublesOf(status: ConnectorStatus | null | undefined): string {
  return JSON.stringify([status?.notReady ?? [], status?.problems ?? []])
}

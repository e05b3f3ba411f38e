/**
 * The audit of who was refused at the bus and who was cut off. A client that is refused comes back again and again, so
 * that the same refusal is recorded once a minute, and all of them at a bounded rate.
 */

import { LRUCache } from 'lru-cache'
import type { Audit } from '#infra/audit.ts'
import type { ConnectorEvent } from '#infra/contracts/audit.ts'
import type { Connector, MisbehaviourKind } from '#infra/contracts/connector.ts'
import type { Logger } from '#infra/log.ts'
import type { State } from '../store.ts'
import type { RefusalReason, Refused } from './admission.ts'

export interface RecordOptions {
  connectors: State<Connector>
  audit: Audit
  log: Logger
}

const sameAgainMs = 60_000
const maxRemembered = 2_000
/** Of different refusals; and so many of them at once. */
const perSecond = 10

export function recordAccess({ connectors, audit, log }: RecordOptions) {
  const told = new LRUCache<string, true>({ max: maxRemembered, ttl: sameAgainMs })
  let allowance = perSecond
  let countedAt = performance.now()
  const mayTell = (key: string) => {
    const now = performance.now()
    allowance = Math.min(perSecond, allowance + ((now - countedAt) / 1_000) * perSecond)
    countedAt = now
    if (told.has(key) || allowance < 1) return false
    allowance--
    told.set(key, true)
    return true
  }
  const tell = (
    outcome: ConnectorEvent['outcome'],
    connectorId: string,
    more: Pick<ConnectorEvent, 'reason' | 'clientAddress'>,
  ) => {
    const record = connectors.get(connectorId)?.value
    audit.record({
      category: 'connector',
      outcome,
      connector: connectorId,
      connectorGroup: record?.connectorGroupId ?? '-',
      machineName: record?.machineName ?? '-',
      version: record?.version ?? '-',
      requestId: null,
      user: null,
      session: null,
      application: null,
      ...more,
    })
  }
  return {
    refused({ connectorId = '-', reason }: Refused, clientAddress: string): void {
      if (!mayTell(`${connectorId} ${reason} ${clientAddress}`)) return
      log.warn({ connectorId, reason, clientAddress }, 'a connector was refused at the bus')
      tell('refused', connectorId, { reason, clientAddress })
    },
    cutOff(connectorId: string, reason: RefusalReason | MisbehaviourKind): void {
      if (!mayTell(`cut ${connectorId} ${reason}`)) return
      log.warn({ connectorId, reason }, 'a connector was cut off from the bus')
      tell('cut_off', connectorId, { reason })
    },
  }
}

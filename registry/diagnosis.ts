/**
 * Asks all connectors of an application's group, and of its standby group, what they find on the way to it, and collects
 * what they say until each of them has spoken, or time is up: then silence is what was found.
 */

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '#infra/bus.ts'
import { type Application, groupIdsOf } from '#infra/contracts/application.ts'
import type { Connector } from '#infra/contracts/connector.ts'
import {
  DiagnosisReport,
  type DiagnosisRequest,
  diagnosisMs,
  type Hop,
} from '#infra/contracts/diagnosis.ts'
import { parseJson } from '#infra/json.ts'
import { subjects } from '#infra/subjects.ts'
import type { Connectors } from './connectors.ts'

export interface ConnectorDiagnosis {
  readonly id: string
  readonly connectorGroupId: string
  readonly hops: readonly Hop[]
}

export type Diagnose = (
  application: Application,
  user: string | null,
) => Promise<ConnectorDiagnosis[]>

export function openDiagnoses(bus: Bus, connectors: Connectors): Diagnose {
  return async (application, user) => {
    const ask = (groupId: string) => diagnoseGroup(bus, connectors, { groupId, application, user })
    return (await Promise.all(groupIdsOf(application).map(ask))).flat()
  }
}

interface GroupQuestion {
  readonly groupId: string
  readonly application: Application
  readonly user: string | null
}

async function diagnoseGroup(
  bus: Bus,
  connectors: Connectors,
  { groupId: connectorGroupId, application, user }: GroupQuestion,
): Promise<ConnectorDiagnosis[]> {
  const members = connectors
    .list()
    .map(({ value }) => value)
    .filter(each => each.connectorGroupId === connectorGroupId)
  const active = members.filter(({ status }) => status === 'active').map(({ id }) => id)
  const found = await collect(bus, connectorGroupId, {
    request: { diagnosisId: randomUUID(), applicationId: application.id, user },
    expected: new Set(active),
  })
  return members.map(member => {
    const { id } = member
    return { id, connectorGroupId, hops: found.get(id) ?? [unheard(member)] }
  })
}

function unheard({ id, status, isEnabled }: Connector): Hop {
  if (!isEnabled) return { ...disabled, fix: `sallyport enable-connector ${id} lets it return.` }
  return status === 'active' ? silent : inactive
}

const disabled: Hop = { hop: 'connector', outcome: 'failed', detail: 'it is disabled' }

const silent: Hop = {
  hop: 'connector',
  outcome: 'failed',
  detail: 'it does not answer',
  fix: 'Look at its log. A connector of an older version cannot be asked.',
}

const inactive: Hop = {
  hop: 'connector',
  outcome: 'failed',
  detail: 'it is not connected',
  fix: 'Start it, and look at its log if it runs: can its host reach the bus, is its certificate valid?',
}

interface Asked {
  readonly request: DiagnosisRequest
  /** Whoever else reports is no member, or a second worker. */
  readonly expected: ReadonlySet<string>
}

async function collect(
  bus: Bus,
  groupId: string,
  { request, expected }: Asked,
): Promise<Map<string, Hop[]>> {
  const found = new Map<string, Hop[]>()
  if (expected.size === 0) return found
  const { promise: isWhole, resolve } = Promise.withResolvers<void>()
  const subscription = bus.subscribe(subjects.diagnosisReports, {
    callback: message => {
      const report = parseJson(DiagnosisReport, message.data, 'diagnosis report')
      const { diagnosisId, connectorId, hops } = report
      const sender = message.subject.slice(message.subject.lastIndexOf('.') + 1)
      const isOwn = sender === connectorId || sender.startsWith(`${connectorId}_`)
      if (diagnosisId !== request.diagnosisId || !isOwn || !expected.has(connectorId)) return
      if (!found.has(connectorId)) found.set(connectorId, hops)
      if (found.size === expected.size) resolve()
    },
  })
  try {
    await bus.connection.flush()
    bus.publishJson(subjects.diagnosisOf(groupId), request)
    await Promise.race([isWhole, sleep(diagnosisMs, undefined, { ref: false })])
    return found
  } finally {
    subscription.unsubscribe()
  }
}

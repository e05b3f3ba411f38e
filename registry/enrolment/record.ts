/** Audit of enrolment: who got a certificate, and who was refused one for which reason. */

import type { ConnectorEvent } from '#infra/contracts/audit.ts'
import { asSallyportError } from '#infra/errors.ts'
import type { EnrolmentContext } from './context.ts'

export interface Concerned {
  connectorId?: string | undefined
  connectorGroupId?: string | undefined
  machineName?: string | undefined
  version?: string | undefined
  clientAddress?: string | undefined
}

type Outcome = Extract<ConnectorEvent['outcome'], 'enrolled' | 'renewed' | 'refused'>

export function recordConnector(
  { audit, log }: Pick<EnrolmentContext, 'audit' | 'log'>,
  outcome: Outcome,
  { connectorId, connectorGroupId, machineName, version, clientAddress }: Concerned,
  reason?: string,
): void {
  log.info({ connectorId, connectorGroupId, clientAddress, reason }, `connector ${outcome}`)
  audit.record({
    category: 'connector',
    outcome,
    connector: connectorId ?? '',
    connectorGroup: connectorGroupId ?? '',
    machineName: machineName ?? '',
    version: version ?? '',
    clientAddress: clientAddress ?? null,
    reason: reason ?? null,
    requestId: null,
    user: null,
    session: null,
    application: null,
  })
}

/** Runs a step; a refusal is recorded with what is known of whom it concerns by then. */
export async function recordingRefusal<Result>(
  context: Pick<EnrolmentContext, 'audit' | 'log'>,
  concerned: Concerned,
  step: () => Promise<Result>,
): Promise<Result> {
  try {
    return await step()
  } catch (error) {
    const { code, fault } = asSallyportError(error)
    // What may succeed when it is repeated is no refusal.
    if (!fault.retryable && fault.status < 500) recordConnector(context, 'refused', concerned, code)
    throw error
  }
}

/**
 * Where this connector belongs, as the registry states it: asked for with each new connection and whenever the registry
 * says that something has changed. The configuration's word on the group counts only on a bus without enrolment.
 */

import type { Bus } from '#infra/bus.ts'
import { Placement } from '#infra/contracts/connector.ts'
import { SallyportError } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import { type Statements, untilAnswered } from './statements.ts'

export interface PlacementQuestion {
  statements: Statements
  connectorId: string
  wishedGroupId: string
  log: Logger
  signal: AbortSignal
}

/** Asks until a registry has answered, or the question's `signal` aborts. */
export function askPlacement(question: PlacementQuestion): Promise<Placement> {
  return untilAnswered(() => askOnce(question), question)
}

async function askOnce({
  statements,
  connectorId,
  wishedGroupId,
}: PlacementQuestion): Promise<Placement> {
  const placement = await statements.ask(subjects.placementRequest(connectorId), {
    type: 'placement',
    said: Placement,
    request: { wishedGroupId },
  })
  if (placement.connectorId === connectorId) return placement
  throw new SallyportError('protocol_error', `the placement of "${placement.connectorId}"`)
}

/** Calls back when it is time to ask: the connection has come back, or the registry says so. */
export function followPlacement(bus: Bus, connectorId: string, onNews: () => void): Disposable {
  const told = bus.subscribe(subjects.placementOf(connectorId), { callback: onNews })
  const offStatus = bus.onStatus(status => status === 'connected' && onNews())
  return {
    [Symbol.dispose]() {
      told.unsubscribe()
      offStatus()
    },
  }
}

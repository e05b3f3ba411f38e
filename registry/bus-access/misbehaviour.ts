/**
 * What gateways, or this registry itself, have seen a connector do and the bus cannot refuse: it is disabled, which
 * cuts it off, and stays outside until an administrator has looked at it. Gateways report only what no connector does
 * by mistake, and again until they are answered: that it is done.
 */

import type { Bus } from '#infra/bus.ts'
import { type MisbehaviourKind, MisbehaviourReport } from '#infra/contracts/connector.ts'
import { parseJson } from '#infra/json.ts'
import type { Logger } from '#infra/log.ts'
import { queues, subjects } from '#infra/subjects.ts'
import type { ConnectorPlacement } from '../connector-placement.ts'
import { type RecordOptions, recordAccess } from './record.ts'

export interface MisbehaviourOptions extends RecordOptions {
  bus: Bus
  placement: Pick<ConnectorPlacement, 'update'>
  log: Logger
}

const done = Buffer.from('null')

export interface Misbehaviours extends Disposable {
  /** False when it could not be done. */
  cutOff(connectorId: string, kind: MisbehaviourKind): Promise<boolean>
}

export function cutOffMisbehaving(options: MisbehaviourOptions): Misbehaviours {
  const { bus, placement, log } = options
  const record = recordAccess(options)
  const cutOff: Misbehaviours['cutOff'] = async (connectorId, kind) => {
    record.cutOff(connectorId, kind)
    try {
      await placement.update(connectorId, { isEnabled: false })
      return true
    } catch (error) {
      log.error({ error, connectorId }, 'a connector could not be disabled')
      return false
    }
  }
  const subscription = bus.subscribe(subjects.misbehaviours, {
    queue: queues.registry,
    callback: ({ data, subject, reply }) => {
      const { connectorId, kind } = parseJson(MisbehaviourReport, data, subject)
      void cutOff(connectorId, kind).then(
        isDone => isDone && reply !== undefined && bus.publish(reply, done),
      )
    },
  })
  return { cutOff, [Symbol.dispose]: () => subscription.unsubscribe() }
}

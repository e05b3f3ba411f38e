/**
 * What gateways have seen a connector do and the bus cannot refuse: it is disabled, which cuts it off, and stays outside
 * until an administrator has looked at it. Gateways report only what no connector does by mistake, and again until they
 * are answered: that it is done.
 */

import type { Bus } from '#infra/bus.ts'
import { MisbehaviourReport } from '#infra/contracts/connector.ts'
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

export function cutOffMisbehaving(options: MisbehaviourOptions): Disposable {
  const { bus, placement, log } = options
  const record = recordAccess(options)
  const subscription = bus.subscribe(subjects.misbehaviours, {
    queue: queues.registry,
    callback: message => {
      const { connectorId, kind } = parseJson(MisbehaviourReport, message.data, message.subject)
      record.cutOff(connectorId, kind)
      placement.update(connectorId, { isEnabled: false }).then(
        () => message.reply !== undefined && bus.publish(message.reply, done),
        error => log.error({ error, connectorId }, 'a connector could not be disabled'),
      )
    },
  })
  return { [Symbol.dispose]: () => subscription.unsubscribe() }
}

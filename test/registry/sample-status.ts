/** A connector's status as connectors send it, with what a test wants to say of it. */

import type { ConnectorStatus } from '#infra/contracts/connector.ts'

const startedDateTime = new Date(Date.now() - 60_000).toISOString()

export function sampleStatus(more: Partial<ConnectorStatus> = {}): ConnectorStatus {
  return {
    connectorId: 'c-1',
    groupId: 'default',
    state: 'serving',
    version: '0.1.0',
    machineName: 'machine.internal',
    startedDateTime,
    sentDateTime: new Date().toISOString(),
    openExchanges: 3,
    maxExchanges: 128,
    exchangesServed: 17,
    lastExchangeDateTime: null,
    address: '10.0.0.7',
    carriedBytes: 0,
    lastByteDateTime: null,
    carried: [],
    notReady: [],
    problems: [],
    ...more,
  }
}

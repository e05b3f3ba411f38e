/** Tells registry and gateways that this connector is there, how busy it is, and which origins it cannot reach. */

import { hostname } from 'node:os'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { type ConnectorStatus, memberIdOf, statusIntervalMs } from '#infra/contracts/connector.ts'
import { subjects } from '#infra/subjects.ts'
import type { Worker } from '#infra/worker.ts'
import type { Readiness } from './readiness.ts'
import type { Serving } from './serve.ts'
import { originOf } from './translate.ts'

/** Applications that one report names as not ready. */
const maxNotReady = 500

export interface StatusOptions {
  bus: Bus
  connectorId: string
  /** Of one of several workers, which all tell when the connector as a whole was started. */
  place: Worker['place'] | undefined
  groupId: string
  maxExchanges: number
  version: string
  readiness: Readiness
  serving: () => Serving | undefined
  applications: () => ReadonlyMap<string, Application>
}

export interface StatusReports extends Disposable {
  /** Reports now, with this state from here on. */
  turn(state?: ConnectorStatus['state']): void
}

export function reportStatus(options: StatusOptions): StatusReports {
  const { bus, groupId, place } = options
  const startedDateTime = place?.startedDateTime ?? new Date().toISOString()
  let fixed: ConnectorStatus['state'] | undefined
  const report = () => {
    const status = statusOf(options, startedDateTime, fixed)
    bus.publishJson(subjects.connectorStatus(groupId, memberIdOf(status)), status)
  }
  const timer = setInterval(report, statusIntervalMs)
  // Whoever lost sight of this connector together with its connection sees it again at once.
  const offStatus = bus.onStatus(status => status === 'connected' && report())
  return {
    turn(state) {
      fixed = state ?? fixed
      report()
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      offStatus()
    },
  }
}

function statusOf(
  options: StatusOptions,
  startedDateTime: string,
  fixed: ConnectorStatus['state'] | undefined,
): ConnectorStatus {
  const { connectorId, place, groupId, maxExchanges, version, readiness, applications } = options
  const serving = options.serving()
  const notReady = notReadyOf(readiness.down(), applications())
  return {
    connectorId,
    ...(place && { worker: place.number }),
    groupId,
    state: fixed ?? (serving?.isSaturated === false ? 'serving' : 'saturated'),
    version,
    machineName: hostname(),
    startedDateTime,
    sentDateTime: new Date().toISOString(),
    openExchanges: serving?.openExchanges ?? 0,
    maxExchanges,
    exchangesServed: serving?.exchangesServed ?? 0,
    lastExchangeDateTime: serving?.lastExchangeAt
      ? new Date(serving.lastExchangeAt).toISOString()
      : null,
    notReady,
  }
}

/** The first of the applications whose origins are down: thousands may share one, and a report is one message. */
function notReadyOf(
  down: ReadonlyMap<string, string>,
  applications: ReadonlyMap<string, Application>,
): ConnectorStatus['notReady'] {
  const notReady: ConnectorStatus['notReady'] = []
  if (down.size === 0) return notReady
  for (const application of applications.values()) {
    const reason = down.get(originOf(application))
    if (reason === undefined) continue
    notReady.push({ applicationId: application.id, reason: reason.slice(0, 300) })
    if (notReady.length === maxNotReady) break
  }
  return notReady
}

/** Tells registry and gateways that this connector is there, how busy it is, and which origins it cannot reach. */

import { hostname, networkInterfaces } from 'node:os'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { type ConnectorStatus, memberIdOf, statusIntervalMs } from '#infra/contracts/connector.ts'
import { subjects } from '#infra/subjects.ts'
import type { Worker } from '#infra/worker.ts'
import type { Carried } from './carried.ts'
import { destinationOf } from './destination.ts'
import type { Dialer } from './dial.ts'
import type { Readiness } from './readiness.ts'
import type { Serving } from './serve.ts'
import { originOf } from './translate.ts'

/** Applications that one report names as not ready. */
const maxNotReady = 500

/** How often it is looked whether there is something new to say of what does not work. */
const troubleIntervalMs = 500

export interface StatusOptions {
  bus: Bus
  connectorId: string
  /** Of one of several workers. */
  place: Worker['place'] | undefined
  /** Of the connector as a whole, whichever group it serves and however many workers it has. */
  startedDateTime: string
  groupId: string
  maxExchanges: number
  version: string
  readiness: Readiness
  dialer: Dialer
  /** What is wrong with the connector as a whole. */
  problems: () => readonly (string | undefined)[]
  carried: Carried
  serving: () => Serving | undefined
  applications: () => ReadonlyMap<string, Application>
}

export interface StatusReports extends Disposable {
  /** Reports now, with this state from here on. */
  turn(state?: ConnectorStatus['state']): void
}

export function reportStatus(options: StatusOptions): StatusReports {
  const { bus, groupId } = options
  let fixed: ConnectorStatus['state'] | undefined
  let troubles = ''
  const report = () => {
    const status = statusOf(options, fixed)
    troubles = troublesOf(options)
    bus.publishJson(subjects.connectorStatus(groupId, memberIdOf(status)), status)
  }
  const timer = setInterval(report, statusIntervalMs)
  const watch = setInterval(() => troublesOf(options) !== troubles && report(), troubleIntervalMs)
  // Whoever lost sight of this connector together with its connection sees it again at once.
  const offStatus = bus.onStatus(status => status === 'connected' && report())
  return {
    turn(state) {
      fixed = state ?? fixed
      report()
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      clearInterval(watch)
      offStatus()
    },
  }
}

function statusOf(
  options: StatusOptions,
  fixed: ConnectorStatus['state'] | undefined,
): ConnectorStatus {
  const { connectorId, place, groupId, maxExchanges, version, startedDateTime } = options
  const serving = options.serving()
  serving?.count()
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
    address: ownAddress(),
    ...options.carried.report(),
    notReady: notReadyOf(options),
    problems: problemsOf(options),
  }
}

/** The first address of this host that others may reach; IPv4 if there is one, as people recognize it. */
function ownAddress(): string | null {
  const all = Object.values(networkInterfaces()).flatMap(addresses => addresses ?? [])
  const outer = all.filter(({ internal }) => !internal)
  const [first] = outer.toSorted((one, other) => one.family.localeCompare(other.family))
  return first?.address ?? null
}

/** The first of the applications whose origins are down: thousands may share one, and a report is one message. */
function notReadyOf({
  readiness,
  dialer,
  applications,
}: StatusOptions): ConnectorStatus['notReady'] {
  const notReady: ConnectorStatus['notReady'] = []
  const down = readiness.down()
  if (down.size === 0 && dialer.problemsTurn === 0) return notReady
  for (const application of applications().values()) {
    const reason = down.get(originOf(application)) ?? dialer.problemOf(destinationOf(application))
    if (reason === undefined) continue
    notReady.push({ applicationId: application.id, reason: reason.slice(0, 300) })
    if (notReady.length === maxNotReady) break
  }
  return notReady
}

/** To see whether it has become worse or better, without a look at every application. */
function troublesOf(options: StatusOptions): string {
  const { readiness, dialer } = options
  return JSON.stringify([[...readiness.down()], dialer.problemsTurn, problemsOf(options)])
}

function problemsOf({ problems }: StatusOptions): string[] {
  return problems().flatMap(problem => problem?.slice(0, 300) ?? [])
}

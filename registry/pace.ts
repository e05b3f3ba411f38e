/**
 * Tells the members of a connector group how fast the median of them answers, so that one that is much slower can take
 * less (connector/pace.ts). Every registry listens to every member and tells the same. Only a hint: kept in memory,
 * told while it is fresh, and nobody waits for it.
 */

import type { Bus } from '#infra/bus.ts'
import {
  type GroupPace,
  memberIdPattern,
  PaceReport,
  paceIntervalMs,
  paceTimeoutMs,
} from '#infra/contracts/connector.ts'
import { parseJson } from '#infra/json.ts'
import { subjects } from '#infra/subjects.ts'

interface Heard {
  readonly report: PaceReport
  readonly groupId: string
  readonly atMs: number
}

/** More than these are not remembered: somebody invents them. */
const maxMembers = 20_000

export function tellPaces(bus: Bus): Disposable {
  const members = new Map<string, Heard>()
  const subscription = bus.subscribe(subjects.connectorPaces, {
    callback: ({ subject, data }) => {
      const [groupId = '', memberId = ''] = subject.split('.').slice(-2)
      const isRoom = members.has(memberId) || members.size < maxMembers
      if (!isRoom || !memberIdPattern.test(memberId)) return
      members.set(memberId, {
        report: parseJson(PaceReport, data, subject),
        groupId,
        atMs: performance.now(),
      })
    },
  })
  const timer = setInterval(() => {
    const freshSince = performance.now() - paceTimeoutMs
    for (const [memberId, { atMs }] of members) if (atMs < freshSince) members.delete(memberId)
    for (const [groupId, heard] of Map.groupBy(members.values(), ({ groupId }) => groupId)) {
      const pace = paceOf(heard.map(({ report }) => report))
      if (pace) bus.publishJson(subjects.paceOf(groupId), pace)
    }
  }, paceIntervalMs)
  return {
    [Symbol.dispose]() {
      clearInterval(timer)
      subscription.unsubscribe()
    },
  }
}

/**
 * The pace of the median member, of two the faster one; undefined when there is nothing to compare. So at least one
 * member, and at least half of them, are never slower than it.
 */
export function paceOf(reports: readonly PaceReport[]): GroupPace | undefined {
  const times = new Map<string, number[]>()
  for (const { applications } of reports) {
    for (const { applicationId, answerMs } of applications) {
      const known = times.get(applicationId)
      if (known) known.push(answerMs)
      else times.set(applicationId, [answerMs])
    }
  }
  const applications = [...times]
    .filter(([, ofMembers]) => ofMembers.length > 1)
    .map(([applicationId, ofMembers]) => ({ applicationId, answerMs: lowerMedian(ofMembers) }))
  if (applications.length === 0) return undefined
  // The slow ones among them may be holding back: of two, the one that answers more.
  const rates = reports.map(({ answersPerSecond }) => -answersPerSecond)
  return { answersPerSecond: -lowerMedian(rates), applications }
}

function lowerMedian(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[(sorted.length - 1) >> 1] as number
}

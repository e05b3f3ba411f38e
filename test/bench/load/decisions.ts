/**
 * Decisions of an organisation: policies of which some are for everybody and everything and most for some groups or some
 * applications, and sign-ins of many users from many places. Everything in one process on one core, as policy does it,
 * without the bus and without signing leases.
 */

import type { ConditionalAccessPolicy } from '#infra/contracts/conditional-access/policy.ts'
import { evaluate } from '../../../policy/evaluate.ts'
import type { Access } from '../../../policy/gates/gate.ts'
import type { PolicyState } from '../../../policy/state.ts'
import { policy, signInOf, stateOf } from '../../policy/sign-ins.ts'

export interface Organisation {
  readonly state: PolicyState
  readonly signIns: readonly Access[]
}

const applications = 200
const groups = 400
const users = 2_000
const groupsOfUser = 20

/** One in so many policies is for everybody and every application. */
const oneForAllIn = 50

const baseline: readonly object[] = [
  { locations: { includeLocations: ['All'], excludeLocations: ['AllTrusted'] } },
  { clientAppTypes: ['exchangeActiveSync', 'other'] },
  { userRiskLevels: ['high'] },
  { signInRiskLevels: ['high', 'medium'] },
  { platforms: { includePlatforms: ['all'], excludePlatforms: ['windows', 'macOS', 'linux'] } },
  { devices: { deviceFilter: { mode: 'exclude', rule: 'device.isCompliant -eq True' } } },
  { times: { includeDays: { daysOfWeek: ['sunday'], allDay: true, timeZone: 'Europe/Paris' } } },
  { users: { includeUsers: ['All'], excludeGroups: ['group-1'] } },
]

export function organisation(count: number): Organisation {
  const policies = Array.from({ length: count }, (_, index) => policyNumber(index))
  const risks = Array.from({ length: 200 }, (_, index) => ({
    kind: 'risk',
    scope: 'user',
    id: `user-${index * 10}@example.com`,
    level: index % 2 === 0 ? 'low' : 'medium',
  }))
  return {
    state: stateOf({ policies, signals: risks }),
    signIns: Array.from({ length: users }, (_, index) => signInNumber(index)),
  }
}

function policyNumber(index: number): ConditionalAccessPolicy {
  const isForAll = index % oneForAllIn === 0
  const condition = baseline[(isForAll ? index / oneForAllIn : index) % baseline.length] ?? {}
  const scope = isForAll
    ? {}
    : index % 2 === 0
      ? { users: { includeGroups: [`group-${index % groups}`] } }
      : { applications: { includeApplications: [`app-${index % applications}`] } }
  return policy({ id: `policy-${index}`, conditions: { ...condition, ...scope } })
}

function signInNumber(index: number): Access {
  const own = Array.from(
    { length: groupsOfUser },
    (_, each) => `group-${(index * 7 + each * 19) % groups}`,
  )
  return signInOf({
    application: `app-${index % applications}`,
    user: {
      userPrincipalName: `user-${index}@example.com`,
      groups: own,
      amr: index % 4 === 0 ? ['pwd'] : ['pwd', 'mfa'],
      device: { deviceId: `device-${index}`, isCompliant: index % 3 === 0 },
    },
    facts: { clientAddress: `${index % 2 === 0 ? '192.0.2' : '203.0.113'}.${index % 250}` },
  })
}

/**
 * Decides for about so long, and says how many decisions a second of this core that was: on a shared machine the time of
 * others does not count.
 */
export function decide({ state, signIns }: Organisation, forMs: number): number {
  const startedAt = performance.now()
  const before = process.cpuUsage()
  let count = 0
  while (performance.now() - startedAt < forMs) {
    for (const signIn of signIns) evaluate(signIn, state)
    count += signIns.length
  }
  const { user, system } = process.cpuUsage(before)
  return (count * 1_000_000) / (user + system)
}

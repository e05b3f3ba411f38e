/**
 * Conditional access, held to the table in test/vectors/conditional-access.json: policies as Graph's documentation
 * writes them, sign-ins, and what is decided for which reasons. A change there is a change of what policy promises.
 */

import { describe, expect, test } from 'vitest'
import { Decision } from '#infra/contracts/policy.ts'
import { conditionReasons, decisionReasons } from '#infra/contracts/reasons.ts'
import { conditions } from '../../policy/conditions/all.ts'
import { evaluate, evaluateWhole } from '../../policy/evaluate.ts'
import { opinions } from '../../policy/verdicts.ts'
import table from '../vectors/conditional-access.json' with { type: 'json' }
import gates from '../vectors/decisions.json' with { type: 'json' }
import { now, type PolicyPart, policy, type SignInInput, signInOf, stateOf } from './sign-ins.ts'

interface Case {
  about: string
  policies: PolicyPart[]
  signals?: object[]
  hasCountries?: boolean
  rows: ({ says: string; signIn: SignInInput; unsafe?: Said } & Said)[]
}

interface Said {
  outcome: string
  reasons: string[]
}

const cases = table.cases as unknown as Case[]
const passed = ['session-ok', 'users-not-required']

/** Without what the gates say. */
function saidBy({ outcome, reasons }: Pick<Decision, 'outcome' | 'reasons'>): Said {
  return { outcome, reasons: outcome === 'grant' ? reasons.slice(passed.length) : reasons }
}

const stateOfCase = ({ policies, signals = [], hasCountries = true }: Case) =>
  stateOf({
    policies: policies.map(policy),
    signals,
    ...(!hasCountries && { countryOf: () => undefined }),
  })

describe('decision table', () => {
  const rows = cases.flatMap(each =>
    each.rows.map(row => [`${each.about}: ${row.says}`, each, row] as const),
  )

  test('has at least 150 decisions', () => {
    expect(rows.length).toBeGreaterThanOrEqual(150)
  })

  test.each(rows)('%s', (_, each, { signIn, outcome, reasons, unsafe }) => {
    const state = stateOfCase(each)
    const decision = evaluate(signInOf(signIn), state)
    expect(saidBy(decision)).toEqual({ outcome, reasons })
    expect(decision.unsafeMethods && saidBy(decision.unsafeMethods)).toEqual(unsafe)
    expect(Decision.safeParse(decision).success).toBe(true)
  })

  test('says every reason that there is, with the table of the gates', () => {
    const said = [...cases.flatMap(each => each.rows), ...gates.decisions].flatMap(
      row => row.reasons,
    )
    // These two are said where no table reaches: of a damaged store, and of a what-if.
    const elsewhere = ['policy-unusable', 'no-policy-applies']
    expect([...new Set([...said, ...elsewhere])].sort()).toEqual(
      Object.keys(decisionReasons).sort(),
    )
  })
})

describe('the index', () => {
  test('finds exactly the policies that a scan of all of them finds', () => {
    const all = cases.flatMap(({ policies }) => policies)
    const many = all.map((part, index) => policy({ ...part, id: `p${index}` }))
    const signals = cases.flatMap(each => each.signals ?? [])
    const state = stateOf({ policies: many, signals })
    for (const { signIn } of cases.flatMap(({ rows }) => rows)) {
      const { decision, signIn: seen } = evaluateWhole(signInOf(signIn), state)
      if (!seen) throw new Error('the policies were not asked')
      const scanned = opinions(state.conditionalAccess, seen).filter(one => one.policyApplies)
      const enforced = scanned.filter(({ state: is }) => is === 'enabled').map(({ id }) => id)
      expect([...decision.policies].sort()).toEqual(enforced.sort())
      const reporting = scanned.filter(({ state: is }) => is !== 'enabled').map(({ id }) => id)
      expect((decision.reportOnly ?? []).map(({ id }) => id).sort()).toEqual(reporting.sort())
    }
  })
})

describe('conditions', () => {
  test('have a pair of reasons each, and no reason is left over', () => {
    const pairs = conditions.flatMap(({ reasons }) => [reasons.met, reasons.unmet])
    expect(new Set(pairs).size).toBe(conditions.length * 2)
    expect(pairs.sort()).toEqual(Object.keys(conditionReasons).sort())
  })

  test('that are not met say for which of them a policy does not apply', () => {
    const only = (part: object) => [policy({ conditions: part })]
    const expected: [object, string][] = [
      [{ users: { includeUsers: ['bob@example.com'] } }, 'users'],
      [{ applications: { includeApplications: ['other'] } }, 'application'],
      [{ clientAppTypes: ['other'] }, 'clientApps'],
      [{ platforms: { includePlatforms: ['iOS'] } }, 'devicePlatform'],
      [{ locations: { includeLocations: ['office'] } }, 'location'],
      [{ devices: { deviceFilter: { mode: 'include', rule: 'device.model -eq "x"' } } }, 'devices'],
      [{ signInRiskLevels: ['high'] }, 'signInRisk'],
      [{ userRiskLevels: ['high'] }, 'userRisk'],
      [{ authenticationFlows: { transferMethods: 'deviceCodeFlow' } }, 'authenticationFlow'],
      [{ httpMethods: { includeMethods: ['unsafe'] } }, 'invalidCondition'],
      [{ times: { includeDays: { daysOfWeek: ['sunday'], allDay: true } } }, 'time'],
    ]
    for (const [part, reason] of expected) {
      const state = stateOf({ policies: only(part) })
      const { signIn } = evaluateWhole(signInOf(), state)
      if (!signIn) throw new Error('the policies were not asked')
      const [opinion] = opinions(state.conditionalAccess, signIn)
      expect(opinion).toMatchObject({ policyApplies: false, analysisReasons: reason })
    }
  })
})

describe('decisions', () => {
  test('that challenge say what to ask the provider for, of all policies together', () => {
    const hourly = { signInFrequency: { value: 1, type: 'hours', isEnabled: true } }
    const daily = { signInFrequency: { value: 1, type: 'days', isEnabled: true } }
    const policies = [
      policy({}),
      policy({ sessionControls: hourly }),
      policy({ sessionControls: daily }),
    ]
    const { challenge } = evaluate(signInOf({ minutesAgo: 2_000 }), stateOf({ policies }))
    expect(challenge).toEqual({ acrValues: ['urn:sallyport:acr:mfa'], maxAgeSeconds: 3_600 })
  })

  test('that block ask for nothing', () => {
    const block = { operator: 'OR', builtInControls: ['block'] }
    const policies = [policy({}), policy({ grantControls: block })]
    expect(evaluate(signInOf(), stateOf({ policies }))).not.toHaveProperty('challenge')
  })

  test('name the policies that applied, and what those that only report would have said', () => {
    const policies = [
      policy({ id: 'applies', conditions: { clientAppTypes: ['browser'] } }),
      policy({ id: 'does-not', conditions: { clientAppTypes: ['other'] } }),
      policy({ id: 'reports', state: 'enabledForReportingButNotEnforced' }),
    ]
    expect(evaluate(signInOf(), stateOf({ policies }))).toMatchObject({
      policies: ['applies'],
      reportOnly: [{ id: 'reports', outcome: 'challenge', reasons: ['multifactor-required'] }],
    })
  })

  test('never keep a browser signed in when one policy says never', () => {
    const mode = (which: string) =>
      policy({ sessionControls: { persistentBrowser: { mode: which, isEnabled: true } } })
    const demands = (...policies: ReturnType<typeof mode>[]) =>
      evaluate(signInOf(), stateOf({ policies })).sessionDemands
    expect(demands(mode('always'))).toEqual({ persistentBrowser: 'always' })
    expect(demands(mode('always'), mode('never'))).toEqual({ persistentBrowser: 'never' })
    expect(demands(mode('never'), mode('always'))).toEqual({ persistentBrowser: 'never' })
    expect(
      demands(
        policy({
          sessionControls: { signInFrequency: { isEnabled: true, value: 1, type: 'days' } },
        }),
      ),
    ).toBeUndefined()
  })

  test('do not outlive the sign-in frequency, nor the minute when a condition on time may change', () => {
    const hourly = { signInFrequency: { value: 1, type: 'hours', isEnabled: true } }
    const state = (part: PolicyPart) => stateOf({ policies: [policy(part)] })
    const until = (part: PolicyPart) =>
      evaluateWhole(signInOf({ minutesAgo: 59 }), state(part)).validUntilMs
    expect(until({ sessionControls: hourly })).toBe(now + 60_000)
    const friday = { includeDays: { daysOfWeek: ['friday'], allDay: true } }
    expect(until({ conditions: { times: friday } })).toBe(now + 60_000)
    const saturday = { includeDays: { daysOfWeek: ['saturday'], allDay: true } }
    expect(until({ conditions: { times: saturday } })).toBe(now + 60_000)
    expect(
      until({ conditions: { times: saturday, applications: { includeApplications: ['mail'] } } }),
    ).toBe(Number.POSITIVE_INFINITY)
    expect(until({ conditions: { times: saturday, clientAppTypes: ['other'] } })).toBe(
      Number.POSITIVE_INFINITY,
    )
    expect(until({})).toBe(Number.POSITIVE_INFINITY)
  })

  test('leave applications alone that let everybody in without signing in', () => {
    const block = { operator: 'OR', builtInControls: ['block'] }
    const access = signInOf()
    const publishing = {
      ...access.application!.onPremisesPublishing,
      externalAuthenticationType: 'passthru' as const,
    }
    const open = {
      ...access,
      application: { ...access.application!, onPremisesPublishing: publishing },
    }
    const state = stateOf({ policies: [policy({ grantControls: block })] })
    expect(evaluate(open, state)).toMatchObject({
      outcome: 'grant',
      reasons: ['session-not-needed'],
    })
  })
})

/** What-if: what is described is decided as in production, and what is not described is said not to be known. */

import { describe, expect, test } from 'vitest'
import { WhatIf } from '#infra/contracts/conditional-access/what-if.ts'
import { decisionFor } from '#infra/contracts/policy.ts'
import { evaluate } from '../../policy/evaluate.ts'
import { whatIf } from '../../policy/what-if.ts'
import table from '../vectors/conditional-access.json' with { type: 'json' }
import { type PolicyPart, policy, type SignInInput, signInOf, stateOf } from './sign-ins.ts'

const body = (conditions: object = {}, identity: object = {}) => ({
  signInIdentity: {
    '@odata.type': '#microsoft.graph.userSignIn',
    userId: 'ada@example.com',
    ...identity,
  },
  signInContext: {
    '@odata.type': '#microsoft.graph.applicationContext',
    includeApplications: ['wiki'],
  },
  signInConditions: conditions,
})

const ask = (policies: PolicyPart[], asked: object) =>
  whatIf(WhatIf.parse(asked), stateOf({ policies: policies.map(policy) }), () => undefined)

describe('what is not described', () => {
  test.each<[string, object]>([
    ['groups', { users: { includeGroups: ['Staff'] } }],
    ['roles', { users: { includeRoles: ['reader'] } }],
    ['whether the user is a guest', { users: { includeUsers: ['GuestsOrExternalUsers'] } }],
    ['the location', { locations: { includeLocations: ['office'] } }],
    ['the platform', { platforms: { includePlatforms: ['iOS'] } }],
    ['the client', { clientAppTypes: ['browser'] }],
    [
      'the device',
      { devices: { deviceFilter: { mode: 'include', rule: 'device.model -eq "x"' } } },
    ],
    ['the risk of the sign-in', { signInRiskLevels: ['high'] }],
    ['the method', { httpMethods: { includeMethods: ['unsafe'] } }],
  ])('%s: the policy may apply, and says that it cannot be told', (_, conditions) => {
    const { opinions, decision } = ask([{ conditions }], body())
    expect(opinions).toMatchObject([
      { policyApplies: true, analysisReasons: 'notEnoughInformation' },
    ])
    expect(decision.outcome).toBe('challenge')
  })
})

test('a method that is described counts by its class', () => {
  const policies = [{ conditions: { httpMethods: { includeMethods: ['unsafe'] } } }]
  const outcomeOf = (httpMethod: string) => ask(policies, body({ httpMethod })).decision.outcome
  expect(['GET', 'propfind', 'QUERY', 'OPTIONS'].map(outcomeOf)).toEqual(Array(4).fill('grant'))
  expect(['PUT', 'post', 'MKCOL', 'RDG_IN_DATA'].map(outcomeOf)).toEqual(Array(4).fill('challenge'))
  expect(WhatIf.safeParse(body({ httpMethod: 'a b' })).success).toBe(false)
})

test('every decision of the table is the same when it is asked as a what-if', () => {
  for (const each of table.cases as unknown as {
    policies: PolicyPart[]
    signals?: object[]
    hasCountries?: boolean
    rows: { signIn: SignInInput }[]
  }[]) {
    const state = stateOf({
      policies: each.policies.map(policy),
      signals: each.signals ?? [],
      ...(each.hasCountries === false && { countryOf: () => undefined }),
    })
    for (const { signIn } of each.rows) {
      const access = signInOf(signIn)
      const address = access.facts.clientAddress
      const { session, application } = access
      // What no administrator would describe: no address, a device verdict of another system, a session's own risk.
      if (!/^[\d.:a-f]+$/.test(address) || session.is !== 'valid' || each.signals) continue
      const { principal } = session
      if (access.facts.devicePlatform === 'unknown') continue
      for (const [httpMethod, methods] of [
        ['GET', 'safe'],
        ['PUT', 'unsafe'],
      ] as const) {
        const { outcome, policies } = decisionFor(evaluate(access, state), methods)
        const asked = whatIf(
          WhatIf.parse({
            signInIdentity: {
              userId:
                principal.objectId ??
                (principal.subject.includes('-') ? principal.subject : principal.userPrincipalName),
              groups: principal.groups,
              roles: principal.roles ?? [],
              isGuest: principal.isGuest ?? /#ext#/i.test(principal.userPrincipalName),
            },
            signInContext: { includeApplications: [application!.id] },
            signInConditions: {
              ipAddress: address,
              clientAppType: access.facts.clientAppType,
              devicePlatform: access.facts.devicePlatform,
              deviceInfo: principal.device ?? {},
              amr: principal.amr,
              httpMethod,
              acr: principal.acr,
              signInRiskLevel: 'none',
              authenticationDateTime: new Date(principal.authTime * 1_000).toISOString(),
              dateTime: new Date(access.nowMs!).toISOString(),
            },
          }),
          state,
          () => application,
        )
        expect({ outcome: asked.decision.outcome, policies: asked.decision.policies }).toEqual({
          outcome,
          policies,
        })
      }
    }
  }
})

describe('a question', () => {
  test('may ask for what applies alone', () => {
    const parts = [{ id: 'applies' }, { id: 'other', conditions: { clientAppTypes: ['other'] } }]
    const conditions = { clientAppType: 'browser' }
    const all = ask(parts, body(conditions)).opinions
    expect(all.map(({ id, analysisReasons }) => [id, analysisReasons])).toEqual([
      ['applies', 'notSet'],
      ['other', 'clientApps'],
    ])
    const applied = ask(parts, { ...body(conditions), appliedPoliciesOnly: true }).opinions
    expect(applied.map(({ id }) => id)).toEqual(['applies'])
  })

  test.each<[string, object]>([
    [
      'of a service principal',
      {
        ...body(),
        signInIdentity: { '@odata.type': '#microsoft.graph.servicePrincipalSignIn', userId: 'x' },
      },
    ],
    [
      'of a user action',
      {
        ...body(),
        signInContext: {
          '@odata.type': '#microsoft.graph.userActionContext',
          includeApplications: ['x'],
        },
      },
    ],
    ['of several applications', { ...body(), signInContext: { includeApplications: ['a', 'b'] } }],
    ['of an insider', body({ insiderRiskLevel: 'elevated' })],
    ['of an unknown condition', body({ moonPhase: 'full' })],
    ['of what is no address', body({ ipAddress: '1.2.3' })],
    ['without a user', { ...body(), signInIdentity: {} }],
  ])('%s is refused', (_, asked) => {
    expect(WhatIf.safeParse(asked).success).toBe(false)
  })
})

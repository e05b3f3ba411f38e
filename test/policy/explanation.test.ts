/**
 * The smallest change that would have let somebody in: found by the evaluator itself, so whatever it says is true. What
 * cannot be told in one or two changes is not guessed.
 */

import { describe, expect, test } from 'vitest'
import { evaluateWhole } from '../../policy/evaluate.ts'
import { explanationOf } from '../../policy/explanation.ts'
import { type PolicyPart, policy, type SignInInput, signInOf, stateOf } from './sign-ins.ts'

const controls = (operator: string, ...builtInControls: string[]) => ({ operator, builtInControls })
const block = controls('OR', 'block')
const everyTime = { signInFrequency: { isEnabled: true, frequencyInterval: 'everyTime' } }
const strong = {
  operator: 'OR',
  authenticationStrength: { id: '00000000-0000-0000-0000-000000000004' },
}

interface Denial {
  policies: PolicyPart[]
  signIn?: SignInInput
  signals?: object[]
  change: string[] | null
}

const risk = { kind: 'risk', scope: 'user', id: 'ada@example.com', level: 'high' }
const freeze = { kind: 'fact', name: 'change-freeze', value: true }

const denials: Record<string, Denial> = {
  'no second factor': { policies: [{}], change: ['sign in with a second factor'] },
  'an old sign-in': {
    policies: [{ sessionControls: everyTime }],
    signIn: { minutesAgo: 90 },
    change: ['sign in again'],
  },
  both: {
    policies: [{}, { sessionControls: everyTime }],
    signIn: { minutesAgo: 90 },
    change: ['sign in with a second factor', 'sign in again'],
  },
  'a weak method': {
    policies: [{ grantControls: strong }],
    signIn: { user: { amr: ['mfa'] } },
    change: ['sign in with a method that cannot be phished, such as a security key'],
  },
  'an unmanaged device': {
    policies: [{ grantControls: controls('OR', 'compliantDevice') }],
    change: ['use a compliant device'],
  },
  'a device of another domain': {
    policies: [{ grantControls: controls('AND', 'domainJoinedDevice') }],
    change: ["use a device that is joined to the organisation's domain"],
  },
  'a device and a factor': {
    policies: [{ grantControls: controls('AND', 'mfa', 'compliantDevice') }],
    change: ['sign in with a second factor', 'use a compliant device'],
  },
  'either of them': {
    policies: [{ grantControls: controls('OR', 'compliantDevice', 'mfa') }],
    change: ['sign in with a second factor'],
  },
  'outside of trusted locations': {
    policies: [
      {
        conditions: { locations: { includeLocations: ['All'], excludeLocations: ['AllTrusted'] } },
        grantControls: block,
      },
    ],
    change: ['come from a trusted location'],
  },
  'outside of a location': {
    policies: [
      {
        conditions: { locations: { includeLocations: ['All'], excludeLocations: ['france'] } },
        grantControls: block,
      },
    ],
    change: ['come from the named location france'],
  },
  'within a location': {
    policies: [
      { conditions: { locations: { includeLocations: ['guest-net'] } }, grantControls: block },
    ],
    signIn: { facts: { clientAddress: '198.51.100.3' } },
    change: ['come from a trusted location'],
  },
  'a program': {
    policies: [{ conditions: { clientAppTypes: ['other'] }, grantControls: block }],
    signIn: { facts: { clientAppType: 'other' } },
    change: ['use a browser'],
  },
  'a platform': {
    policies: [
      {
        conditions: { platforms: { includePlatforms: ['all'], excludePlatforms: ['windows'] } },
        grantControls: block,
      },
    ],
    change: ['use a device with windows'],
  },
  'a filtered device': {
    policies: [
      {
        conditions: {
          devices: { deviceFilter: { mode: 'exclude', rule: 'device.isCompliant -eq True' } },
        },
        grantControls: block,
      },
    ],
    change: ['use a compliant device'],
  },
  'the risk of the user': {
    policies: [{ conditions: { userRiskLevels: ['high'] }, grantControls: block }],
    signals: [risk],
    change: ['have the risk of the user dismissed'],
  },
  'the risk of the sign-in': {
    policies: [{ conditions: { signInRiskLevels: ['high'] }, grantControls: block }],
    signals: [{ ...risk, scope: 'session', id: 'session-1' }],
    change: ['sign in anew without the risk of this sign-in'],
  },
  'a fact': {
    policies: [
      {
        conditions: { facts: { includeFacts: [{ name: 'change-freeze' }] } },
        grantControls: block,
      },
    ],
    signals: [freeze],
    change: ['end the fact change-freeze'],
  },
  'a fact that is missing': {
    policies: [
      { conditions: { facts: { excludeFacts: [{ name: 'on-shift' }] } }, grantControls: block },
    ],
    change: ['make the fact on-shift true'],
  },
  'a group that may': {
    policies: [
      {
        conditions: { users: { includeUsers: ['All'], excludeGroups: ['Board'] } },
        grantControls: block,
      },
    ],
    change: ['be a member of the group Board'],
  },
  everybody: { policies: [{ grantControls: block }], change: null },
  'three things': {
    policies: [{ grantControls: controls('AND', 'mfa', 'compliantDevice', 'domainJoinedDevice') }],
    change: null,
  },
}

describe('the smallest change', () => {
  test.each(Object.entries(denials))('%s', (_, { policies, signIn, signals = [], change }) => {
    const state = stateOf({ policies: policies.map(policy), signals })
    const access = signInOf(signIn)
    const evaluation = evaluateWhole(access, state)
    expect(evaluation.decision.outcome).not.toBe('grant')
    const { smallestChange } = explanationOf({ access, evaluation, policies: state })
    expect(smallestChange).toEqual(change)
  })
})

describe('an explanation', () => {
  const explain = (policies: PolicyPart[], input: SignInInput = {}) => {
    const state = stateOf({ policies: policies.map(policy), signals: [risk] })
    const access = signInOf(input)
    return explanationOf({ access, evaluation: evaluateWhole(access, state), policies: state })
  }

  test('has what was looked at, and what each policy said, those that apply first', () => {
    const asked = { facts: { includeFacts: [{ name: 'change-freeze' }] } }
    const { inputs, opinions } = explain([
      { id: 'other', conditions: { clientAppTypes: ['other'] } },
      { id: 'asked', conditions: asked },
      { id: 'refuses' },
    ])
    expect(inputs).toEqual({
      userGroups: ['Staff'],
      clientAppType: 'browser',
      devicePlatform: 'linux',
      device: {},
      authenticationMethods: ['pwd'],
      isMultifactor: false,
      authenticationDateTime: '2026-11-20T11:59:00.000Z',
      signInRisk: 'none',
      userRisk: 'high',
      isTrustedLocation: false,
      facts: { 'change-freeze': null },
      httpMethods: 'safe',
    })
    expect(opinions).toMatchObject([
      { id: 'refuses', policyApplies: true, outcome: 'challenge' },
      { id: 'other', policyApplies: false, analysisReasons: 'clientApps', outcome: null },
      { id: 'asked', policyApplies: false, reasons: ['facts-do-not-hold'] },
    ])
  })

  test('is of the class of methods that was asked about', () => {
    const conditions = { httpMethods: { includeMethods: ['unsafe'] } }
    const policies = stateOf({ policies: [policy({ conditions, grantControls: block })] })
    const access = signInOf()
    const explained = { access, evaluation: evaluateWhole(access, policies), policies }
    expect(explanationOf({ ...explained, methods: 'unsafe' })).toMatchObject({
      inputs: { httpMethods: 'unsafe' },
      opinions: [{ policyApplies: true, outcome: 'block' }],
      smallestChange: ['send requests that change nothing'],
    })
    const ofRead = explanationOf({ ...explained, methods: 'safe' })
    expect(ofRead).toMatchObject({ opinions: [{ policyApplies: false }] })
    expect(ofRead).not.toHaveProperty('smallestChange')
  })

  test('stays within an event, however many policies there are', () => {
    const many = Array.from({ length: 120 }, (_, index) => ({ id: `p${index}` }))
    const { opinions = [], opinionsLeftOut } = explain(many)
    expect([opinions.length, opinionsLeftOut]).toEqual([50, 70])
  })

  test('of somebody who is not assigned says that, without a word on policies', () => {
    const access = {
      ...signInOf(),
      application: { ...signInOf().application!, appRoleAssignmentRequired: true },
    }
    const policies = stateOf({ policies: [policy({})] })
    const explained = explanationOf({
      access,
      evaluation: evaluateWhole(access, policies),
      policies,
    })
    expect(explained).toEqual({
      smallestChange: ['assign the user, or a group of theirs, to the application'],
    })
  })
})

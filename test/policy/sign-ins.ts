/** Policies as users write them, and sign-ins, for the tests of conditional access. */

import {
  NamedLocation,
  NamedLocationInput,
} from '#infra/contracts/conditional-access/named-location.ts'
import { ConditionalAccessPolicy, PolicyInput } from '#infra/contracts/conditional-access/policy.ts'
import { Signal, signalKey } from '#infra/contracts/conditional-access/signals.ts'
import type { Principal, RequestFacts } from '#infra/contracts/principal.ts'
import { ConditionalAccess } from '../../policy/conditional-access.ts'
import type { Access } from '../../policy/gates/gate.ts'
import { type CountryOf, Places } from '../../policy/places.ts'
import { Signals } from '../../policy/signals.ts'
import type { PolicyState } from '../../policy/state.ts'
import { application, facts, principal } from './applications.ts'

export const now = Date.parse('2026-11-20T12:00:00Z')
const created = '2026-01-01T00:00:00Z'

/** What a table or a test writes: parts of a policy, in Graph's words. */
export interface PolicyPart {
  id?: string
  displayName?: string
  state?: string
  conditions?: object
  grantControls?: object | null
  sessionControls?: object | null
}

let count = 0

/** A policy for everybody and everything that asks for a second factor, but for what is said otherwise. */
export function policy({ conditions, ...part }: PolicyPart): ConditionalAccessPolicy {
  const input = PolicyInput.parse({
    id: `policy-${++count}`,
    displayName: 'A policy',
    state: 'enabled',
    ...(part.sessionControls === undefined && {
      grantControls: { operator: 'OR', builtInControls: ['mfa'] },
    }),
    ...part,
    conditions: {
      users: { includeUsers: ['All'] },
      applications: { includeApplications: ['All'] },
      clientAppTypes: ['all'],
      ...conditions,
    },
  })
  const stored = { ...input, createdDateTime: created, modifiedDateTime: null }
  // What rests in the bucket is read by the same schema.
  return ConditionalAccessPolicy.parse(JSON.parse(JSON.stringify(stored)))
}

export function location(input: object): NamedLocation {
  const {
    createdDateTime: _,
    modifiedDateTime: __,
    deletedDateTime: ___,
    ...parsed
  } = NamedLocationInput.parse(input)
  return NamedLocation.parse({ ...parsed, createdDateTime: created, modifiedDateTime: null })
}

export const office = location({
  id: 'office',
  displayName: 'Office',
  ipRanges: [{ cidrAddress: '192.0.2.0/24' }, { cidrAddress: '2001:db8::/32' }],
  isTrusted: true,
})

export const guestNet = location({
  id: 'guest-net',
  displayName: 'Guest network',
  ipRanges: [{ cidrAddress: '198.51.100.0/24' }],
})

export const france = location({
  id: 'france',
  displayName: 'France',
  countriesAndRegions: ['FR'],
  includeUnknownCountriesAndRegions: false,
})

export const lands = location({
  id: 'lands',
  displayName: 'Germany, and the unknown',
  countriesAndRegions: ['DE'],
  includeUnknownCountriesAndRegions: true,
})

/** 203.0.113.x is in France, 233.252.0.x in Germany, 10.x in no country. */
export const countryOf: CountryOf = address => {
  if (address.startsWith('203.0.113.')) return 'FR'
  if (address.startsWith('233.252.0.')) return 'DE'
  return null
}

export interface StateInput {
  policies?: readonly ConditionalAccessPolicy[]
  signals?: readonly object[]
  /** Left out, countries can be told. */
  countryOf?: CountryOf
}

export const multifactor = { acrValues: ['urn:sallyport:acr:mfa'] }

export function stateOf(input: StateInput = {}): PolicyState {
  const signals = (input.signals ?? []).map(signal =>
    Signal.parse({
      id: '',
      scope: 'everything',
      reasons: [],
      source: 'test',
      updatedDateTime: created,
      expiresDateTime: null,
      ...signal,
    }),
  )
  return {
    conditionalAccess: ConditionalAccess.of(input.policies ?? [], multifactor),
    places: new Places([office, guestNet, france, lands], input.countryOf ?? countryOf),
    signals: new Signals(new Map(signals.map(signal => [keyOf(signal), signal]))),
    multifactor,
  }
}

function keyOf(signal: Signal): string {
  const { kind, scope, id } = signal
  return signalKey({ kind, scope, id, ...(signal.kind === 'fact' && { name: signal.name }) })
}

export interface SignInInput {
  user?: Partial<Principal>
  facts?: Partial<RequestFacts>
  application?: string
  /** How long ago the user authenticated. */
  minutesAgo?: number
  at?: string
}

/** Ada opens the wiki with a browser on Linux from nowhere in particular, with a password given a minute ago. */
export function signInOf(input: SignInInput = {}): Access {
  const { user, minutesAgo = 1, at } = input
  const nowMs = at === undefined ? now : Date.parse(at)
  return {
    application: application(input.application ?? 'wiki', { appRoleAssignmentRequired: false }),
    session: {
      is: 'valid',
      principal: {
        ...principal('ada@example.com', ['Staff']),
        authTime: nowMs / 1_000 - minutesAgo * 60,
        ...user,
      },
    },
    facts: { ...facts, clientAddress: '10.0.0.7', ...input.facts },
    sessionId: 'session-1',
    nowMs,
  }
}

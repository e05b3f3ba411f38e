/**
 * Graph's conditionalAccessConditionSet: which sign-ins a policy is about. Conditions mean AND, the values of one mean
 * OR, what is excluded wins over what is included. `facts` and `httpMethods` are ours: what outside systems say, and
 * what kind of request it is about.
 */

import { z } from 'zod'
import {
  annotated,
  flags,
  flagsOf,
  Names,
  notEnforced,
  onlyEmpty,
  orNull,
  saysNothing,
  word,
  wordList,
} from '../graph.ts'
import { compileDeviceRule, RuleProblem } from './device-rule.ts'
import { FactName, FactValue } from './signals.ts'
import { Times } from './times.ts'

const guestKinds = [
  'internalGuest',
  'b2bCollaborationGuest',
  'b2bCollaborationMember',
  'b2bDirectConnectUser',
  'otherExternalUser',
  'serviceProvider',
] as const

/** Those that a provider's sign-ins can be of; the others never come through here. */
const kindsToName = guestKinds.filter(kind => !/DirectConnect|serviceProvider/.test(kind))

const EveryTenant = notEnforced(
  'sign-ins do not name the tenant of a guest; leave it out, or say membershipKind all',
  value => saysNothing(value) || Reflect.get(Object(value), 'membershipKind') === 'all',
)

/** The provider says who is a guest, not of which kind or tenant. */
const Guests = annotated(
  z
    .strictObject({
      guestOrExternalUserTypes: flags(guestKinds).refine(
        kinds => kinds === '' || kindsToName.every(kind => flagsOf(kinds).includes(kind)),
        { error: `sign-ins do not tell kinds of guest apart: name ${kindsToName.join(',')}` },
      ),
      externalTenants: EveryTenant,
    })
    .transform(({ guestOrExternalUserTypes }) => ({ guestOrExternalUserTypes })),
)

export const UsersCondition = annotated(
  z.strictObject({
    includeUsers: Names,
    excludeUsers: Names,
    includeGroups: Names,
    excludeGroups: Names,
    includeRoles: Names,
    excludeRoles: Names,
    includeGuestsOrExternalUsers: orNull(Guests),
    excludeGuestsOrExternalUsers: orNull(Guests),
  }),
)

export const ApplicationsCondition = annotated(
  z
    .strictObject({
      /** `id` or `appId` of applications, `All` or `None`; Microsoft's own (`Office365`) are none of ours. */
      includeApplications: Names,
      excludeApplications: Names,
      includeUserActions: notEnforced(onlyEmpty),
      includeAuthenticationContextClassReferences: notEnforced(onlyEmpty),
      applicationFilter: notEnforced(onlyEmpty),
      networkAccess: notEnforced(onlyEmpty),
      globalSecureAccess: notEnforced(onlyEmpty),
    })
    .transform(({ includeApplications, excludeApplications }) => ({
      includeApplications,
      excludeApplications,
    })),
)

export const clientAppTypes = [
  'all',
  'browser',
  'mobileAppsAndDesktopClients',
  'exchangeActiveSync',
  'easSupported',
  'other',
] as const

export const platforms = [
  'android',
  'iOS',
  'windows',
  'windowsPhone',
  'macOS',
  'linux',
  'all',
] as const

const PlatformsCondition = annotated(
  z.strictObject({ includePlatforms: wordList(platforms), excludePlatforms: wordList(platforms) }),
)

const LocationsCondition = annotated(
  z.strictObject({
    /** Ids of named locations, `All` or `AllTrusted`. */
    includeLocations: Names,
    excludeLocations: Names,
  }),
)

const deviceStates = ['Compliant', 'DomainJoined'] as const

const DeviceFilter = annotated(
  z.strictObject({
    mode: word(['include', 'exclude']),
    rule: z
      .string()
      .trim()
      .min(1)
      .max(3_072)
      .superRefine((rule, ctx) => {
        try {
          compileDeviceRule(rule)
        } catch (error) {
          if (!(error instanceof RuleProblem)) throw error
          ctx.addIssue({ code: 'custom', message: error.message })
        }
      }),
  }),
)

const DevicesCondition = annotated(
  z
    .strictObject({
      includeDevices: wordList(['All']),
      excludeDevices: wordList(deviceStates),
      includeDeviceStates: wordList(['All']),
      excludeDeviceStates: wordList(deviceStates),
      deviceFilter: orNull(DeviceFilter),
    })
    .transform(({ excludeDevices, excludeDeviceStates, deviceFilter }) => ({
      excludeDevices: [...new Set([...excludeDevices, ...excludeDeviceStates])],
      deviceFilter,
    })),
)

/** The older form of the same. */
const DeviceStatesCondition = annotated(
  z.strictObject({ includeStates: wordList(['All']), excludeStates: wordList(deviceStates) }),
)

export const transferMethods = ['deviceCodeFlow', 'authenticationTransfer'] as const

const AuthenticationFlowsCondition = annotated(
  z.strictObject({ transferMethods: flags(transferMethods) }),
)

export const riskLevels = ['none', 'low', 'medium', 'high', 'hidden'] as const
export type RiskLevel = (typeof riskLevels)[number]

const FactTest = z.strictObject({ name: FactName, value: FactValue.default(true) })

/** Facts that hold: any of those included, none of those excluded. */
const FactsCondition = annotated(
  z.strictObject({
    includeFacts: z
      .array(FactTest)
      .max(100)
      .nullish()
      .transform(tests => tests ?? []),
    excludeFacts: z
      .array(FactTest)
      .max(100)
      .nullish()
      .transform(tests => tests ?? []),
  }),
)

/** Who may write may read what the answer says: a policy for safe methods alone would keep nothing back. */
const MethodScope = z.string().transform((value, ctx) => {
  const wanted = value.toLowerCase()
  if (wanted === 'all' || wanted === 'unsafe') return wanted
  ctx.addIssue({
    code: 'custom',
    message:
      wanted === 'safe'
        ? '"safe" is not enforced: whoever may write may read; choose among all, unsafe'
        : 'must be one of all, unsafe: methods are told apart by whether they may change something',
  })
  return z.NEVER
})

const HttpMethodsCondition = annotated(
  z.strictObject({
    includeMethods: z
      .array(MethodScope)
      .max(64)
      .nullish()
      .transform(methods => [...new Set(methods ?? [])]),
  }),
)

const enforced = {
  users: UsersCondition,
  applications: ApplicationsCondition,
  clientAppTypes: wordList(clientAppTypes, ['modern', 'easUnsupported']),
  platforms: orNull(PlatformsCondition),
  locations: orNull(LocationsCondition),
  devices: orNull(DevicesCondition),
  deviceStates: orNull(DeviceStatesCondition),
  signInRiskLevels: wordList(riskLevels),
  userRiskLevels: wordList(riskLevels),
  authenticationFlows: orNull(AuthenticationFlowsCondition),
  times: orNull(Times),
  facts: orNull(FactsCondition),
  httpMethods: orNull(HttpMethodsCondition),
}

const known = {
  agentIdRiskLevels: notEnforced(onlyEmpty),
  clientApplications: notEnforced(`${onlyEmpty}; workload identities do not come through here`),
  clients: notEnforced(onlyEmpty),
  insiderRiskLevels: notEnforced(onlyEmpty),
  servicePrincipalRiskLevels: notEnforced(onlyEmpty),
  signInRiskDetections: notEnforced(onlyEmpty),
}

export const ConditionSet = annotated(
  z.strictObject({ ...enforced, ...known }).transform(conditions => {
    const names = Object.keys(enforced) as (keyof typeof enforced)[]
    return Object.fromEntries(names.map(name => [name, conditions[name]])) as Pick<
      typeof conditions,
      keyof typeof enforced
    >
  }),
)
export type ConditionSet = z.output<typeof ConditionSet>

/** Whether a policy is for unsafe methods alone. */
export function isForUnsafeMethods({ httpMethods }: Pick<ConditionSet, 'httpMethods'>): boolean {
  const { includeMethods = [] } = httpMethods ?? {}
  return includeMethods.includes('unsafe') && !includeMethods.includes('all')
}

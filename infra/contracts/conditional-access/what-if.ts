/**
 * What-if: Graph's `evaluate` request (signInIdentity, signInContext, signInConditions) and result, and how registry asks
 * policy for it over the bus. Beside Graph's properties stand ours, for what a directory would know: groups and roles of
 * the user, how and when they authenticated, facts. What is left out is not known, and is said so.
 */

import { z } from 'zod'
import { annotated, notEnforced, orNull, withoutAnnotations, word } from '../graph.ts'
import { isMethod } from '../http-methods.ts'
import { Decision, outcomes } from '../policy.ts'
import { Device } from '../principal.ts'
import { clientAppTypes, platforms, riskLevels, transferMethods } from './conditions.ts'
import { FactName, FactValue } from './signals.ts'

const name = z.string().trim().min(1).max(512)
const kind = (expected: string) =>
  z
    .string()
    .refine(value => value.replace(/^#?microsoft\.graph\./, '') === expected, {
      error: `must be #microsoft.graph.${expected}: nothing else signs in here`,
    })
    .optional()

/** Keeps the type, which says what is evaluated. */
const typed = <Shape extends z.ZodRawShape>(shape: Shape, type: string) =>
  z.preprocess(
    value => {
      if (typeof value !== 'object' || value === null) return value
      const given = Reflect.get(value, '@odata.type')
      return {
        ...(withoutAnnotations(value) as object),
        ...(given !== undefined && { type: given }),
      }
    },
    z.strictObject({ ...shape, type: kind(type) }),
  )

const SignInIdentity = typed(
  {
    /** User principal name, or the subject or object id that policies name the user by. */
    userId: name,
    externalTenantId: notEnforced('sign-ins do not name the tenant of a guest'),
    externalUserType: notEnforced('say isGuest'),
    groups: z.array(name).max(2_000).nullish(),
    roles: z.array(name).max(500).nullish(),
    isGuest: z.boolean().nullish(),
  },
  'userSignIn',
)

const SignInContext = typed(
  { includeApplications: z.array(name).min(1).max(1, 'one application at a time') },
  'applicationContext',
)

const isNone = (value: unknown) => value === undefined || value === null || value === 'none'

/** Properties of Graph's deviceInfo are those of its device. */
const SignInConditions = annotated(
  z.strictObject({
    devicePlatform: word(platforms).nullish(),
    clientAppType: word(clientAppTypes).nullish(),
    signInRiskLevel: word(riskLevels).nullish(),
    userRiskLevel: word(riskLevels).nullish(),
    servicePrincipalRiskLevel: notEnforced('leave it out or none', isNone),
    insiderRiskLevel: notEnforced('leave it out or none', isNone),
    country: z
      .string()
      .regex(/^[A-Za-z]{2}$/, 'must be a country in two letters, as in FR')
      .nullish(),
    ipAddress: z.union([z.ipv4(), z.ipv6()], { error: 'must be an IP address' }).nullish(),
    authenticationFlow: orNull(
      annotated(z.strictObject({ transferMethod: word(transferMethods).nullish() })),
    ),
    deviceInfo: orNull(annotated(Device)),
    amr: z.array(z.string().max(64)).max(32).nullish(),
    acr: z.string().max(256).nullish(),
    /** When the user signed in at the provider; left out, now. */
    authenticationDateTime: z.iso.datetime({ offset: true }).nullish(),
    /** When access is asked for; left out, now. */
    dateTime: z.iso.datetime({ offset: true }).nullish(),
    facts: z.record(FactName, FactValue).nullish(),
    /** Of the request; left out, policies for unsafe methods may be meant. A WebSocket counts as unsafe. */
    httpMethod: z
      .string()
      .refine(isMethod, { error: 'must be an HTTP method, as in PUT' })
      .transform(method => method.toUpperCase())
      .nullish(),
  }),
)

/** A body of `POST /identity/conditionalAccess/evaluate`. */
export const WhatIf = annotated(
  z.strictObject({
    signInIdentity: SignInIdentity,
    signInContext: SignInContext,
    signInConditions: SignInConditions,
    appliedPoliciesOnly: z
      .boolean()
      .nullish()
      .transform(value => value ?? false),
  }),
)
export type WhatIf = z.output<typeof WhatIf>

/** Graph's whatIfAnalysisReasons that are said here. */
const analysisReasons = [
  'notSet',
  'notEnoughInformation',
  'users',
  'application',
  'clientApps',
  'devicePlatform',
  'location',
  'devices',
  'signInRisk',
  'userRisk',
  'authenticationFlow',
  'time',
  'invalidCondition',
  'policyNotEnabled',
] as const

/** What one policy says of one sign-in. */
export const PolicyOpinion = z.object({
  id: z.string(),
  displayName: z.string(),
  state: z.string(),
  policyApplies: z.boolean(),
  analysisReasons: z.enum(analysisReasons),
  /** Null when it does not apply. */
  outcome: z.enum(outcomes).nullable(),
  /** Words of the vocabularies in reasons.ts. */
  reasons: z.array(z.string()),
})
export type PolicyOpinion = z.output<typeof PolicyOpinion>

/** What registry asks policy: the sign-in as it was parsed, and the state that the answer must know. */
export const WhatIfRequest = z.object({
  whatIf: WhatIf,
  policiesRevision: z.int().nonnegative(),
})

export const WhatIfReply = z.object({
  decision: Decision,
  opinions: z.array(PolicyOpinion),
})
export type WhatIfReply = z.output<typeof WhatIfReply>

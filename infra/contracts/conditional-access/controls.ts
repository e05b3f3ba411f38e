/**
 * Graph's grant and session controls: what a sign-in must have, and how long it counts. Controls that need Microsoft's
 * own clients or services are refused by name.
 */

import { z } from 'zod'
import {
  annotated,
  notEnforced,
  notEnforcedControl,
  onlyEmpty,
  orNull,
  word,
  wordList,
} from '../graph.ts'
import { allowedCombinationsOf, Combination } from './strengths.ts'

export const builtInControls = ['block', 'mfa', 'compliantDevice', 'domainJoinedDevice'] as const

const known = [
  'approvedApplication',
  'compliantApplication',
  'passwordChange',
  'riskRemediation',
  'unknownFutureValue',
]

/** A strength of the provider's by its id, or any by its combinations of methods. */
export const AuthenticationStrength = annotated(
  z
    .strictObject({
      id: z.string().min(1).max(256).nullish(),
      displayName: z.string().max(256).nullish(),
      description: z.string().nullish(),
      policyType: z.string().nullish(),
      requirementsSatisfied: z.string().nullish(),
      createdDateTime: z.string().nullish(),
      modifiedDateTime: z.string().nullish(),
      allowedCombinations: z.array(Combination).max(200).nullish(),
      combinationConfigurations: notEnforced(onlyEmpty),
    })
    .transform(({ id, displayName, allowedCombinations }, ctx) => {
      const combinations = allowedCombinations?.length
        ? allowedCombinations
        : allowedCombinationsOf(id)
      if (combinations) {
        return {
          id: id ?? null,
          displayName: displayName ?? null,
          allowedCombinations: combinations,
        }
      }
      ctx.addIssue({
        code: 'custom',
        path: ['allowedCombinations'],
        message: 'is required for a strength that is not built in',
      })
      return z.NEVER
    }),
)
export type AuthenticationStrength = z.output<typeof AuthenticationStrength>

export const GrantControls = annotated(
  z
    .strictObject({
      operator: word(['AND', 'OR']),
      builtInControls: wordList(builtInControls, known),
      authenticationStrength: orNull(AuthenticationStrength),
      customAuthenticationFactors: notEnforced(onlyEmpty),
      termsOfUse: notEnforced(onlyEmpty),
    })
    .refine(
      ({ builtInControls: controls, authenticationStrength }) =>
        !controls.includes('block') || (controls.length === 1 && !authenticationStrength),
      { path: ['builtInControls'], error: 'block stands alone' },
    )
    .transform(({ operator, builtInControls: controls, authenticationStrength }) => ({
      operator,
      builtInControls: controls,
      authenticationStrength,
    })),
)
export type GrantControls = z.output<typeof GrantControls>

const isEnabled = z
  .boolean()
  .nullish()
  .transform(value => value ?? true)

const most = { hours: 23, days: 365 } as const

const SignInFrequency = annotated(
  z
    .strictObject({
      isEnabled,
      type: orNull(word(['hours', 'days'])),
      value: orNull(z.int().min(1)),
      frequencyInterval: word(['timeBased', 'everyTime'])
        .nullish()
        .transform(interval => interval ?? 'timeBased'),
      authenticationType: word(['primaryAndSecondaryAuthentication'], ['secondaryAuthentication'])
        .nullish()
        .transform(type => type ?? 'primaryAndSecondaryAuthentication'),
    })
    .refine(
      ({ isEnabled: counts, frequencyInterval, type, value }) =>
        !counts || frequencyInterval === 'everyTime' || (type !== null && value !== null),
      { path: ['value'], error: 'needs a number and a type, hours or days' },
    )
    .refine(({ type, value }) => type === null || value === null || value <= most[type], {
      path: ['value'],
      error: `must be at most ${most.hours} hours or ${most.days} days`,
    }),
)
export type SignInFrequency = z.output<typeof SignInFrequency>

const PersistentBrowser = annotated(z.strictObject({ isEnabled, mode: word(['always', 'never']) }))

/** Access is always evaluated continuously here, so the strict forms ask for what is done anyway. */
const ContinuousAccessEvaluation = annotated(
  z.strictObject({
    mode: word(['strictEnforcement', 'strictLocation'], ['disabled', 'unknownFutureValue']),
  }),
)

export const SessionControls = annotated(
  z
    .strictObject({
      signInFrequency: orNull(SignInFrequency),
      persistentBrowser: orNull(PersistentBrowser),
      continuousAccessEvaluation: orNull(ContinuousAccessEvaluation),
      /** Sessions never go on without policy here, whatever this says. */
      disableResilienceDefaults: z
        .boolean()
        .nullish()
        .transform(value => value ?? null),
      applicationEnforcedRestrictions: notEnforcedControl,
      cloudAppSecurity: notEnforcedControl,
      secureSignInSession: notEnforcedControl,
      networkAccessSecurity: notEnforcedControl,
      globalSecureAccessFilteringProfile: notEnforcedControl,
    })
    .transform(controls => ({
      signInFrequency: controls.signInFrequency,
      persistentBrowser: controls.persistentBrowser,
      continuousAccessEvaluation: controls.continuousAccessEvaluation,
      disableResilienceDefaults: controls.disableResilienceDefaults,
    })),
)
export type SessionControls = z.output<typeof SessionControls>

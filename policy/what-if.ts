/** What-if: a sign-in as an administrator describes it, decided by the evaluator of production. */

import type { FactValue } from '#infra/contracts/conditional-access/signals.ts'
import type { WhatIf, WhatIfReply } from '#infra/contracts/conditional-access/what-if.ts'
import { type MethodClass, methodClassOf } from '#infra/contracts/http-methods.ts'
import type { SignIn, User } from './conditions/condition.ts'
import { decisionOf } from './evaluate.ts'
import { authenticationOf } from './observed-sign-in.ts'
import type { PolicyState } from './state.ts'
import { opinions } from './verdicts.ts'

/** An application by `id` or `appId`; undefined for one that is not published here. */
export type FindApplication = (
  id: string,
) => { readonly id: string; readonly appId: string } | undefined

export function whatIf(asked: WhatIf, state: PolicyState, find: FindApplication): WhatIfReply {
  const signIn = describedSignIn(asked, state, find)
  const all = opinions(state.conditionalAccess, signIn)
  return {
    decision: withReasons(decisionOf(state.conditionalAccess.evaluate(signIn), [])),
    opinions: asked.appliedPoliciesOnly ? all.filter(({ policyApplies }) => policyApplies) : all,
  }
}

/** Assignments are not part of it: where no policy applies, policies let the user in. */
function withReasons<Decided extends { reasons: string[] }>(decision: Decided): Decided {
  return decision.reasons.length > 0 ? decision : { ...decision, reasons: ['no-policy-applies'] }
}

function describedSignIn(
  { signInIdentity, signInContext, signInConditions: conditions }: WhatIf,
  { places, signals, multifactor }: PolicyState,
  find: FindApplication,
): SignIn {
  const nowMs = conditions.dateTime ? Date.parse(conditions.dateTime) : Date.now()
  const [named = ''] = signInContext.includeApplications
  const id = named.toLowerCase()
  const application = find(id) ?? { id, appId: id }
  const { userId } = signInIdentity
  const groups = signInIdentity.groups ?? signals.groups(userId, nowMs)
  const { country, ipAddress: address, deviceInfo, facts } = conditions
  const hasPlace = Boolean(country) || Boolean(address)
  const about = {
    applicationId: application.id,
    userPrincipalName: userId,
    deviceId: typeof deviceInfo?.deviceId === 'string' ? deviceInfo.deviceId : undefined,
  }
  return {
    user: userOf(signInIdentity, groups),
    application: { id: application.id, appId: application.appId.toLowerCase() },
    authentication: authenticationOf(
      {
        amr: conditions.amr ?? [],
        ...(conditions.acr && { acr: conditions.acr }),
        authTime: authTimeSeconds(conditions.authenticationDateTime, nowMs),
      },
      multifactor,
    ),
    clientAppType: unlessAll(conditions.clientAppType),
    devicePlatform: unlessAll(conditions.devicePlatform),
    place: hasPlace
      ? places.of({ address: address ?? undefined, country: country ?? undefined })
      : undefined,
    device: deviceInfo ?? undefined,
    signInRisk: conditions.signInRiskLevel ?? undefined,
    userRisk: conditions.userRiskLevel ?? signals.risk('user', userId, nowMs),
    transferMethod: conditions.authenticationFlow?.transferMethod ?? 'none',
    methods: methodsOf(conditions.httpMethod),
    nowMs,
    fact: name => stated(facts, name) ?? signals.fact(name, about, nowMs),
  }
}

function stated(facts: Record<string, FactValue> | null | undefined, name: string) {
  return facts && Object.hasOwn(facts, name) ? facts[name] : undefined
}

/** A user of whom nothing but the id is known: whether a policy for a group means them cannot be told. */
function userOf(
  { userId, roles, isGuest }: WhatIf['signInIdentity'],
  groups: readonly string[] | undefined,
): User {
  return {
    names: new Set([userId.toLowerCase()]),
    groups: groups && new Set(groups),
    roles: roles ? new Set(roles) : undefined,
    isGuest: isGuest ?? (/#ext#/i.test(userId) || undefined),
  }
}

function methodsOf(method: string | null | undefined): MethodClass | undefined {
  return method ? methodClassOf({ method, headers: [], isUpgrade: false }) : undefined
}

function authTimeSeconds(dateTime: string | null | undefined, nowMs: number): number {
  return Math.floor((dateTime ? Date.parse(dateTime) : nowMs) / 1_000)
}

function unlessAll<Word extends string>(word: Word | 'all' | null | undefined) {
  return word === 'all' || word === null ? undefined : (word as Exclude<Word, 'all'> | undefined)
}

/**
 * The site owner's veto: what connectors of this site refuse, whatever policy grants. Every rule whose conditions all
 * hold applies; a condition that is left out holds always. Rules only take away, so their order means nothing, and what
 * the file does not understand (a property, a rule) makes all of it invalid.
 */

import { z } from 'zod'
import { Slug } from '#infra/contracts/application.ts'
import { type MethodQuestion, methodClassOf } from '#infra/contracts/http-methods.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { pathOf } from '#infra/http.ts'
import { compileHours, Hours } from './hours.ts'
import { anyReading, everyReading } from './paths.ts'

/** An empty list could be meant as "none" or as "all". */
const list = <Item extends z.ZodType>(item: Item) =>
  z.array(item).min(1, 'must name something, or be left out').max(1_000).optional()

const Path = z
  .string()
  .max(2_048)
  .regex(/^\/[^?#%\\;]*$/, 'must be a path that begins with a slash, unescaped, without a query')

const Name = z.string().min(1).max(256)

/** Not a union: that would not say which part of the hours is wrong. */
const OneOrMore = z.preprocess(
  hours => (Array.isArray(hours) ? hours : [hours]),
  z.array(Hours).min(1).max(50),
)

const Rule = z.strictObject({
  /** Stands in audit events. */
  name: z.string().min(1).max(64),
  /** `deny` refuses everything, `readOnly` what is not sure to change nothing. */
  effect: z.enum(['deny', 'readOnly']),
  applications: list(Slug),
  exceptApplications: list(Slug),
  /** Of the origin: a prefix holds itself and everything below it. */
  paths: list(Path),
  exceptPaths: list(Path),
  /** User principal names. A user is meant by name or by a group; nobody, by neither. */
  users: list(Name),
  groups: list(Name),
  exceptUsers: list(Name),
  exceptGroups: list(Name),
  hours: OneOrMore.optional(),
})
type Rule = z.output<typeof Rule>

export const VetoFile = z
  .strictObject({ rules: z.array(Rule).max(1_000) })
  .refine(({ rules }) => new Set(rules.map(({ name }) => name)).size === rules.length, {
    path: ['rules'],
    error: 'must have names of their own: two are called alike',
  })
export type VetoFile = z.output<typeof VetoFile>

/** What a rule is asked about. */
export interface VetoQuestion extends MethodQuestion {
  /** As the origin gets it. */
  readonly target: string
  readonly claims: Pick<LeaseClaims, 'app' | 'user'>
}

type Condition = (question: VetoQuestion, nowMs: number) => boolean

/** Gives the name of a rule that applies; undefined when none does. */
export type Veto = (question: VetoQuestion, nowMs?: number) => string | undefined

/** Rules are looked up by application once, and then each request meets only those that may concern it. */
export function compileVeto({ rules }: VetoFile): Veto {
  const compiled = rules.map(rule => ({
    name: rule.name,
    concerns: applicationCondition(rule),
    conditions: conditionsOf(rule),
  }))
  const byApplication = new Map<string, typeof compiled>()
  const rulesOf = (application: string) => {
    let known = byApplication.get(application)
    if (!known) {
      known = compiled.filter(({ concerns }) => concerns(application))
      byApplication.set(application, known)
    }
    return known
  }
  return (question, nowMs = Date.now()) => {
    for (const { name, conditions } of rulesOf(question.claims.app)) {
      if (conditions.every(holds => holds(question, nowMs))) return name
    }
    return undefined
  }
}

function applicationCondition({ applications, exceptApplications }: Rule) {
  return (id: string) =>
    (applications?.includes(id) ?? true) && !(exceptApplications?.includes(id) ?? false)
}

/** The cheapest first. */
function conditionsOf(rule: Rule): Condition[] {
  const { effect, hours, paths, exceptPaths } = rule
  const conditions: Condition[] = []
  if (effect === 'readOnly') conditions.push(question => methodClassOf(question) === 'unsafe')
  if (hours !== undefined) {
    const times = hours.map(compileHours)
    conditions.push((_, nowMs) => times.some(isWithin => isWithin(nowMs)))
  }
  conditions.push(...userConditions(rule))
  if (paths) {
    const matches = anyReading(paths)
    conditions.push(({ target }) => matches(pathOf(target)))
  }
  if (exceptPaths) {
    const matches = everyReading(exceptPaths)
    conditions.push(({ target }) => !matches(pathOf(target)))
  }
  return conditions
}

function userConditions({ users, groups, exceptUsers, exceptGroups }: Rule): Condition[] {
  const isOneOf = (names: readonly string[] | undefined, among: readonly string[] | undefined) => {
    const known = new Set(names?.map(name => name.toLowerCase()))
    const knownGroups = new Set(among)
    return ({ claims: { user } }: VetoQuestion) =>
      user !== null &&
      (known.has(user.userPrincipalName.toLowerCase()) ||
        user.groups.some(group => knownGroups.has(group)))
  }
  const conditions: Condition[] = []
  if (users || groups) conditions.push(isOneOf(users, groups))
  if (exceptUsers || exceptGroups) {
    const isExcepted = isOneOf(exceptUsers, exceptGroups)
    conditions.push(question => !isExcepted(question))
  }
  return conditions
}

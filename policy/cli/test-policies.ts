/**
 * `sallyport policy test FILE`: policies with sign-ins and what is expected of them, kept in version control and decided
 * by the evaluator of production, without a running system. What policies a fixture names are files of exports, or stand
 * in it.
 */

import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import '#infra/plain-words.ts'
import {
  type NamedLocation,
  NamedLocationInput,
} from '#infra/contracts/conditional-access/named-location.ts'
import {
  type ConditionalAccessPolicy,
  PolicyInput,
} from '#infra/contracts/conditional-access/policy.ts'
import { isPolicy, resourcesIn } from '#infra/contracts/conditional-access/resource-file.ts'
import { WhatIf } from '#infra/contracts/conditional-access/what-if.ts'
import { type Decision, outcomes } from '#infra/contracts/policy.ts'
import { depthProblemOf } from '#infra/json.ts'
import { ConditionalAccess } from '../conditional-access.ts'
import { Places } from '../places.ts'
import { Signals } from '../signals.ts'
import type { PolicyState } from '../state.ts'
import { whatIf } from '../what-if.ts'

/** What a fixture says of one sign-in: who, where to, and Graph's signInConditions. */
const SignIn = z.looseObject({
  user: z.string(),
  groups: z.array(z.string()).optional(),
  roles: z.array(z.string()).optional(),
  isGuest: z.boolean().optional(),
  application: z.string(),
})

const Fixture = z.strictObject({
  /** Files beside this one, or policies and named locations themselves. */
  policies: z.array(z.union([z.string(), z.looseObject({})])).min(1),
  multifactorAcrValues: z.array(z.string()).default(['urn:sallyport:acr:mfa']),
  tests: z
    .array(
      z.strictObject({
        name: z.string(),
        signIn: SignIn,
        expect: z.strictObject({
          outcome: z.enum(outcomes),
          reasons: z.array(z.string()).optional(),
          /** Ids or display names of the enforced policies that apply. */
          policies: z.array(z.string()).optional(),
        }),
      }),
    )
    .min(1),
})
type Fixture = z.output<typeof Fixture>
type Case = Fixture['tests'][number]

export interface TestResult {
  readonly name: string
  /** Empty when it is as expected. */
  readonly problems: readonly string[]
}

/** The fixture, or what it names, cannot be used. */
export class UnusableFixture extends Error {
  override name = 'UnusableFixture'
}

/** @throws UnusableFixture */
export function testPolicies(file: string): TestResult[] {
  const fixture = parse(Fixture, readJson(file), file)
  const state = stateOf(fixture, dirname(resolve(file)))
  return fixture.tests.map(test => ({ name: test.name, problems: problemsOf(test, state, file) }))
}

function problemsOf(test: Case, state: PolicyState, file: string): string[] {
  const { expect: expected, name } = test
  const asked = parse(WhatIf, bodyOf(test), `${file}: "${name}"`)
  const { decision } = whatIf(asked, state, () => undefined)
  const names = namesOf(decision, state)
  const differences: (string | undefined)[] = [
    difference('outcome', expected.outcome, decision.outcome),
    expected.reasons &&
      difference('reasons', expected.reasons.toSorted(), decision.reasons.toSorted()),
    expected.policies && policyDifference(expected.policies, names),
  ]
  return differences.filter(problem => problem !== undefined)
}

function bodyOf({ signIn }: Case): unknown {
  const { user, groups = [], roles = [], isGuest, application, ...conditions } = signIn
  return {
    signInIdentity: { userId: user, groups, roles, ...(isGuest !== undefined && { isGuest }) },
    signInContext: { includeApplications: [application] },
    signInConditions: conditions,
  }
}

interface Named {
  readonly id: string
  readonly displayName: string
}

function namesOf({ policies }: Decision, { conditionalAccess }: PolicyState): Named[] {
  const all = conditionalAccess.policies.map(({ policy }) => policy)
  return all.filter(({ id }) => policies.includes(id))
}

function policyDifference(
  expected: readonly string[],
  applied: readonly Named[],
): string | undefined {
  const missing = expected.filter(
    name => !applied.some(({ id, displayName }) => name === id || name === displayName),
  )
  const surplus = applied.filter(
    ({ id, displayName }) => !expected.includes(id) && !expected.includes(displayName),
  )
  if (missing.length + surplus.length === 0) return undefined
  const parts = [
    ...missing.map(name => `"${name}" does not apply`),
    ...surplus.map(({ displayName }) => `"${displayName}" applies`),
  ]
  return `policies: ${parts.join(', ')}`
}

function difference(what: string, expected: unknown, actual: unknown): string | undefined {
  const [wanted, is] = [JSON.stringify(expected), JSON.stringify(actual)]
  return wanted === is ? undefined : `${what}: expected ${wanted}, is ${is}`
}

function stateOf({ policies, multifactorAcrValues }: Fixture, folder: string): PolicyState {
  const found = policies.flatMap(entry =>
    typeof entry === 'string'
      ? contentOf(resolve(folder, entry))
      : resourcesIn(entry).map(value => ({ value, where: 'policies' })),
  )
  const stored: ConditionalAccessPolicy[] = []
  const locations: NamedLocation[] = []
  for (const [index, { value, where }] of found.entries()) {
    const common = { createdDateTime: new Date(0).toISOString(), modifiedDateTime: null }
    if (!isPolicy(value)) {
      const location = parse(NamedLocationInput, value, where)
      const { createdDateTime: _, modifiedDateTime: __, deletedDateTime: ___, ...rest } = location
      locations.push({ ...rest, ...common, id: location.id ?? location.displayName })
    } else {
      const policy = parse(PolicyInput, value, where)
      stored.push({ ...policy, ...common, id: policy.id ?? `policy-${index}` })
    }
  }
  const multifactor = { acrValues: multifactorAcrValues }
  return {
    conditionalAccess: ConditionalAccess.of(stored, multifactor),
    places: new Places(locations, () => undefined),
    signals: new Signals(new Map()),
    multifactor,
  }
}

function contentOf(file: string) {
  return resourcesIn(readJson(file)).map(value => ({ value, where: file }))
}

function readJson(file: string): unknown {
  const content = parsed(file)
  const problem = depthProblemOf(content)
  if (problem) {
    const where = problem.property === '' ? file : `${file}: ${problem.property}`
    throw new UnusableFixture(`${where} ${problem.message}`)
  }
  return content
}

function parsed(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new UnusableFixture(`${file} cannot be read: ${(error as Error).message}`)
  }
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: string,
): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new UnusableFixture(`${where} cannot be used:\n${z.prettifyError(result.error)}`)
}

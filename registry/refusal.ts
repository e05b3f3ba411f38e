/**
 * A change that the registry does not make, with the properties that are to blame: what an administrator reads.
 * Unlike the detail of other faults, everything in it is meant to be shown.
 */

import type { z } from 'zod'
import { type FaultCode, SallyportError } from '#infra/errors.ts'
import '#infra/plain-words.ts'

export interface PropertyProblem {
  /** As in the body: `onPremisesPublishing.internalUrl`. */
  readonly property: string
  readonly message: string
}

export class Refusal extends SallyportError {
  readonly problems: readonly PropertyProblem[]
  constructor(code: FaultCode, detail: string, problems: readonly PropertyProblem[] = []) {
    super(code, detail)
    this.name = 'Refusal'
    this.problems = problems
  }
}

/** One property is not acceptable. */
export function invalid(property: string, message: string): Refusal {
  return invalidBecause([{ property, message }])
}

export function invalidBecause(problems: readonly PropertyProblem[]): Refusal {
  const detail = problems.map(({ property, message }) => `${property}: ${message}`).join('; ')
  return new Refusal('bad_request', detail, problems)
}

/** What a schema found, one problem per property. */
export function problemsOf(
  issues: readonly z.core.$ZodIssue[],
  unknown = 'is not a property that can be set here',
): PropertyProblem[] {
  return issues.flatMap(issue => {
    const path = issue.path.map(String)
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map(key => ({ property: [...path, key].join('.'), message: unknown }))
    }
    return [{ property: path.join('.') || 'body', message: issue.message }]
  })
}

/** Parses what is about to be stored; a problem is the administrator's to solve. */
export function parseOrRefuse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw invalidBecause(problemsOf(result.error.issues))
}

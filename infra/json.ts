/** JSON that somebody else wrote: nothing of it is believed that a schema has not seen. */

import type { z } from 'zod'
import { type FaultCode, SallyportError } from './errors.ts'

/** Levels that JSON may have which is read by recursion; nothing that means something comes near. */
const maxDepth = 64

/** So many names lead to what is too deep: whoever reads that looks there. */
const namesShown = 3

export interface DepthProblem {
  /** As in `value.0.conditions`; empty when lists alone are nested. */
  readonly property: string
  readonly message: string
}

/** What is nested so deeply that reading it would exhaust the stack, if anything is. */
export function depthProblemOf(value: unknown): DepthProblem | undefined {
  const path = pathBelow(maxDepth, value)
  if (!path) return undefined
  const property = path
    .slice(0, namesShown)
    .join('.')
    .replace(/(^|\.)\d+(\.\d+)*$/, '')
  return { property, message: `is nested too deeply: ${maxDepth} levels at most` }
}

/** The names that lead to something so many levels down. */
function pathBelow(levels: number, value: unknown): string[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  if (levels === 0) return []
  for (const [name, part] of Object.entries(value)) {
    const path = pathBelow(levels - 1, part)
    if (path) return [name, ...path]
  }
  return undefined
}

/** Parses JSON with a schema; anything else is an error with the given code that names the field. */
export function parseJson<Schema extends z.ZodType>(
  schema: Schema,
  data: Buffer,
  what: string,
  code: FaultCode = 'protocol_error',
): z.output<Schema> {
  let value: unknown
  try {
    value = JSON.parse(data.toString('utf8'))
  } catch (error) {
    throw new SallyportError(code, `${what}: not JSON`, { cause: error })
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const problems = result.error.issues.map(issue => `${issue.path.join('.')}: ${issue.message}`)
  throw new SallyportError(code, `${what}: ${problems.join('; ')}`)
}

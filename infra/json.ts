/** JSON that somebody else wrote: nothing of it is believed that a schema has not seen. */

import type { z } from 'zod'
import { type FaultCode, SallyportError } from './errors.ts'

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

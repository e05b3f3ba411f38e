/**
 * The only place that turns an error into an answer of the admin API: RFC 9457 problem details, with Graph's own
 * `error` member beside them so that its clients understand it too. What is not ours is reported without its detail.
 */

import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { FAULTS, type FaultCode, SallyportError } from '#infra/errors.ts'
import { invalidBecause, type PropertyProblem, problemsOf, Refusal } from '../refusal.ts'

export const problemMediaType = 'application/problem+json'

/** What an error answers. */
export const Problem = z.object({
  type: z.string().describe('urn:sallyport:fault:CODE'),
  title: z.string(),
  status: z.number().int().min(400).max(599),
  detail: z.string(),
  code: z.string(),
  instance: z.string().optional(),
  requestId: z.string().describe('Stands in the log and in audit events, too.'),
  errors: z.array(z.object({ property: z.string(), message: z.string() })),
  error: z
    .object({
      code: z.string(),
      message: z.string(),
      innerError: z.object({ date: z.iso.datetime(), 'request-id': z.string() }),
    })
    .describe('The same in the form of Microsoft Graph.'),
})
type Problem = z.output<typeof Problem>

/** Graph's words for our fault codes, where it has one. */
const graphCodes: Partial<Record<FaultCode, string>> = {
  bad_request: 'Request_BadRequest',
  unauthenticated: 'InvalidAuthenticationToken',
  resource_not_found: 'Request_ResourceNotFound',
  already_exists: 'Request_MultipleObjectsWithSameKeyValue',
  conflict: 'Directory_ConcurrencyViolation',
  precondition_failed: 'PreconditionFailed',
  bus_unavailable: 'ServiceUnavailable',
}

/** Our own form of whatever went wrong. */
export function asRefusal(error: FastifyError | Error): SallyportError {
  if (error instanceof SallyportError) return error
  if (hasZodFastifySchemaValidationErrors(error)) return invalidBecause(validationProblems(error))
  const code = 'code' in error ? String(error.code) : ''
  const known = frameworkFaults[code]
  if (known) return new Refusal(known, error.message)
  const status = 'statusCode' in error ? Number(error.statusCode) : 500
  if (status >= 400 && status < 500) return new Refusal('bad_request', error.message)
  return new SallyportError('internal', error.message, { cause: error })
}

const frameworkFaults: Record<string, FaultCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
}

/** Where the value stood, and what a schema said of it. */
function validationProblems(error: {
  validation: { instancePath: string; params?: object; message?: string; keyword: string }[]
  validationContext?: string | undefined
}): PropertyProblem[] {
  const issues = error.validation.map(({ instancePath, params, message = '', keyword }) => ({
    ...params,
    path: instancePath.split('/').filter(part => part !== ''),
    code: keyword,
    message,
  }))
  const unknown = error.validationContext === 'querystring' ? 'is not supported here' : undefined
  return problemsOf(issues as unknown as z.core.$ZodIssue[], unknown)
}

export function sendProblem(req: FastifyRequest, reply: FastifyReply, error: SallyportError): void {
  const { status, title } = FAULTS[error.code]
  const isShown = error instanceof Refusal || status !== 500
  const detail = isShown ? error.message : 'See the log of the registry for this request id.'
  const body: Problem = {
    type: `urn:sallyport:fault:${error.code}`,
    title,
    status,
    detail,
    code: error.code,
    instance: req.url.split('?')[0],
    requestId: req.id,
    errors: error instanceof Refusal ? [...error.problems] : [],
    error: {
      code: graphCodes[error.code] ?? error.code,
      message: detail,
      innerError: { date: new Date().toISOString(), 'request-id': req.id },
    },
  }
  if (status === 503) void reply.header('retry-after', '1')
  void reply.code(status).type(problemMediaType).send(JSON.stringify(body))
}

/**
 * What OpenAPI 3.1 demands of a document, as far as this API uses it: every violation in words. Schemas are read as
 * JSON Schema by zod, which throws at types, patterns and references that make no sense.
 */

import { z } from 'zod'

const Reference = z.strictObject({ $ref: z.string().startsWith('#/components/') })
const Schema = z.record(z.string(), z.json())
const Content = z
  .record(z.string().regex(/^[a-z]+\/[a-z+]+$/), z.strictObject({ schema: Schema }))
  .refine(content => Object.keys(content).length > 0, { error: 'has no media type' })

export const Parameter = z
  .strictObject({
    name: z.string().min(1),
    in: z.enum(['query', 'path', 'header']),
    required: z.boolean(),
    description: z.string().min(1),
    schema: Schema,
  })
  .refine(parameter => parameter.in !== 'path' || parameter.required, {
    error: 'a path parameter must be required',
  })
type Parameter = z.output<typeof Parameter>

const Response = z.strictObject({ description: z.string().min(1), content: Content.optional() })
export type Response = z.output<typeof Response>

const Operation = z.strictObject({
  summary: z.string().min(1),
  tags: z.array(z.string()).min(1),
  parameters: z.array(z.union([Reference, Parameter])),
  requestBody: z.strictObject({ required: z.boolean(), content: Content }).optional(),
  responses: z.record(z.string().regex(/^([1-5]\d\d|default)$/), z.union([Reference, Response])),
  security: z.array(z.record(z.string(), z.array(z.string()))).optional(),
})
export type Operation = z.output<typeof Operation>

export const OpenApiDocument = z.strictObject({
  openapi: z.string().regex(/^3\.1\.\d+$/),
  info: z.strictObject({
    title: z.string().min(1),
    version: z.string().min(1),
    description: z.string(),
    license: z.strictObject({ name: z.string(), identifier: z.string() }),
  }),
  servers: z.array(z.strictObject({ url: z.string().startsWith('/') })).min(1),
  tags: z.array(z.strictObject({ name: z.string(), description: z.string().min(1) })),
  paths: z.record(
    z.string().startsWith('/'),
    z.partialRecord(z.enum(['get', 'put', 'post', 'patch', 'delete']), Operation),
  ),
  components: z.strictObject({
    securitySchemes: z.record(z.string(), z.looseObject({ type: z.literal('http') })),
    schemas: z.record(z.string(), Schema),
    parameters: z.record(z.string(), Parameter),
    responses: z.record(z.string(), Response),
  }),
  security: z.array(z.record(z.string(), z.array(z.string()))).min(1),
})
export type OpenApiDocument = z.output<typeof OpenApiDocument>

export interface Described {
  readonly path: string
  readonly method: string
  readonly operation: Operation
}

export function operationsOf({ paths }: OpenApiDocument): Described[] {
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ path, method, operation })),
  )
}

/** What stands at the place, or what a reference there leads to; undefined when it leads nowhere. */
export function resolve<Value extends object>(
  document: OpenApiDocument,
  value: Value | z.output<typeof Reference>,
): Value | undefined {
  if (!('$ref' in value)) return value as Value
  const [, , ...steps] = String(value.$ref).split('/')
  return steps.reduce<unknown>(
    (part, step) => (part as Record<string, unknown> | undefined)?.[step],
    document.components,
  ) as Value | undefined
}

/** Rules between the parts of a document, which its form alone does not show. */
export function violations(document: OpenApiDocument): string[] {
  const shapes = Object.keys(document.paths).map(path => path.replace(/\{[^}]*\}/g, '{}'))
  const twice = shapes.filter((shape, index) => shapes.indexOf(shape) !== index)
  const tags = document.tags.map(({ name }) => name)
  return [
    ...twice.map(shape => `${shape}: described twice`),
    ...operationsOf(document).flatMap(described => {
      const found = [
        ...ofParameters(document, described),
        ...ofResponses(document, described),
        ...ofSecurity(document, described),
        ...described.operation.tags.filter(tag => !tags.includes(tag)).map(tag => `tag ${tag}`),
      ]
      return found.map(problem => `${described.method} ${described.path}: ${problem}`)
    }),
  ]
}

function ofParameters(document: OpenApiDocument, { path, operation }: Described): string[] {
  const parameters = operation.parameters.map(each => resolve<Parameter>(document, each))
  const known = parameters.filter(each => each !== undefined)
  const keys = known.map(each => `${each.in} ${each.name}`)
  const inPath = known.filter(each => each.in === 'path').map(({ name }) => name)
  const inTemplate = Array.from(path.matchAll(/\{([^}]+)\}/g), ([, name]) => name)
  return [
    ...(known.length < parameters.length ? ['a parameter leads nowhere'] : []),
    ...keys.filter((key, at) => keys.indexOf(key) !== at).map(key => `${key} stands twice`),
    ...(inPath.toSorted().join() === inTemplate.toSorted().join()
      ? []
      : ['path parameters differ']),
    ...known.flatMap(each => ofSchema(`parameter ${each.name}`, each.schema)),
  ]
}

/** Actions of Graph that take nothing. */
const withoutBody = ['/users/{id}/revokeSignInSessions']

function ofResponses(document: OpenApiDocument, { method, path, operation }: Described): string[] {
  const statuses = Object.keys(operation.responses)
  const needsBody = ['post', 'put', 'patch'].includes(method) && !withoutBody.includes(path)
  const body = operation.requestBody?.content['application/json']
  return [
    ...(statuses.some(status => status.startsWith('2')) ? [] : ['never succeeds']),
    ...(statuses.includes('default') ? [] : ['never fails']),
    ...(needsBody === (body !== undefined) ? [] : ['body is missing, or not wanted']),
    ...(body ? ofSchema('body', body.schema) : []),
    ...statuses.flatMap(status => {
      const given = operation.responses[status]
      const response = given && resolve<Response>(document, given)
      if (!response) return [`${status} leads nowhere`]
      const contents = Object.values(response.content ?? {})
      const hasContent = contents.length > 0
      if (hasContent === (status === '204')) return [`${status} has content, or none`]
      return contents.flatMap(({ schema }) => ofSchema(status, schema))
    }),
  ]
}

function ofSecurity(document: OpenApiDocument, { operation }: Described): string[] {
  const demanded = operation.security ?? document.security
  const schemes = Object.keys(document.components.securitySchemes)
  const isProtected =
    demanded.length > 0 &&
    demanded.every(each => Object.keys(each).length > 0) &&
    demanded.flatMap(Object.keys).every(name => schemes.includes(name))
  return isProtected ? [] : ['open to everybody, or by an unknown scheme']
}

function ofSchema(place: string, schema: z.output<typeof Schema>): string[] {
  try {
    z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0])
    return []
  } catch (error) {
    return [`${place}: ${error instanceof Error ? error.message : error}`]
  }
}

/**
 * The description of the admin API (OpenAPI 3.1), made from the routes and their schemas. Added here is what every
 * operation has: its errors, and the headers that changes take.
 */

import swagger from '@fastify/swagger'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { version } from '#infra/version.ts'
import type { AdminServer } from './context.ts'
import { Problem, problemMediaType } from './problem.ts'

/** Each prefix has the same routes: described once, with the prefixes as servers. */
export async function describe(app: AdminServer, prefixes: readonly string[]): Promise<void> {
  const [described = ''] = prefixes
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sallyport admin API',
        version,
        description:
          'Applications, connector groups, connectors and assignments, at the paths and with the property names ' +
          'of Microsoft Graph. Errors are problem details (RFC 9457).',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: prefixes.map(url => ({ url })),
      tags,
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description: 'The token of SALLYPORT_REGISTRY_ADMIN_TOKEN.',
          },
        },
      },
      security: [{ token: [] }],
    },
    transform: document => {
      const { schema, url } = jsonSchemaTransform(document)
      if (!url.startsWith(`${described}/`)) return { schema: { ...schema, hide: true }, url }
      return { schema, url: url.slice(described.length) }
    },
    transformObject: document =>
      'openapiObject' in document
        ? { ...document.openapiObject, ...completed(document.openapiObject as Document) }
        : document.swaggerObject,
  })
}

const tags = [
  { name: 'applications', description: 'What is published, where, and by which connectors.' },
  { name: 'assignments', description: 'Which users and groups may use which application.' },
  { name: 'conditional access', description: 'Under which conditions, and what-if.' },
  { name: 'signals', description: 'Risks and facts that outside systems and administrators know.' },
  { name: 'sessions', description: 'Ending the sessions of a user, and explaining refusals.' },
  { name: 'connector groups', description: 'Connectors that serve the same applications.' },
  { name: 'connectors', description: 'What stands in the private networks, and how it is.' },
]

type Operation = { parameters?: object[]; responses?: Record<string, unknown> }
type Document = { paths?: Record<string, Record<string, Operation>>; components?: object }

const reference = (place: string) => ({ $ref: `#/components/${place}` })

/** With errors and headers. */
function completed({ paths = {}, components }: Document) {
  const { $schema: _, ...problem } = z.toJSONSchema(Problem, { io: 'output' })
  const content = { [problemMediaType]: { schema: problem } }
  const described = mapValues(paths, operations => mapValues(operations, complete))
  return {
    paths: described,
    components: {
      ...components,
      parameters: { ifMatch, prefer },
      responses: { problem: { description: 'What is wrong, and with which property.', content } },
    },
  }
}

function complete(operation: Operation, method: string): Operation {
  const { parameters = [], responses = {} } = operation
  const isChange = method === 'patch' || method === 'put' || method === 'delete'
  const isOfTwoKinds = '200' in responses && '204' in responses
  const headers = [
    ...(isChange ? [reference('parameters/ifMatch')] : []),
    ...(isOfTwoKinds ? [reference('parameters/prefer')] : []),
  ]
  return {
    ...operation,
    parameters: [...parameters, ...headers],
    responses: { ...responses, default: reference('responses/problem') },
  }
}

function mapValues<From, To>(
  object: Readonly<Record<string, From>>,
  change: (value: From, name: string) => To,
): Record<string, To> {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [name, change(value, name)]),
  )
}

const ifMatch = {
  in: 'header',
  name: 'If-Match',
  required: false,
  description: 'Makes the change only if the resource still has this entity tag; 412 otherwise.',
  schema: { type: 'string' },
}

const prefer = {
  in: 'header',
  name: 'Prefer',
  required: false,
  description: 'return=representation: the answer is 200 with the result in place of 204.',
  schema: { type: 'string' },
}

/**
 * `/identity/conditionalAccess`: Graph's policies and named locations, and its what-if (`evaluate`). Bodies are Graph's;
 * what is not enforced is refused by name (infra/contracts/graph.ts).
 */

import { z } from 'zod'
import type { RegisteredApplication } from '#infra/contracts/application.ts'
import { NamedLocationInput } from '#infra/contracts/conditional-access/named-location.ts'
import { PolicyInput } from '#infra/contracts/conditional-access/policy.ts'
import { WhatIf } from '#infra/contracts/conditional-access/what-if.ts'
import type { Applications } from '../applications.ts'
import { analysisOf } from '../conditional-access/evaluation.ts'
import type { Resources } from '../conditional-access/policies.ts'
import { remarksOn } from '../conditional-access/remarks.ts'
import { ById, noContent } from './application-routes.ts'
import type { AdminContext, AdminServer } from './context.ts'
import { listOf, page, readOf, select } from './list.ts'
import { etagOf, preconditionOf, setEtag, wantsRepresentation } from './odata.ts'
import { NamedLocationView, PolicyView, WhatIfAnswer } from './policy-views.ts'
import { recordChange } from './record.ts'

const root = '/identity/conditionalAccess'
const tags = ['conditional access']

/**
 * Merged with what is there and then parsed as a whole, so that it may say as little as it wants: objects are merged,
 * lists replaced, null clears.
 */
const Patch = z.record(z.string(), z.unknown())

export function policyRoutes(app: AdminServer, context: AdminContext): void {
  resourceRoutes(app, context, {
    path: 'policies',
    what: 'conditional access policy',
    many: 'conditional access policies',
    resources: context.policies,
    input: PolicyInput,
    view: PolicyView,
  })
  resourceRoutes(app, context, {
    path: 'namedLocations',
    what: 'named location',
    many: 'named locations',
    resources: context.namedLocations,
    input: NamedLocationInput,
    view: NamedLocationView,
  })
  evaluateRoute(app, context)
}

interface Offered {
  path: string
  what: string
  many: string
  // biome-ignore lint/suspicious/noExplicitAny: two kinds of resources under one set of routes
  resources: Resources<any>
  input: z.ZodType
  view: typeof PolicyView | typeof NamedLocationView
}

const shown = ({ value, revision }: { value: object; revision: number }) =>
  ({ ...value, '@odata.etag': etagOf(revision) }) as never

function resourceRoutes(app: AdminServer, context: AdminContext, offered: Offered): void {
  readRoutes(app, offered)
  createRoute(app, context, offered)
  changeRoutes(app, context, offered)
}

function readRoutes(app: AdminServer, { path, what, many, resources, view }: Offered): void {
  const list = listOf(view as typeof PolicyView, ['id', 'displayName'])
  const one = readOf(view as typeof PolicyView)
  app.route({
    method: 'GET',
    url: `${root}/${path}`,
    schema: {
      tags,
      summary: `List ${many}`,
      querystring: list.query,
      response: { 200: list.answer },
    },
    handler: async req => page(req, resources.list().map(shown)),
  })
  app.route({
    method: 'GET',
    url: `${root}/${path}/:id`,
    schema: {
      tags,
      summary: `Read a ${what}`,
      params: ById,
      querystring: one.query,
      response: { 200: one.answer },
    },
    handler: async (req, reply) => {
      const found = resources.get(req.params.id)
      setEtag(reply, found.revision)
      return select(shown(found), req.query.$select)
    },
  })
}

function createRoute(app: AdminServer, { audit }: AdminContext, offered: Offered): void {
  const { path, what, resources, input, view } = offered
  app.route({
    method: 'POST',
    url: `${root}/${path}`,
    schema: {
      tags,
      summary: `Create a ${what}`,
      body: input,
      response: { 201: view.describe(`The ${what}.`) },
    },
    // What was sent is checked once more with what is there, as a patch is.
    handler: async (req, reply) => {
      const created = await resources.create(req.body)
      const { revision, changed } = created
      const resource = `conditionalAccess/${path}/${created.value.id}`
      recordChange(audit, req, { outcome: 'created', resource, changed, revision })
      setEtag(reply, revision)
      void reply.header('location', `${req.url.split('?')[0]}/${created.value.id}`)
      return reply.code(201).send(shown(created))
    },
  })
}

function changeRoutes(app: AdminServer, { audit }: AdminContext, offered: Offered): void {
  const { path, what, resources, view } = offered
  app.route({
    method: 'PATCH',
    url: `${root}/${path}/:id`,
    schema: {
      tags,
      summary: `Change a ${what}`,
      params: ById,
      body: Patch,
      response: { 200: view.describe(`The ${what} as it is now.`), 204: noContent },
    },
    handler: async (req, reply) => {
      const { id } = req.params
      const result = await resources.update(id, req.body, preconditionOf(req))
      const { revision, changed } = result
      const resource = `conditionalAccess/${path}/${id}`
      recordChange(audit, req, { outcome: 'updated', resource, changed, revision })
      setEtag(reply, revision)
      if (!wantsRepresentation(req)) return reply.code(204).send()
      return reply.code(200).send(shown(result))
    },
  })
  app.route({
    method: 'DELETE',
    url: `${root}/${path}/:id`,
    schema: { tags, summary: `Delete a ${what}`, params: ById, response: { 204: noContent } },
    handler: async (req, reply) => {
      const { id } = req.params
      const { revision } = await resources.remove(id, preconditionOf(req))
      const resource = `conditionalAccess/${path}/${id}`
      recordChange(audit, req, { outcome: 'deleted', resource, changed: [], revision })
      return reply.code(204).send()
    },
  })
}

function evaluateRoute(app: AdminServer, { policies, whatIf, applications }: AdminContext): void {
  app.route({
    method: 'POST',
    url: `${root}/evaluate`,
    schema: {
      tags,
      summary: 'What would be decided for a sign-in, and what each policy says of it (what-if)',
      body: WhatIf,
      response: { 200: WhatIfAnswer },
    },
    handler: async req => {
      const answer = await whatIf(req.body)
      const value = analysisOf(policies.list(), answer, req.body.appliedPoliciesOnly)
      const remarks = remarksOn(named(applications, req.body), req.body.signInIdentity)
      return { value, decision: answer.decision, remarks } as never
    },
  })
}

/** As policies may name it. @throws Refusal when there is none: a decision about nothing would be a grant. */
function named({ get }: Applications, { signInContext }: WhatIf): RegisteredApplication {
  const [name = ''] = signInContext.includeApplications
  try {
    return get(name.toLowerCase()).value
  } catch {
    return get(name).value
  }
}

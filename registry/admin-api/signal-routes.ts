/**
 * What outside systems have said, for administrators: Graph's riskyUsers, and facts (ours). A change is published as any
 * other system would do it, so policy checks and keeps it in the same way.
 */

import { z } from 'zod'
import type { Audit } from '#infra/audit.ts'
import {
  FactName,
  FactStatement,
  type Signal,
  signalScopes,
} from '#infra/contracts/conditional-access/signals.ts'
import { token } from '#infra/subjects.ts'
import { noContent } from './application-routes.ts'
import type { AdminContext, AdminServer } from './context.ts'
import { listOf, page } from './list.ts'
import { recordChange } from './record.ts'

const tags = ['signals']

/** Graph's riskyUser. */
const RiskyUserView = z.object({
  id: z.string(),
  userPrincipalName: z.string(),
  riskLevel: z.string(),
  riskState: z.enum(['none', 'atRisk']),
  riskDetail: z.string(),
  riskLastUpdatedDateTime: z.string(),
})

const FactView = z.object({
  id: z.string(),
  name: z.string(),
  scope: z.enum(signalScopes),
  about: z.string().describe('What it is about; empty for everything.'),
  value: z.union([z.string(), z.number(), z.boolean()]),
  reasons: z.array(z.string()),
  updatedDateTime: z.string(),
  expiresDateTime: z.string().nullable(),
})

const riskyUsers = listOf(RiskyUserView, ['id', 'userPrincipalName', 'riskLevel'])
const facts = listOf(FactView, ['id', 'name', 'scope', 'about'])

const UserIds = z.strictObject({ userIds: z.array(z.string().min(1).max(256)).min(1).max(60) })
const ByName = z.object({ name: FactName.describe('Name of the fact.') })

/** The server ends a connection on which a subject of 4 KiB comes, and the subject says what a fact is about. */
const maxTokenChars = 3_000

const reference = {
  scope: z
    .enum(['everything', 'application', 'user', 'device'])
    .default('everything')
    .describe('What kind of thing the fact is about.'),
  about: z
    .string()
    .max(512)
    .refine(about => token(about).length <= maxTokenChars, {
      error: 'is too long: at most 512 characters, or 333 if they are not ASCII',
    })
    .default('')
    .describe('Its id or name; empty for everything.'),
}

/** What is about everything names nothing, what is about something names it. */
function checkReference({ value: { scope, about }, issues }: Checked): void {
  if ((scope === 'everything') === (about === '')) return
  const message = about === '' ? `is required with scope ${scope}` : 'must be empty with everything'
  issues.push({ code: 'custom', path: ['about'], message, input: about })
}
type Checked = z.core.ParsePayload<{ scope: string; about: string }>

const NewFact = FactStatement.extend({
  value: FactStatement.shape.value.unwrap(),
  ...reference,
}).check(checkReference)

const About = z.strictObject(reference).check(checkReference)

export function signalRoutes(app: AdminServer, context: AdminContext): void {
  riskRoutes(app, context)
  factRoutes(app, context)
}

function riskRoutes(app: AdminServer, { signals, audit }: AdminContext): void {
  const root = '/identityProtection/riskyUsers'
  app.route({
    method: 'GET',
    url: root,
    schema: {
      tags,
      summary: 'List users of whom a risk is known',
      querystring: riskyUsers.query,
      response: { 200: riskyUsers.answer },
    },
    handler: async req => page(req, signals.list().flatMap(riskyUserView)),
  })
  const changes = [
    ['confirmCompromised', 'high', 'Set the risk of users to high'],
    ['dismiss', 'none', 'Set the risk of users to none'],
  ] as const
  for (const [action, level, summary] of changes) {
    app.route({
      method: 'POST',
      url: `${root}/${action}`,
      schema: { tags, summary, body: UserIds, response: { 204: noContent } },
      handler: async (req, reply) => {
        for (const id of req.body.userIds) {
          const reasons = [`${action} by an administrator`]
          const revision = await signals.say(['risk', 'user', id], { level, reasons })
          const resource = `riskyUsers/${audit.shown('user', id)}`
          recordChange(audit, req, {
            outcome: 'updated',
            resource,
            changed: ['riskLevel'],
            revision,
          })
        }
        return reply.code(204).send()
      },
    })
  }
}

function factRoutes(app: AdminServer, { signals, audit }: AdminContext): void {
  const root = '/identity/conditionalAccess/facts'
  app.route({
    method: 'GET',
    url: root,
    schema: {
      tags,
      summary: 'List facts',
      querystring: facts.query,
      response: { 200: facts.answer },
    },
    handler: async req => page(req, signals.list().flatMap(factView)),
  })
  app.route({
    method: 'PUT',
    url: `${root}/:name`,
    schema: {
      tags,
      summary: 'Say that a fact holds, or has another value',
      params: ByName,
      body: NewFact,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const { name } = req.params
      const { scope, about, ...statement } = req.body
      const revision = await signals.say(['fact', scope, about, name], statement)
      const resource = resourceOf(audit, { about, scope, name })
      recordChange(audit, req, { outcome: 'updated', resource, changed: ['value'], revision })
      return reply.code(204).send()
    },
  })
  app.route({
    method: 'DELETE',
    url: `${root}/:name`,
    schema: {
      tags,
      summary: 'Take a fact back',
      params: ByName,
      querystring: About,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const { name } = req.params
      const { scope, about } = req.query
      const revision = await signals.say(['fact', scope, about, name], { value: null })
      const resource = resourceOf(audit, { about, scope, name })
      recordChange(audit, req, { outcome: 'deleted', resource, changed: [], revision })
      return reply.code(204).send()
    },
  })
}

/** Facts of one name may be about many: whom a change was about is said as well. */
function resourceOf(
  audit: Audit,
  { scope, about, name }: { scope: string; about: string; name: string },
): string {
  if (about === '') return `facts/${name}`
  return `facts/${scope}/${scope === 'user' ? audit.shown('user', about) : about}/${name}`
}

function riskyUserView(signal: Signal) {
  if (signal.kind !== 'risk' || signal.scope !== 'user') return []
  const { id, level, reasons, updatedDateTime } = signal
  return [
    {
      id,
      userPrincipalName: id,
      riskLevel: level,
      riskState: level === 'none' ? ('none' as const) : ('atRisk' as const),
      riskDetail: reasons.join('; '),
      riskLastUpdatedDateTime: updatedDateTime,
    },
  ]
}

function factView(signal: Signal) {
  if (signal.kind !== 'fact') return []
  const { name, scope, id: about, value, reasons, updatedDateTime, expiresDateTime } = signal
  const id = [scope, about, name].join('/')
  return [{ id, name, scope, about, value, reasons, updatedDateTime, expiresDateTime }]
}

/** Who may use an application: `/servicePrincipals`, and the same from the side of `/users` and `/groups`. */

import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { AppRoleAssignment } from '#infra/contracts/application.ts'
import { annotated } from '#infra/contracts/graph.ts'
import {
  type AssignmentChange,
  assign,
  assignmentsOf,
  NewAssignment,
  NewAssignmentOfPrincipal,
  type PrincipalReference,
  unassign,
} from '../assignments.ts'
import { invalid, Refusal } from '../refusal.ts'
import { ById, noContent, recordUpdate } from './application-routes.ts'
import type { AdminContext, AdminServer } from './context.ts'
import { listOf, page, readOf, select } from './list.ts'
import { preconditionOf, setEtag } from './odata.ts'
import { recordChange } from './record.ts'
import {
  AppRoleAssignmentView,
  assignmentView,
  ServicePrincipalView,
  servicePrincipalView,
} from './views.ts'

const servicePrincipalList = listOf(ServicePrincipalView, ['id', 'appId', 'displayName'])
const oneServicePrincipal = readOf(ServicePrincipalView)
const assignmentList = listOf(AppRoleAssignmentView, ['id', 'principalId', 'resourceId'])

const tags = ['assignments']

const ServicePrincipalPatch = annotated(
  z.strictObject({ appRoleAssignmentRequired: z.boolean().optional() }),
)

const assignmentId = z.string().min(1).max(256).describe('Id of the assignment.')
const ByAssignment = ById.extend({ assignmentId })

const ByPrincipal = z.object({
  id: z
    .string()
    .min(1)
    .max(256)
    .describe("User principal name, or the group's name as the identity provider spells it."),
})
const ByPrincipalAndAssignment = ByPrincipal.extend({ assignmentId })

export function assignmentRoutes(app: AdminServer, context: AdminContext): void {
  servicePrincipalRoutes(app, context)
  assignedToRoutes(app, context)
  principalRoutes(app, context, { url: '/users/:id/appRoleAssignments', principalType: 'User' })
  principalRoutes(app, context, { url: '/groups/:id/appRoleAssignments', principalType: 'Group' })
}

function servicePrincipalRoutes(app: AdminServer, context: AdminContext): void {
  const { applications } = context
  app.route({
    method: 'GET',
    url: '/servicePrincipals',
    schema: {
      tags,
      summary: 'List applications as what users are assigned to',
      querystring: servicePrincipalList.query,
      response: { 200: servicePrincipalList.answer },
    },
    handler: async req => page(req, applications.list().map(servicePrincipalView)),
  })
  app.route({
    method: 'GET',
    url: '/servicePrincipals/:id',
    schema: {
      tags,
      summary: 'Read whether an application is for assigned users only',
      params: ById,
      querystring: oneServicePrincipal.query,
      response: { 200: oneServicePrincipal.answer },
    },
    handler: async (req, reply) => {
      const found = applications.get(req.params.id)
      setEtag(reply, found.revision)
      return select(servicePrincipalView(found), req.query.$select)
    },
  })
  app.route({
    method: 'PATCH',
    url: '/servicePrincipals/:id',
    schema: {
      tags,
      summary: 'Let every signed-in user in (false) or assigned users only (true)',
      params: ById,
      body: ServicePrincipalPatch,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const changed = await applications.update(req.params.id, req.body, preconditionOf(req))
      recordUpdate(context, req, changed)
      setEtag(reply, changed.revision)
      return reply.code(204).send()
    },
  })
}

function assignedToRoutes(app: AdminServer, context: AdminContext): void {
  const url = '/servicePrincipals/:id/appRoleAssignedTo'
  const { applications } = context
  app.route({
    method: 'GET',
    url,
    schema: {
      tags,
      summary: 'List who may use an application',
      params: ById,
      querystring: assignmentList.query,
      response: { 200: assignmentList.answer },
    },
    handler: async req => {
      const { value: application } = applications.get(req.params.id)
      const all = application.appRoleAssignments.map(assignment =>
        assignmentView({ application, assignment }),
      )
      return page(req, all)
    },
  })
  app.route({
    method: 'POST',
    url,
    schema: {
      tags,
      summary: 'Let a user or group use an application',
      params: ById,
      body: NewAssignment,
      response: { 201: AppRoleAssignmentView.describe('The assignment.') },
    },
    handler: async (req, reply) => {
      const { resourceId, principalType, principalId } = req.body
      const { id } = applications.get(req.params.id).value
      if (resourceId !== undefined && applications.get(resourceId).value.id !== id) {
        throw invalid('resourceId', `must be "${id}", as in the path`)
      }
      const principal = { principalType, principalId }
      const made = await assign(applications, id, principal, preconditionOf(req))
      recordAssignment(context, req, 'created', made)
      return reply.code(201).send(assignmentView(made))
    },
  })
  app.route({
    method: 'DELETE',
    url: `${url}/:assignmentId`,
    schema: {
      tags,
      summary: 'Take an assignment away',
      params: ByAssignment,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const { id, assignmentId } = req.params
      const removed = await unassign(applications, id, assignmentId, preconditionOf(req))
      recordAssignment(context, req, 'deleted', removed)
      return reply.code(204).send()
    },
  })
}

interface PrincipalSide {
  url: string
  principalType: AppRoleAssignment['principalType']
}

function principalRoutes(app: AdminServer, context: AdminContext, side: PrincipalSide): void {
  const { url, principalType } = side
  const { applications } = context
  const who = principalType === 'User' ? 'user' : 'group'
  app.route({
    method: 'GET',
    url,
    schema: {
      tags,
      summary: `List what a ${who} may use`,
      params: ByPrincipal,
      querystring: assignmentList.query,
      response: { 200: assignmentList.answer },
    },
    handler: async req => {
      const principal = { principalType, principalId: req.params.id }
      const all = assignmentsOf(applications, principal).map(assignmentView)
      return page(req, all)
    },
  })
  app.route({
    method: 'POST',
    url,
    schema: {
      tags,
      summary: `Let a ${who} use an application`,
      params: ByPrincipal,
      body: NewAssignmentOfPrincipal,
      response: { 201: AppRoleAssignmentView.describe('The assignment.') },
    },
    handler: async (req, reply) => {
      const { id: principalId } = req.params
      const { resourceId, principalId: repeated = principalId } = req.body
      if (repeated !== principalId) throw invalid('principalId', 'must be the one in the path')
      const principal = { principalType, principalId }
      const made = await assign(applications, resourceId, principal, preconditionOf(req))
      recordAssignment(context, req, 'created', made)
      return reply.code(201).send(assignmentView(made))
    },
  })
  app.route({
    method: 'DELETE',
    url: `${url}/:assignmentId`,
    schema: {
      tags,
      summary: `Take an assignment of a ${who} away`,
      params: ByPrincipalAndAssignment,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const { id: principalId, assignmentId } = req.params
      const applicationId = whereAssigned(context, { principalType, principalId }, assignmentId)
      const removed = await unassign(applications, applicationId, assignmentId, preconditionOf(req))
      recordAssignment(context, req, 'deleted', removed)
      return reply.code(204).send()
    },
  })
}

function whereAssigned(
  { applications }: AdminContext,
  principal: PrincipalReference,
  assignmentId: string,
): string {
  const all = assignmentsOf(applications, principal)
  const found = all.find(({ assignment }) => assignment.id === assignmentId)
  if (found) return found.application.id
  const detail = `${principal.principalId} has no assignment "${assignmentId}"`
  throw new Refusal('resource_not_found', detail)
}

function recordAssignment(
  { audit }: AdminContext,
  req: FastifyRequest,
  outcome: 'created' | 'deleted',
  { application, assignment, revision }: AssignmentChange,
): void {
  const { principalType, principalId } = assignment
  const who = principalType === 'User' ? audit.shown('user', principalId) : principalId
  recordChange(audit, req, {
    outcome,
    resource: `servicePrincipals/${application.id}/appRoleAssignedTo/${principalType}:${who}`,
    application: application.id,
    changed: ['appRoleAssignments'],
    revision,
  })
}

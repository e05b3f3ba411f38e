/** `/onPremisesPublishingProfiles/applicationProxy`: Graph's connector groups and connectors. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { Slug } from '#infra/contracts/application.ts'
import { annotated } from '#infra/contracts/graph.ts'
import { ConnectorGroupPatch, NewConnectorGroup } from '../connector-groups.ts'
import { type ConnectorPatch, decidedVersion } from '../connector-placement.ts'
import { applicationList, ById, noContent } from './application-routes.ts'
import type { AdminContext, AdminServer } from './context.ts'
import { listOf, NoQuery, page, readOf, select } from './list.ts'
import { GroupReference, preconditionOf, setEtag } from './odata.ts'
import { recordChange } from './record.ts'
import {
  applicationView,
  ConnectorGroupView,
  ConnectorView,
  connectorGroupView,
  connectorView,
} from './views.ts'

const profile = '/onPremisesPublishingProfiles/applicationProxy'
const groupsUrl = `${profile}/connectorGroups`
const connectorsUrl = `${profile}/connectors`
const groupList = listOf(ConnectorGroupView, ['id', 'name'])
const oneGroup = readOf(ConnectorGroupView)
const connectorList = listOf(ConnectorView, ['id', 'machineName', 'status'])
const oneConnector = readOf(ConnectorView)
const groupTags = ['connector groups']
const connectorTags = ['connectors']

export function connectorRoutes(app: AdminServer, context: AdminContext): void {
  groupReadRoutes(app, context)
  groupWriteRoutes(app, context)
  groupContentRoutes(app, context)
  connectorReadRoutes(app, context)
  connectorWriteRoutes(app, context)
}

function groupReadRoutes(app: AdminServer, { groups }: AdminContext): void {
  app.route({
    method: 'GET',
    url: groupsUrl,
    schema: {
      tags: groupTags,
      summary: 'List connector groups',
      querystring: groupList.query,
      response: { 200: groupList.answer },
    },
    handler: async req => page(req, groups.list().map(connectorGroupView)),
  })
  app.route({
    method: 'GET',
    url: `${groupsUrl}/:id`,
    schema: {
      tags: groupTags,
      summary: 'Read a connector group',
      params: ById,
      querystring: oneGroup.query,
      response: { 200: oneGroup.answer },
    },
    handler: async (req, reply) => {
      const found = groups.get(req.params.id)
      setEtag(reply, found.revision)
      return select(connectorGroupView(found), req.query.$select)
    },
  })
}

function groupWriteRoutes(app: AdminServer, { groups, connectors, audit }: AdminContext): void {
  app.route({
    method: 'POST',
    url: groupsUrl,
    schema: {
      tags: groupTags,
      summary: 'Create a connector group',
      body: NewConnectorGroup,
      response: { 201: ConnectorGroupView.describe('The connector group.') },
    },
    handler: async (req, reply) => {
      const { value, revision, changed } = await groups.create(req.body)
      const resource = `connectorGroups/${value.id}`
      recordChange(audit, req, { outcome: 'created', resource, changed, revision })
      setEtag(reply, revision)
      void reply.header('location', `${req.url.split('?')[0]}/${value.id}`)
      return reply.code(201).send(connectorGroupView({ value, revision }))
    },
  })
  app.route({
    method: 'PATCH',
    url: `${groupsUrl}/:id`,
    schema: {
      tags: groupTags,
      summary: 'Rename a connector group',
      params: ById,
      body: ConnectorGroupPatch,
      response: { 200: ConnectorGroupView.describe('The connector group as it is now.') },
    },
    handler: async (req, reply) => {
      const { id } = req.params
      const { value, revision, changed } = await groups.update(id, req.body, preconditionOf(req))
      const resource = `connectorGroups/${id}`
      recordChange(audit, req, { outcome: 'updated', resource, changed, revision })
      setEtag(reply, revision)
      return connectorGroupView({ value, revision })
    },
  })
  app.route({
    method: 'DELETE',
    url: `${groupsUrl}/:id`,
    schema: {
      tags: groupTags,
      summary: 'Delete a connector group without applications, active and enrolled connectors',
      params: ById,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const { id } = req.params
      const { revision } = await groups.remove(id, preconditionOf(req))
      const resource = `connectorGroups/${id}`
      recordChange(audit, req, { outcome: 'deleted', resource, changed: [], revision })
      await connectors.forgetGroup(id)
      return reply.code(204).send()
    },
  })
}

function groupContentRoutes(app: AdminServer, context: AdminContext): void {
  const { groups, connectors, applications } = context
  app.route({
    method: 'GET',
    url: `${groupsUrl}/:id/members`,
    schema: {
      tags: groupTags,
      summary: 'List the connectors of a group',
      params: ById,
      querystring: connectorList.query,
      response: { 200: connectorList.answer },
    },
    handler: async req => {
      const { id } = groups.get(req.params.id).value
      const members = connectors.list().filter(({ value }) => value.connectorGroupId === id)
      return page(req, members.map(connectorView))
    },
  })
  app.route({
    method: 'GET',
    url: `${groupsUrl}/:id/applications`,
    schema: {
      tags: groupTags,
      summary: 'List the applications of a group',
      params: ById,
      querystring: applicationList.query,
      response: { 200: applicationList.answer },
    },
    handler: async req => {
      const { id } = groups.get(req.params.id).value
      const members = applications.list().filter(({ value }) => value.connectorGroupId === id)
      return page(req, members.map(applicationView))
    },
  })
}

function connectorReadRoutes(app: AdminServer, { connectors, groups }: AdminContext): void {
  app.route({
    method: 'GET',
    url: connectorsUrl,
    schema: {
      tags: connectorTags,
      summary: 'List connectors',
      querystring: connectorList.query,
      response: { 200: connectorList.answer },
    },
    handler: async req => page(req, connectors.list().map(connectorView)),
  })
  app.route({
    method: 'GET',
    url: `${connectorsUrl}/:id`,
    schema: {
      tags: connectorTags,
      summary: 'Read a connector',
      params: ById,
      querystring: oneConnector.query,
      response: { 200: oneConnector.answer },
    },
    handler: async (req, reply) => {
      const found = connectors.get(req.params.id)
      setEtag(reply, decidedVersion(found.value))
      return select(connectorView(found), req.query.$select)
    },
  })
  app.route({
    method: 'GET',
    url: `${connectorsUrl}/:id/memberOf`,
    schema: {
      tags: connectorTags,
      summary: 'List the connector group of a connector',
      params: ById,
      querystring: NoQuery,
      response: {
        200: z.object({ value: z.array(ConnectorGroupView) }).describe('One connector group.'),
      },
    },
    handler: async req => {
      const { connectorGroupId } = connectors.get(req.params.id).value
      return { value: [connectorGroupView(groups.get(connectorGroupId))] }
    },
  })
}

/** Body of PATCH …/connectors/{id}. */
const ConnectorChange = annotated(
  z.strictObject({
    connectorGroupId: Slug.optional().describe('Moves it, without a restart of the connector.'),
    isEnabled: z
      .boolean()
      .optional()
      .describe('False ends its connections at once, and it may not connect until it is true.'),
  }),
)

function connectorWriteRoutes(app: AdminServer, context: AdminContext): void {
  const { connectors, placement, groups, audit } = context
  const update = async (
    req: FastifyRequest<{ Params: z.output<typeof ById> }>,
    reply: FastifyReply,
    patch: ConnectorPatch,
  ) => {
    const { id } = req.params
    const { value, revision, changed } = await placement.update(id, patch, preconditionOf(req))
    const resource = `connectors/${id}`
    recordChange(audit, req, { outcome: 'updated', resource, changed, revision })
    setEtag(reply, decidedVersion(value))
    return connectorView({ value, revision })
  }
  app.route({
    method: 'PATCH',
    url: `${connectorsUrl}/:id`,
    schema: {
      tags: connectorTags,
      summary: 'Move, disable or enable a connector',
      params: ById,
      body: ConnectorChange,
      response: { 200: ConnectorView.describe('The connector as it is now.') },
    },
    handler: async (req, reply) => update(req, reply, req.body),
  })
  app.route({
    method: 'POST',
    url: `${connectorsUrl}/:id/memberOf/$ref`,
    schema: {
      tags: connectorTags,
      summary: 'Move a connector to another connector group',
      params: ById,
      body: GroupReference,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const { id: connectorGroupId } = groups.get(req.body).value
      await update(req, reply, { connectorGroupId })
      return reply.code(204).send()
    },
  })
  app.route({
    method: 'DELETE',
    url: `${connectorsUrl}/:id`,
    schema: {
      tags: connectorTags,
      summary: 'Remove a connector: it is disconnected at once and has to be enrolled again',
      params: ById,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const { id } = req.params
      const { revision } = connectors.get(id)
      await placement.remove(id, preconditionOf(req))
      const resource = `connectors/${id}`
      recordChange(audit, req, { outcome: 'deleted', resource, changed: [], revision })
      return reply.code(204).send()
    },
  })
}

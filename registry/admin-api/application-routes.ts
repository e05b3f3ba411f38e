/** `/applications`: Graph's application with its onPremisesPublishing and its connector group. */

import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { isPublished, type RegisteredApplication } from '#infra/contracts/application.ts'
import {
  ApplicationPatch,
  NewApplication,
  OnPremisesPublishingPatch,
} from '../application-input.ts'
import type { Changed, Precondition } from '../applications.ts'
import { Refusal } from '../refusal.ts'
import type { AdminContext, AdminServer } from './context.ts'
import { listOf, page, readOf, select } from './list.ts'
import { GroupReference, preconditionOf, setEtag, wantsRepresentation } from './odata.ts'
import { recordChange } from './record.ts'
import {
  ApplicationView,
  applicationView,
  ConnectorGroupView,
  connectorGroupView,
  OnPremisesPublishingView,
} from './views.ts'

export const ById = z.object({
  id: z.string().min(1).max(256).describe('Its id; of an application, its appId as well.'),
})

/** What a change without a representation answers. */
export const noContent = z.undefined().describe('Done; the ETag header has the new entity tag.')

/** Applications as a list, whole and below a group. */
export const applicationList = listOf(ApplicationView, ['id', 'appId', 'uniqueName', 'displayName'])

const one = readOf(ApplicationView)
const publishing = readOf(OnPremisesPublishingView)
const group = readOf(ConnectorGroupView)

const tags = ['applications']

export function applicationRoutes(app: AdminServer, context: AdminContext): void {
  readRoutes(app, context)
  writeRoutes(app, context)
  publishingRoutes(app, context)
  connectorGroupRoutes(app, context)
}

function readRoutes(app: AdminServer, { applications }: AdminContext): void {
  app.route({
    method: 'GET',
    url: '/applications',
    schema: {
      tags,
      summary: 'List applications',
      querystring: applicationList.query,
      response: { 200: applicationList.answer },
    },
    handler: async req => page(req, applications.list().map(applicationView)),
  })
  app.route({
    method: 'GET',
    url: '/applications/:id',
    schema: {
      tags,
      summary: 'Read an application, by id or appId',
      params: ById,
      querystring: one.query,
      response: { 200: one.answer },
    },
    handler: async (req, reply) => {
      const found = applications.get(req.params.id)
      setEtag(reply, found.revision)
      return select(applicationView(found), req.query.$select)
    },
  })
}

function writeRoutes(app: AdminServer, context: AdminContext): void {
  const { applications, audit } = context
  app.route({
    method: 'POST',
    url: '/applications',
    schema: {
      tags,
      summary: 'Create an application, and publish it if it says where',
      body: NewApplication,
      response: { 201: ApplicationView.describe('The application.') },
    },
    handler: async (req, reply) => {
      const created = await applications.create(req.body)
      recordChange(audit, req, {
        outcome: 'created',
        ...namesOf(created.value),
        changed: created.changed,
        revision: created.revision,
      })
      setEtag(reply, created.revision)
      void reply.header('location', `${req.url.split('?')[0]}/${created.value.id}`)
      return reply.code(201).send(applicationView(created))
    },
  })
  app.route({
    method: 'PATCH',
    url: '/applications/:id',
    schema: {
      tags,
      summary: 'Change an application, publish it, or end its publishing',
      params: ById,
      body: ApplicationPatch,
      response: { 200: ApplicationView.describe('The application as it is now.'), 204: noContent },
    },
    handler: async (req, reply) => {
      const changed = await applications.update(req.params.id, req.body, preconditionOf(req))
      recordUpdate(context, req, changed)
      setEtag(reply, changed.revision)
      if (!wantsRepresentation(req)) return reply.code(204).send()
      return reply.code(200).send(applicationView(changed))
    },
  })
  app.route({
    method: 'DELETE',
    url: '/applications/:id',
    schema: {
      tags,
      summary: 'Delete an application, which ends its publishing at once',
      params: ById,
      response: { 204: noContent },
    },
    handler: async (req, reply) => {
      const removed = await applications.remove(req.params.id, preconditionOf(req))
      const { revision } = removed
      recordChange(audit, req, {
        outcome: 'deleted',
        ...namesOf(removed.value),
        changed: [],
        revision,
      })
      return reply.code(204).send()
    },
  })
}

function publishingRoutes(app: AdminServer, context: AdminContext): void {
  const url = '/applications/:id/onPremisesPublishing'
  const { applications } = context
  app.route({
    method: 'GET',
    url,
    schema: {
      tags,
      summary: 'Read how an application is published',
      params: ById,
      querystring: publishing.query,
      response: { 200: publishing.answer },
    },
    handler: async (req, reply) => {
      const { value, revision } = applications.get(req.params.id)
      const view = publishingOf(value)
      setEtag(reply, revision)
      return select(view, req.query.$select)
    },
  })
  app.route({
    method: 'PATCH',
    url,
    schema: {
      tags,
      summary: 'Publish an application, or change how it is published',
      params: ById,
      body: OnPremisesPublishingPatch,
      response: {
        200: OnPremisesPublishingView.describe('How it is published now.'),
        204: noContent,
      },
    },
    handler: async (req, reply) => {
      const patch = { onPremisesPublishing: req.body }
      const changed = await applications.update(req.params.id, patch, preconditionOf(req))
      recordUpdate(context, req, changed)
      setEtag(reply, changed.revision)
      if (!wantsRepresentation(req)) return reply.code(204).send()
      return reply.code(200).send(publishingOf(changed.value))
    },
  })
}

function connectorGroupRoutes(app: AdminServer, context: AdminContext): void {
  const url = '/applications/:id/connectorGroup'
  const { applications, groups } = context
  app.route({
    method: 'GET',
    url,
    schema: {
      tags,
      summary: 'Read the connector group of an application',
      params: ById,
      querystring: group.query,
      response: { 200: group.answer },
    },
    handler: async req => {
      const { connectorGroupId } = applications.get(req.params.id).value
      return select(connectorGroupView(groups.get(connectorGroupId)), req.query.$select)
    },
  })
  for (const path of [url, `${url}/$ref`]) {
    app.route({
      method: 'PUT',
      url: path,
      schema: {
        tags,
        summary: 'Move an application to another connector group',
        params: ById,
        body: GroupReference,
        response: { 204: noContent },
      },
      handler: async (req, reply) => {
        const changed = await move(context, req.params.id, req.body, preconditionOf(req))
        recordUpdate(context, req, changed)
        setEtag(reply, changed.revision)
        return reply.code(204).send()
      },
    })
  }
}

function move(
  { applications, groups }: AdminContext,
  id: string,
  groupId: string,
  precondition: Precondition,
): Promise<Changed<RegisteredApplication>> {
  const connectorGroupId = groups.get(groupId).value.id
  return applications.update(id, { connectorGroupId }, precondition)
}

function publishingOf(application: RegisteredApplication) {
  if (isPublished(application)) return application.onPremisesPublishing
  const detail = `"${application.id}" is not published yet; a PATCH with its internalUrl publishes it`
  throw new Refusal('resource_not_found', detail)
}

function namesOf({ id }: RegisteredApplication) {
  return { resource: `applications/${id}`, application: id }
}

export function recordUpdate(
  { audit }: AdminContext,
  req: FastifyRequest,
  { value, changed, revision }: Changed<RegisteredApplication>,
): void {
  recordChange(audit, req, { outcome: 'updated', ...namesOf(value), changed, revision })
}

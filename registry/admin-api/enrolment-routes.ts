/** `/onPremisesPublishingProfiles/applicationProxy`: how connectors get in. Graph has no such resource. */

import { z } from 'zod'
import { Slug } from '#infra/contracts/application.ts'
import { defaultConnectorGroupId } from '#infra/contracts/connector.ts'
import { longestTokenMs } from '#infra/contracts/enrolment.ts'
import { annotated } from '#infra/contracts/graph.ts'
import type { Enrolment } from '../enrolment/enrolment.ts'
import { Refusal } from '../refusal.ts'
import { ById } from './application-routes.ts'
import type { AdminContext, AdminServer } from './context.ts'
import { recordChange } from './record.ts'
import { EnrolmentTokenView, RenewalConsentView } from './views.ts'

const profile = '/onPremisesPublishingProfiles/applicationProxy'
const tags = ['connectors']

/** Body of POST …/connectorEnrolmentTokens. */
const NewEnrolmentToken = annotated(
  z.strictObject({
    connectorGroupId: Slug.default(defaultConnectorGroupId),
    lifetimeInSeconds: z
      .int()
      .min(1)
      .max(longestTokenMs / 1_000)
      .default(longestTokenMs / 1_000),
  }),
)

/** Body of POST …/connectors/{id}/allowRenewal. */
const AllowedRenewal = annotated(
  z.strictObject({
    connectorGroupId: Slug.optional().describe('Only for a connector that is forgotten already.'),
  }),
)

export function enrolmentRoutes(app: AdminServer, context: AdminContext): void {
  tokenRoutes(app, context)
  renewalRoutes(app, context)
}

function tokenRoutes(app: AdminServer, context: AdminContext): void {
  app.route({
    method: 'POST',
    url: `${profile}/connectorEnrolmentTokens`,
    schema: {
      tags,
      summary: 'Make a one-time token that enrols one connector in a group',
      body: NewEnrolmentToken,
      response: { 201: EnrolmentTokenView.describe('The token: it is shown this once.') },
    },
    handler: async (req, reply) => {
      const { connectorGroupId, lifetimeInSeconds } = req.body
      const lifetimeMs = lifetimeInSeconds * 1_000
      const made = await enrolmentOf(context).makeToken({ connectorGroupId, lifetimeMs })
      const resource = `connectorEnrolmentTokens/${made.id}`
      const changed = ['connectorGroupId', 'lifetimeInSeconds']
      recordChange(context.audit, req, { outcome: 'created', resource, changed, revision: 0 })
      return reply.code(201).send(made)
    },
  })
}

function renewalRoutes(app: AdminServer, context: AdminContext): void {
  app.route({
    method: 'POST',
    url: `${profile}/connectors/:id/allowRenewal`,
    schema: {
      tags,
      summary: 'Let a connector renew a certificate that expired at most 90 days ago, within a day',
      params: ById,
      body: AllowedRenewal,
      response: { 201: RenewalConsentView.describe('What was allowed.') },
    },
    handler: async (req, reply) => {
      const { id } = req.params
      const consent = await enrolmentOf(context).allowRenewal(id, req.body.connectorGroupId)
      const resource = `connectors/${id}/allowRenewal`
      const changed = ['connectorGroupId']
      recordChange(context.audit, req, { outcome: 'created', resource, changed, revision: 0 })
      return reply.code(201).send(consent)
    },
  })
}

function enrolmentOf({ enrolment }: AdminContext): Enrolment {
  if (enrolment) return enrolment
  throw new Refusal(
    'enrolment_unavailable',
    'this registry has no certificate authority: set SALLYPORT_REGISTRY_AUTHORITY_PATH',
  )
}

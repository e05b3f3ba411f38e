/** `POST /applications/{id}/diagnose`: where the way to an application ends, as far as the system can see by itself. */

import { z } from 'zod'
import { type Application, isAssigned, isPublished } from '#infra/contracts/application.ts'
import { WhatIf } from '#infra/contracts/conditional-access/what-if.ts'
import { Hop } from '#infra/contracts/diagnosis.ts'
import { asSallyportError } from '#infra/errors.ts'
import { Refusal } from '../refusal.ts'
import { ById } from './application-routes.ts'
import type { AdminContext, AdminServer } from './context.ts'

const Body = z.strictObject({
  user: z
    .string()
    .min(1)
    .max(512)
    .optional()
    .describe('In whose name policy and sign-on are tried.'),
})

export const DiagnosisView = z
  .object({
    application: z.string(),
    externalUrl: z.string(),
    isOpen: z.boolean().describe('Whether it lets everybody in without signing in.'),
    hops: z.array(Hop),
    connectors: z.array(z.object({ id: z.string(), hops: z.array(Hop) })),
  })
  .describe('What was found, hop by hop.')
export type DiagnosisView = z.output<typeof DiagnosisView>

export function diagnosisRoutes(app: AdminServer, context: AdminContext): void {
  app.route({
    method: 'POST',
    url: '/applications/:id/diagnose',
    schema: {
      tags: ['applications'],
      summary: 'Walk the way to an application: policy, and every connector of its group',
      params: ById,
      body: Body,
      response: { 200: DiagnosisView },
    },
    handler: async req => {
      const { value: application } = context.applications.get(req.params.id)
      if (!isPublished(application)) {
        const detail = `"${application.id}" is not published: sallyport publish ${application.id}=URL`
        throw new Refusal('resource_not_found', detail)
      }
      const user = req.body.user ?? null
      const [policy, connectors] = await Promise.all([
        policyHop(context, application, user),
        context.diagnose(application, user),
      ])
      const { externalUrl, externalAuthenticationType } = application.onPremisesPublishing
      return {
        application: application.id,
        externalUrl,
        isOpen: externalAuthenticationType === 'passthru',
        hops: [policy, groupHop(application, connectors.length)],
        connectors: copies(connectors),
      }
    },
  })
}

type Connectors = Awaited<ReturnType<AdminContext['diagnose']>>

const copies = (connectors: Connectors) =>
  connectors.map(({ id, hops }) => ({ id, hops: [...hops] }))

function groupHop({ connectorGroupId: group }: Application, count: number): Hop {
  if (count > 0) {
    const connectors = count === 1 ? '1 connector' : `${count} connectors`
    return { hop: 'bus', outcome: 'ok', detail: `${connectors} in the group ${group}` }
  }
  const detail = `the connector group ${group} has no connector`
  const fix = 'Enrol a connector into it, or move the application to another group.'
  return { hop: 'bus', outcome: 'failed', detail, fix }
}

/** Asked of the policy service itself; assignments of groups cannot be told without the user's groups. */
async function policyHop(
  { whatIf }: AdminContext,
  application: Application,
  user: string | null,
): Promise<Hop> {
  try {
    const asked = {
      signInIdentity: { userId: user ?? 'nobody' },
      signInContext: { includeApplications: [application.id] },
      signInConditions: {},
    }
    const { decision } = await whatIf(WhatIf.parse(asked))
    const { externalAuthenticationType } = application.onPremisesPublishing ?? {}
    // No policy applies to an application without sign-in, nor an assignment.
    if (user === null || externalAuthenticationType === 'passthru')
      return { hop: 'policy', outcome: 'ok', detail: 'the policy service answers' }
    return decisionHop(application, user, decision)
  } catch (error) {
    const detail = asSallyportError(error).message
    const fix = 'Start a policy service, or look at its log.'
    return { hop: 'policy', outcome: 'failed', detail, fix }
  }
}

function decisionHop(
  application: Application,
  user: string,
  { outcome, reasons }: { outcome: string; reasons: readonly string[] },
): Hop {
  const isKnown = isAssigned(application, { userPrincipalName: user, groups: [] })
  const groups = isKnown ? [] : groupsOf(application)
  if (!isKnown && groups.length === 0) {
    const detail = `neither ${user} nor any group is assigned to ${application.id}`
    const fix = `sallyport assign ${application.id} --user ${user}`
    return { hop: 'policy', outcome: 'failed', detail, fix }
  }
  const decided = `${outcome} for ${user}: ${reasons.join(', ')}`
  const detail = isKnown ? decided : `${decided}; only for members of ${groups.join(', ')}`
  if (outcome !== 'block' || !isKnown) return { hop: 'policy', outcome: 'ok', detail }
  const fix = 'sallyport explain SUPPORT-ID says what would have let a refused request through.'
  return { hop: 'policy', outcome: 'failed', detail, fix }
}

function groupsOf({ appRoleAssignments }: Application): string[] {
  return appRoleAssignments
    .filter(({ principalType }) => principalType === 'Group')
    .map(({ principalId }) => principalId)
}

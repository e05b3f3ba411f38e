/** `POST /applications/{id}/diagnose`: where the way to an application ends, as far as the system can see by itself. */

import { z } from 'zod'
import {
  type Application,
  groupIdsOf,
  isAssigned,
  isPublished,
} from '#infra/contracts/application.ts'
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
    connectors: z.array(
      z.object({
        id: z.string(),
        connectorGroupId: z.string().optional(),
        isStandby: z
          .boolean()
          .optional()
          .describe('Whether it serves only while the own connectors of the application cannot.'),
        hops: z.array(Hop),
      }),
    ),
  })
  .describe('What was found, hop by hop.')
export type DiagnosisView = z.output<typeof DiagnosisView>

export function diagnosisRoutes(app: AdminServer, context: AdminContext): void {
  app.route({
    method: 'POST',
    url: '/applications/:id/diagnose',
    schema: {
      tags: ['applications'],
      summary: 'Walk the way to an application: policy, and every connector of its groups',
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
        hops: [policy, ...groupHops(application, connectors)],
        connectors: connectors.map(each => shown(application, each)),
      }
    },
  })
}

type Connectors = Awaited<ReturnType<AdminContext['diagnose']>>

function shown(application: Application, { id, connectorGroupId, hops }: Connectors[number]) {
  const isStandby = connectorGroupId !== application.connectorGroupId
  return { id, connectorGroupId, isStandby, hops: [...hops] }
}

/** A group without connectors ends the way only where there is no other. */
function groupHops(application: Application, connectors: Connectors): Hop[] {
  const [own = '', standby] = groupIdsOf(application)
  const hop = (kind: string, group: string): Hop => {
    const count = connectors.filter(each => each.connectorGroupId === group).length
    const some = count === 1 ? '1 connector' : `${count} connectors`
    if (count > 0) return { hop: 'bus', outcome: 'ok', detail: `${some} in the ${kind} ${group}` }
    return {
      hop: 'bus',
      outcome: connectors.length > 0 ? 'skipped' : 'failed',
      detail: `the ${kind === 'group' ? 'connector group' : kind} ${group} has no connector`,
      fix: `Enrol a connector into it (sallyport connector-token --group ${group}), or move the application to another group.`,
    }
  }
  return [hop('group', own), ...(standby === undefined ? [] : [hop('standby group', standby)])]
}

/** Asked of the policy service itself; whoever is assigned by a group alone is taken for a member of those. */
async function policyHop(
  { whatIf }: AdminContext,
  application: Application,
  user: string | null,
): Promise<Hop> {
  try {
    const isOwn = isAssigned(application, { userPrincipalName: user ?? '', groups: [] })
    const groups = user === null || isOwn ? [] : groupsOf(application)
    const asked = {
      signInIdentity: { userId: user ?? 'nobody', ...(groups.length > 0 && { groups }) },
      signInContext: { includeApplications: [application.id] },
      signInConditions: {},
    }
    const { decision } = await whatIf(WhatIf.parse(asked))
    const { externalAuthenticationType } = application.onPremisesPublishing ?? {}
    // No policy applies to an application without sign-in, nor an assignment.
    if (user === null || externalAuthenticationType === 'passthru')
      return { hop: 'policy', outcome: 'ok', detail: 'the policy service answers' }
    if (isOwn || groups.length > 0) return decisionHop(application, { user, groups, ...decision })
    const detail = `neither ${user} nor any group is assigned to ${application.id}`
    const fix = `sallyport assign ${application.id} --user ${user}`
    return { hop: 'policy', outcome: 'failed', detail, fix }
  } catch (error) {
    const detail = asSallyportError(error).message
    const fix = 'Start a policy service, or look at its log.'
    return { hop: 'policy', outcome: 'failed', detail, fix }
  }
}

interface Decided {
  user: string
  /** By which the user is assigned, if not by name. */
  groups: readonly string[]
  outcome: string
  reasons: readonly string[]
}

function decisionHop({ id }: Application, { user, groups, outcome, reasons }: Decided): Hop {
  const decided = `${outcome} for ${user}: ${reasons.join(', ')}`
  if (outcome === 'block') {
    const as = groups.map(group => ` --group '${group}'`).join('')
    const fix = `sallyport policy what-if --user ${user}${as} --app ${id} shows by which policy.`
    return { hop: 'policy', outcome: 'failed', detail: decided, fix }
  }
  const only = groups.length > 0 ? `; only for members of ${groups.join(', ')}` : ''
  return { hop: 'policy', outcome: 'ok', detail: `${decided}${only}` }
}

function groupsOf({ appRoleAssignments }: Application): string[] {
  return appRoleAssignments
    .filter(({ principalType }) => principalType === 'Group')
    .map(({ principalId }) => principalId)
}

/**
 * Who may use an application: Graph's appRoleAssignments, seen from the application (`appRoleAssignedTo`) and from the
 * user or group (`appRoleAssignments`). They rest inside the application's entry, so that policy sees an application
 * and its users change together. There is one role, the default one: to use the application.
 */

import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { AppRoleAssignment, type RegisteredApplication } from '#infra/contracts/application.ts'
import { annotated } from '#infra/contracts/graph.ts'
import type { Applications, Changed, Precondition } from './applications.ts'
import { Refusal } from './refusal.ts'

/** The role that Graph gives to who is assigned without naming a role. */
export const defaultAppRoleId = '00000000-0000-0000-0000-000000000000'

const role = z
  .literal(defaultAppRoleId, {
    error: `applications have one role only: leave it out or say ${defaultAppRoleId}`,
  })
  .optional()

/** Body of POST /servicePrincipals/{id}/appRoleAssignedTo. */
export const NewAssignment = annotated(
  z.strictObject({
    principalType: AppRoleAssignment.shape.principalType,
    principalId: AppRoleAssignment.shape.principalId,
    resourceId: z.string().optional(),
    appRoleId: role,
  }),
)

/** Body of POST /users/{upn}/appRoleAssignments and /groups/{name}/appRoleAssignments. */
export const NewAssignmentOfPrincipal = annotated(
  z.strictObject({
    resourceId: z.string().min(1),
    principalId: z.string().optional(),
    appRoleId: role,
  }),
)

export type PrincipalReference = Pick<AppRoleAssignment, 'principalType' | 'principalId'>

export interface Assigned {
  readonly application: RegisteredApplication
  readonly assignment: AppRoleAssignment
}

export interface AssignmentChange extends Assigned {
  readonly revision: number
}

/** User principal names are compared without case, names of groups as the identity provider spells them. */
function isSamePrincipal(one: PrincipalReference, other: PrincipalReference): boolean {
  if (one.principalType !== other.principalType) return false
  if (one.principalType === 'Group') return one.principalId === other.principalId
  return one.principalId.toLowerCase() === other.principalId.toLowerCase()
}

/** Every assignment of a user or group, over all applications. */
export function assignmentsOf(
  applications: Applications,
  principal: PrincipalReference,
): Assigned[] {
  return applications
    .list()
    .flatMap(({ value: application }) =>
      application.appRoleAssignments
        .filter(assignment => isSamePrincipal(assignment, principal))
        .map(assignment => ({ application, assignment })),
    )
}

/** Lets a user or group use an application. */
export async function assign(
  applications: Applications,
  applicationId: string,
  principal: PrincipalReference,
  precondition: Precondition,
): Promise<AssignmentChange> {
  const assignment: AppRoleAssignment = {
    id: randomUUID(),
    principalType: principal.principalType,
    principalId: principal.principalId,
    createdDateTime: new Date().toISOString(),
  }
  const changed = await applications.edit(applicationId, precondition, application => {
    if (application.appRoleAssignments.some(other => isSamePrincipal(other, principal))) {
      const message = `${principal.principalId} is assigned to "${application.id}" already`
      throw new Refusal('already_exists', message, [{ property: 'principalId', message }])
    }
    const appRoleAssignments = [...application.appRoleAssignments, assignment]
    return { ...application, appRoleAssignments }
  })
  return result(changed, assignment)
}

/** Takes one assignment away. */
export async function unassign(
  applications: Applications,
  applicationId: string,
  assignmentId: string,
  precondition: Precondition,
): Promise<AssignmentChange> {
  let removed: AppRoleAssignment | undefined
  const changed = await applications.edit(applicationId, precondition, application => {
    removed = application.appRoleAssignments.find(({ id }) => id === assignmentId)
    if (!removed) {
      const detail = `"${application.id}" has no assignment "${assignmentId}"`
      throw new Refusal('resource_not_found', detail)
    }
    const appRoleAssignments = application.appRoleAssignments.filter(
      ({ id }) => id !== assignmentId,
    )
    return { ...application, appRoleAssignments }
  })
  if (!removed) throw new TypeError('an assignment was removed without having been found')
  return result(changed, removed)
}

function result(
  { value, revision }: Changed<RegisteredApplication>,
  assignment: AppRoleAssignment,
): AssignmentChange {
  return { application: value, assignment, revision }
}

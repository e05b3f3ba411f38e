/**
 * What a what-if does not ask policy, and what would come of a request all the same: whether the application is published,
 * whether anybody has to sign in, and who is assigned to it.
 */

import {
  isAssigned,
  isPublished,
  type RegisteredApplication,
} from '#infra/contracts/application.ts'
import type { WhatIf } from '#infra/contracts/conditional-access/what-if.ts'

export function remarksOn(
  application: RegisteredApplication,
  { userId, groups }: WhatIf['signInIdentity'],
): string[] {
  const { id } = application
  if (!isPublished(application))
    return [`The application "${id}" is not published: nobody reaches it.`]
  if (application.onPremisesPublishing.externalAuthenticationType === 'passthru')
    return [`The application "${id}" lets everybody in without signing in: no policy is asked.`]
  if (isAssigned(application, { userPrincipalName: userId, groups: groups ?? [] })) return []
  const assigned = application.appRoleAssignments
    .filter(({ principalType }) => principalType === 'Group')
    .map(({ principalId }) => principalId)
  const isKnown = assigned.length === 0 || (groups !== null && groups !== undefined)
  return isKnown
    ? [`${userId} is not assigned to "${id}": a request is refused, whatever policies say.`]
    : [`Unless ${userId} is a member of ${assigned.join(', ')}, a request is refused all the same.`]
}

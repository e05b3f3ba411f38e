/** Gate: the user or one of their groups is assigned to the application, where it asks for an assignment. */

import { isAssigned } from '#infra/contracts/application.ts'
import type { Gate } from './gate.ts'
import { isPassthrough } from './session.ts'

export const assignment: Gate = ({ application, session }) => {
  if (isPassthrough(application)) return undefined
  if (!application || session.is !== 'valid') return notAssigned
  if (application.appRoleAssignmentRequired === false) {
    return { isSatisfied: true, reason: 'users-not-required' }
  }
  // Whatever else is in its place counts as required.
  return isAssigned({ ...application, appRoleAssignmentRequired: true }, session.principal)
    ? { isSatisfied: true, reason: 'users-ok' }
    : notAssigned
}

const notAssigned = {
  isSatisfied: false,
  reason: 'users-not-assigned',
  outcome: 'block',
} as const

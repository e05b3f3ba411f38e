/** Applications as the command line names and shows them. */

import type { ApplicationView, AppRoleAssignmentView } from '../admin-api/views.ts'
import { allowOriginLines } from './allow-origin-option.ts'
import { lastLeaseLines } from './last-lease-option.ts'
import { originTlsLines } from './origin-tls-options.ts'
import { signOnLines } from './sign-on-options.ts'
import { printable, table } from './text.ts'
import { timeoutLines } from './timeout-options.ts'

/** Below the admin API's own path. */
export function applicationPath(id: string): string {
  return `/applications/${encodeURIComponent(id)}`
}

export function applicationTable(all: ApplicationView[]): string {
  return table(
    ['ID', 'NAME', 'EXTERNAL URL', 'INTERNAL URL', 'GROUP', 'FOR'],
    all.map(application => [
      application.id,
      application.displayName,
      application.onPremisesPublishing?.externalUrl ?? 'not published',
      application.onPremisesPublishing?.internalUrl ?? '-',
      application.connectorGroupId,
      audienceOf(application),
    ]),
  )
}

function audienceOf({ onPremisesPublishing, appRoleAssignmentRequired }: ApplicationView): string {
  if (onPremisesPublishing?.externalAuthenticationType === 'passthru') return 'everybody'
  return appRoleAssignmentRequired ? 'assigned users' : 'all signed-in users'
}

export function description(
  application: ApplicationView,
  assigned: AppRoleAssignmentView[],
): string {
  const { id, displayName, connectorGroupId, standbyConnectorGroupId } = application
  const { onPremisesPublishing } = application
  const title = displayName === id ? id : `${id} (${displayName})`
  const audience = audienceOf(application)
  const isForAssigned = audience === 'assigned users'
  const users = assigned.map(({ principalType, principalId }) =>
    principalType === 'Group' ? `group ${principalId}` : principalId,
  )
  const isOpen = audience === 'everybody'
  const later = isOpen && users.length > 0 ? `; after --no-passthrough for ${users.join(', ')}` : ''
  const nobody = `nobody yet: sallyport assign ${id} --user UPN`
  const published = [
    `${title} is published at ${onPremisesPublishing?.externalUrl}`,
    `  internal URL     ${onPremisesPublishing?.internalUrl}`,
  ]
  const lines = [
    ...(onPremisesPublishing
      ? published
      : [`${title} is not published: sallyport publish ${id}=URL`]),
    ...(onPremisesPublishing ? httpLines(onPremisesPublishing) : []),
    ...(onPremisesPublishing ? originTlsLines(onPremisesPublishing) : []),
    ...(onPremisesPublishing ? timeoutLines(onPremisesPublishing) : []),
    ...signOnLines(onPremisesPublishing?.singleSignOnSettings),
    ...(onPremisesPublishing ? lastLeaseLines(onPremisesPublishing) : []),
    ...(onPremisesPublishing ? allowOriginLines(onPremisesPublishing) : []),
    `  connector group  ${connectorGroupId}`,
    ...(standbyConnectorGroupId === null ? [] : [`  standby group    ${standbyConnectorGroupId}`]),
    `  for              ${isForAssigned ? users.join(', ') || nobody : audience}${isOpen ? `, without signing in${later}` : ''}`,
  ]
  return lines.map(line => `${printable(line)}\n`).join('')
}

/** Nothing where it is as everywhere. */
function httpLines({
  originHttpVersion,
  allowedHttpMethods: methods,
}: NonNullable<ApplicationView['onPremisesPublishing']>): string[] {
  const named = methods?.includes('*') ? 'any' : methods?.join(', ')
  return [
    ...(originHttpVersion === 'http2' ? ['  speaks           HTTP/2'] : []),
    ...(named === undefined ? [] : [`  methods          ${named}`]),
  ]
}

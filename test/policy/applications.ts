/** Applications and users for the tests of policy. */

import { Application } from '#infra/contracts/application.ts'
import type { Principal, RequestFacts } from '#infra/contracts/principal.ts'

export interface ApplicationInput {
  appRoleAssignmentRequired?: boolean
  appRoleAssignments?: { principalType: string; principalId: string }[]
  externalAuthenticationType?: string
  connectorGroupId?: string
}

export function application(id: string, input: ApplicationInput = {}): Application {
  const { externalAuthenticationType, appRoleAssignments = [], ...rest } = input
  return Application.parse({
    id,
    appId: '00000000-0000-4000-8000-000000000000',
    displayName: id,
    createdDateTime: '2026-01-01T00:00:00Z',
    ...rest,
    appRoleAssignments: appRoleAssignments.map((assignment, index) => ({
      ...assignment,
      id: `assignment-${index}`,
      createdDateTime: '2026-01-01T00:00:00Z',
    })),
    onPremisesPublishing: {
      externalUrl: `http://${id}.sallyport.localhost/`,
      internalUrl: 'http://127.0.0.1:9000/',
      ...(externalAuthenticationType !== undefined && { externalAuthenticationType }),
    },
  })
}

export function principal(userPrincipalName: string, groups: string[] = []): Principal {
  return {
    subject: userPrincipalName,
    userPrincipalName,
    displayName: userPrincipalName,
    groups,
    amr: ['pwd'],
    authTime: 1_767_225_600,
    issuer: 'https://login.example.com',
  }
}

export const facts: RequestFacts = {
  clientAddress: '192.0.2.1',
  clientAppType: 'browser',
  devicePlatform: 'linux',
  userAgent: 'test',
}

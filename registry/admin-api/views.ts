/** What the admin API answers: Graph's resources under Graph's names, with our own properties beside them. */

import { z } from 'zod'
import {
  AppRoleAssignment,
  type RegisteredApplication,
  Slug,
} from '#infra/contracts/application.ts'
import { type Connector, ConnectorGroup, ConnectorStatus } from '#infra/contracts/connector.ts'
import { type Assigned, defaultAppRoleId } from '../assignments.ts'
import type { Versioned } from '../store.ts'
import { etagOf } from './odata.ts'

const etag = { '@odata.etag': z.string() }

/** Without the rules that a body has to keep: what is answered has been checked. */
export const OnPremisesPublishingView = z
  .object({
    externalUrl: z.string(),
    internalUrl: z.string(),
    externalAuthenticationType: z.enum(['aadPreAuthentication', 'passthru']),
    applicationServerTimeout: z.enum(['default', 'long']),
    connectTimeoutInSeconds: z.int().nullable(),
    firstByteTimeoutInSeconds: z.int().nullable(),
    idleTimeoutInSeconds: z.int().nullable(),
    streamIdleTimeoutInSeconds: z.int().nullable(),
    isBackendCertificateValidationEnabled: z.boolean(),
    originHttpVersion: z.enum(['http1', 'http2']),
    allowedHttpMethods: z.array(z.string()).nullable(),
    isHttpOnlyCookieEnabled: z.boolean(),
    isSecureCookieEnabled: z.boolean(),
    isPersistentCookieEnabled: z.boolean(),
    isTranslateHostHeaderEnabled: z.boolean(),
  })
  .loose()

export const ApplicationView = z.object({
  ...etag,
  id: Slug,
  appId: z.string(),
  uniqueName: z.string(),
  displayName: z.string(),
  createdDateTime: z.string(),
  appRoleAssignmentRequired: z.boolean(),
  connectorGroupId: z.string(),
  /** Null while it is published nowhere. */
  onPremisesPublishing: OnPremisesPublishingView.nullable(),
})
export type ApplicationView = z.output<typeof ApplicationView>

export function applicationView({
  value,
  revision,
}: Versioned<RegisteredApplication>): ApplicationView {
  const { appRoleAssignments: _, ...rest } = value
  return { '@odata.etag': etagOf(revision), uniqueName: value.id, ...rest }
}

export const ConnectorGroupView = z.object({
  ...etag,
  ...ConnectorGroup.omit({ isClosing: true }).shape,
})
export type ConnectorGroupView = z.output<typeof ConnectorGroupView>

export function connectorGroupView({
  value,
  revision,
}: Versioned<ConnectorGroup>): ConnectorGroupView {
  const { isClosing: _, ...rest } = value
  return { '@odata.etag': etagOf(revision), ...rest }
}

export const ConnectorView = z.object({
  id: z.string(),
  machineName: z.string(),
  /** Graph's property; what a connector's address looks like from outside is not known here. */
  externalIp: z.string().nullable(),
  status: z.enum(['active', 'inactive']),
  version: z.string(),
  connectorGroupId: z.string(),
  /** What it last said of itself. */
  state: ConnectorStatus.shape.state,
  startedDateTime: z.string(),
  lastSeen: z.string(),
  load: z.object({ openExchanges: z.number(), maxExchanges: z.number() }),
  exchangesServed: z.number(),
  notReady: ConnectorStatus.shape.notReady,
})
export type ConnectorView = z.output<typeof ConnectorView>

export function connectorView({ value }: Versioned<Connector>): ConnectorView {
  const { id, machineName, status, version, connectorGroupId, lastStatus } = value
  const { state, startedDateTime, openExchanges, maxExchanges, exchangesServed } = lastStatus
  return {
    id,
    machineName,
    externalIp: null,
    status,
    version,
    connectorGroupId,
    state,
    startedDateTime,
    lastSeen: value.lastSeenDateTime,
    load: { openExchanges: status === 'active' ? openExchanges : 0, maxExchanges },
    exchangesServed,
    notReady: lastStatus.notReady,
  }
}

/** Graph's servicePrincipal is the application as something that users are assigned to. */
export const ServicePrincipalView = z.object({
  ...etag,
  id: z.string(),
  appId: z.string(),
  displayName: z.string(),
  servicePrincipalType: z.literal('Application'),
  accountEnabled: z.literal(true),
  appRoleAssignmentRequired: z.boolean(),
})
export type ServicePrincipalView = z.output<typeof ServicePrincipalView>

export function servicePrincipalView({
  value,
  revision,
}: Versioned<RegisteredApplication>): ServicePrincipalView {
  const { id, appId, displayName, appRoleAssignmentRequired } = value
  return {
    '@odata.etag': etagOf(revision),
    id,
    appId,
    displayName,
    servicePrincipalType: 'Application',
    accountEnabled: true,
    appRoleAssignmentRequired,
  }
}

export const AppRoleAssignmentView = z.object({
  id: z.string(),
  createdDateTime: z.string(),
  appRoleId: z.string(),
  principalType: AppRoleAssignment.shape.principalType,
  principalId: z.string(),
  principalDisplayName: z.string(),
  resourceId: z.string(),
  resourceDisplayName: z.string(),
})
export type AppRoleAssignmentView = z.output<typeof AppRoleAssignmentView>

export function assignmentView({ application, assignment }: Assigned): AppRoleAssignmentView {
  return {
    id: assignment.id,
    createdDateTime: assignment.createdDateTime,
    appRoleId: defaultAppRoleId,
    principalType: assignment.principalType,
    principalId: assignment.principalId,
    principalDisplayName: assignment.principalId,
    resourceId: application.id,
    resourceDisplayName: application.displayName,
  }
}

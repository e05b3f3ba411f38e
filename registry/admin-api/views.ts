/** What the admin API answers: Graph's resources under Graph's names, with our own properties beside them. */

import { z } from 'zod'
import {
  AppRoleAssignment,
  type RegisteredApplication,
  Slug,
} from '#infra/contracts/application.ts'
import { type Connector, ConnectorGroup, ConnectorStatus } from '#infra/contracts/connector.ts'
import { type Assigned, defaultAppRoleId } from '../assignments.ts'
import { decidedVersion } from '../connector-placement.ts'
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
    whenPolicyIsUnavailable: z.enum(['failClosed', 'lastLease']),
    lastLeaseMinutes: z.int(),
    isBackendCertificateValidationEnabled: z.boolean(),
    originCertificateAuthorities: z.string().nullable(),
    originServerName: z.string().nullable(),
    originCertificatePins: z.array(z.string()).nullable(),
    originHttpVersion: z.enum(['http1', 'http2']),
    allowedHttpMethods: z.array(z.string()).nullable(),
    isHttpOnlyCookieEnabled: z.boolean(),
    isSecureCookieEnabled: z.boolean(),
    isPersistentCookieEnabled: z.boolean(),
    corsConfigurations: z.array(
      z.object({
        resource: z.string(),
        allowedOrigins: z.array(z.string()),
        allowedMethods: z.array(z.string()),
        allowedHeaders: z.array(z.string()),
        maxAgeInSeconds: z.int(),
      }),
    ),
    isTranslateHostHeaderEnabled: z.boolean(),
    singleSignOnSettings: z.object({ singleSignOnMode: z.string() }).loose().nullable(),
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
  /** Serves it while nobody of its own group can. */
  standbyConnectorGroupId: z.string().nullable(),
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
  '@odata.etag': z
    .string()
    .describe('Of its group, isEnabled and enrolment; what it says of itself leaves it as it is.'),
  id: z.string(),
  machineName: z.string(),
  /** Graph's property: where it connects from, as the bus sees it; null when that is not known. */
  externalIp: z.string().nullable(),
  status: z.enum(['active', 'inactive']),
  version: z.string(),
  connectorGroupId: z.string(),
  isEnabled: z.boolean(),
  enrolledDateTime: z.string().nullable(),
  certificates: z.array(z.object({ serialNumber: z.string(), notAfter: z.string() })),
  lastSeen: z.string(),
  /** From here on what it last said of itself; null, 0 or empty when it has never reported. */
  state: ConnectorStatus.shape.state.nullable(),
  /** Differs from `connectorGroupId` while it is on its way to another group. */
  servedGroupId: z.string().nullable(),
  address: z.string().nullable(),
  startedDateTime: z.string().nullable(),
  load: z.object({ openExchanges: z.number(), maxExchanges: z.number() }),
  exchangesServed: z.number(),
  lastExchangeDateTime: z.string().nullable(),
  carriedBytes: z.number(),
  lastByteDateTime: z.string().nullable(),
  /** What was carried for the applications that it served most recently. */
  carried: z.array(
    z.object({
      applicationId: z.string(),
      exchanges: z.number(),
      bytes: z.number(),
      lastByteDateTime: z.string().nullable(),
    }),
  ),
  /** Applications that it cannot reach now, and why. */
  notReady: ConnectorStatus.shape.notReady,
  /** What is wrong with the connector as a whole. */
  problems: z.array(z.string()),
})
export type ConnectorView = z.output<typeof ConnectorView>

export function connectorView({ value }: Versioned<Connector>): ConnectorView {
  const { id, machineName, externalIp, status, version, connectorGroupId, isEnabled } = value
  const { lastStatus: last, enrolledDateTime, certificates, lastSeenDateTime: lastSeen } = value
  const standing = { id, machineName, externalIp, status, version, connectorGroupId, isEnabled }
  return {
    '@odata.etag': etagOf(decidedVersion(value)),
    ...standing,
    enrolledDateTime,
    certificates: certificates.map(({ serialNumber, notAfter }) => ({ serialNumber, notAfter })),
    lastSeen,
    state: last?.state ?? null,
    servedGroupId: last?.groupId ?? null,
    address: last?.address ?? null,
    startedDateTime: last?.startedDateTime ?? null,
    load: {
      openExchanges: status === 'active' ? (last?.openExchanges ?? 0) : 0,
      maxExchanges: last?.maxExchanges ?? 0,
    },
    exchangesServed: last?.exchangesServed ?? 0,
    lastExchangeDateTime: last?.lastExchangeDateTime ?? null,
    carriedBytes: last?.carriedBytes ?? 0,
    lastByteDateTime: last?.lastByteDateTime ?? null,
    carried: last?.carried ?? [],
    notReady: last?.notReady ?? [],
    problems: last?.problems ?? [],
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

export const EnrolmentTokenView = z.object({
  id: z.string(),
  token: z.string().describe('The secret. It is kept nowhere.'),
  connectorGroupId: z.string(),
  expiresDateTime: z.string(),
})
export type EnrolmentTokenView = z.output<typeof EnrolmentTokenView>

export const RenewalConsentView = z.object({
  connectorId: z.string(),
  connectorGroupId: z.string(),
  createdDateTime: z.string(),
})
export type RenewalConsentView = z.output<typeof RenewalConsentView>

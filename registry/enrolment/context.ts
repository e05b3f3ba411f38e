/** What the parts of enrolment work on. */

import type { Audit } from '#infra/audit.ts'
import type { Authority } from '#infra/authority.ts'
import type { Connector, ConnectorGroup } from '#infra/contracts/connector.ts'
import type { EnrolmentToken, RenewalConsent, Standing } from '#infra/contracts/enrolment.ts'
import { SallyportError } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import type { RevokedCertificates } from '../authority/revoked-certificates.ts'
import type { Connectors } from '../connectors.ts'
import type { ExpiringEntries } from '../expiring-entries.ts'
import type { State, Store } from '../store.ts'
import type { RenewalLimit } from './renewal-limit.ts'

export interface EnrolmentSettings {
  /** Where connectors enrol; undefined: no token can be made. */
  enrolmentUrl: string | undefined
  /** Where connectors find the bus. */
  connectorBusUrls: readonly string[]
  connectorCertificateDays: number
}

export interface EnrolmentContext extends EnrolmentSettings {
  authority: Authority
  audit: Audit
  log: Logger
  connectors: Pick<Connectors, 'change'>
  records: Pick<Store<Connector>, 'get' | 'sync'>
  groups: State<ConnectorGroup>
  tokens: ExpiringEntries<EnrolmentToken>
  consents: ExpiringEntries<RenewalConsent>
  revoked: RevokedCertificates
  renewals: RenewalLimit
}

/** @throws SallyportError `connector_group_gone`, also for a group that is being deleted. */
export function requireGroup(
  { groups }: Pick<EnrolmentContext, 'groups'>,
  connectorGroupId: string,
  concerned: string,
): void {
  const group = groups.get(connectorGroupId)?.value
  if (group && !group.isClosing) return
  throw new SallyportError('connector_group_gone', `${concerned}: group ${connectorGroupId}`)
}

export function standingOf(
  { connectorBusUrls }: EnrolmentContext,
  { id, connectorGroupId }: Pick<Connector, 'id' | 'connectorGroupId'>,
): Standing {
  const busUrls = [...connectorBusUrls]
  return { connectorId: id, connectorGroupId, busUrls, time: Date.now(), mustRenew: false }
}

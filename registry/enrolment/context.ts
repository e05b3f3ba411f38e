/** What the parts of enrolment work on. */

import type { Audit } from '#infra/audit.ts'
import type { Authority } from '#infra/authority.ts'
import type { Connector, ConnectorGroup } from '#infra/contracts/connector.ts'
import type { EnrolmentToken, RenewalConsent, Standing } from '#infra/contracts/enrolment.ts'
import { asSallyportError, SallyportError } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import type { Waiting } from '#infra/waiting.ts'
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
  connectors: Pick<Connectors, 'change' | 'remove'>
  records: Pick<Store<Connector>, 'get' | 'sync'>
  groups: State<ConnectorGroup> & Pick<Store<ConnectorGroup>, 'sync'>
  tokens: ExpiringEntries<EnrolmentToken>
  consents: ExpiringEntries<RenewalConsent>
  revoked: RevokedCertificates
  renewals: RenewalLimit
  /** For the answer to this question. */
  waiting: Waiting
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

/**
 * Whoever deletes a group closes it and then looks who is in it; whoever puts a new connector into it writes the record
 * and then looks whether it is open: one of the two sees the other, wherever they are.
 * @throws SallyportError `connector_group_gone`; the record is taken away then.
 */
export async function requireGroupStill(
  { connectors, groups }: Pick<EnrolmentContext, 'connectors' | 'groups'>,
  { id, connectorGroupId }: Pick<Connector, 'id' | 'connectorGroupId'>,
): Promise<void> {
  await groups.sync()
  try {
    requireGroup({ groups }, connectorGroupId, id)
  } catch (gone) {
    await connectors.remove(id).catch(error => {
      // By the same connector, which has asked twice.
      if (asSallyportError(error).code !== 'resource_not_found') throw error
    })
    throw gone
  }
}

export function standingOf(
  { connectorBusUrls }: EnrolmentContext,
  { id, connectorGroupId }: Pick<Connector, 'id' | 'connectorGroupId'>,
): Standing {
  const busUrls = [...connectorBusUrls]
  return { connectorId: id, connectorGroupId, busUrls, time: Date.now(), mustRenew: false }
}

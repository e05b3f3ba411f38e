/**
 * Who asks through the gateway: the connector that a signed request's certificate names, when our authority issued it,
 * it is at most 90 days over its end, and it still counts.
 */

import type { X509Certificate } from 'node:crypto'
import { checkChain, connectorIn } from '#infra/certificates.ts'
import type { Connector } from '#infra/contracts/connector.ts'
import { type ConnectorStatement, renewalGraceMs } from '#infra/contracts/enrolment.ts'
import { SallyportError } from '#infra/errors.ts'
import { readRequest } from '#infra/signed-request.ts'
import type { EnrolmentContext } from './context.ts'

export interface Asking {
  readonly connectorId: string
  readonly certificate: X509Certificate
  readonly isExpired: boolean
  readonly statement: ConnectorStatement
  /** Undefined for one that the registry has forgotten. */
  readonly record: Connector | undefined
}

/** @throws SallyportError that says why the connector may not: removed, disabled, or what is wrong with its certificate. */
export async function askingConnector(context: EnrolmentContext, text: string): Promise<Asking> {
  const { authority, records, revoked } = context
  const { certificate, statement } = readRequest(text)
  const nowMs = Date.now()
  const anchor = authority.connectors.certificate
  const path = { chain: [certificate], anchor, purpose: 'client' as const }
  checkChain({ ...path, nowMs, graceMs: renewalGraceMs })
  const connectorId = connectorIn(certificate, authority.trustDomain)
  await records.sync()
  const record = records.get(connectorId)?.value
  const { serialNumber } = certificate
  if (revoked.isRevoked(serialNumber)) {
    throw record
      ? new SallyportError('certificate_revoked', `${connectorId}: ${serialNumber} is revoked`)
      : new SallyportError('connector_removed', `${connectorId} was removed`)
  }
  if (record?.isEnabled === false) throw new SallyportError('connector_disabled', connectorId)
  if (record && !record.certificates.some(listed => listed.serialNumber === serialNumber))
    throw new SallyportError('certificate_revoked', `${connectorId}: ${serialNumber} is not listed`)
  const isExpired = nowMs > certificate.validToDate.getTime()
  return { connectorId, certificate, isExpired, statement, record }
}

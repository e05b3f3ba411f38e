/**
 * Certificates for connectors, and which of them a connector's record lists. A certificate counts while it is listed:
 * the new one stands beside the one before, which stays good until its own end.
 */

import type { KeyObject, X509Certificate } from 'node:crypto'
import type { Authority } from '#infra/authority.ts'
import { pinOf } from '#infra/certificates.ts'
import type { ConnectorCertificate } from '#infra/contracts/connector.ts'
import { chainPem, createConnectorCertificate } from '#infra/pki.ts'

export interface IssuedCertificate {
  /** The connector's, the intermediate and the root, as PEM. */
  readonly chain: string
  /** For the connector's record. */
  readonly listed: ConnectorCertificate
}

export interface Issuing {
  connectorId: string
  publicKey: KeyObject
  days: number
}

export async function issueCertificate(
  { connectors, root, trustDomain }: Authority,
  issuing: Issuing,
): Promise<IssuedCertificate> {
  const certificate = await createConnectorCertificate(connectors, { ...issuing, trustDomain })
  return {
    chain: chainPem([certificate, connectors.certificate, root]),
    listed: listingOf(certificate),
  }
}

function listingOf(certificate: X509Certificate): ConnectorCertificate {
  return {
    serialNumber: certificate.serialNumber,
    spki: pinOf(certificate),
    notAfter: certificate.validToDate.toISOString(),
  }
}

/** Whoever renews in a circle pushes out its own. */
const mostListed = 4

/** The list with a new certificate: in the place of an earlier one for the same key, and without what has expired. */
export function withCertificate(
  listed: readonly ConnectorCertificate[],
  added: ConnectorCertificate,
  nowMs: number,
): ConnectorCertificate[] {
  const others = listed.filter(
    ({ spki, notAfter }) => spki !== added.spki && Date.parse(notAfter) > nowMs,
  )
  return [added, ...others].slice(0, mostListed)
}

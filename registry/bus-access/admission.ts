/**
 * Whether a client may connect, by its certificate and the connector's record; and whether a connection that is there
 * may stay. Pure, and closed: what is not known to be right is refused.
 */

import { X509Certificate } from 'node:crypto'
import { connectionName } from '#infra/bus.ts'
import { connectorIn, pinOf } from '#infra/certificates.ts'
import { type Connector, connectorIdOf, memberIdPattern } from '#infra/contracts/connector.ts'
import { accessLifetimeMs, type ConnectorIdentity } from '#infra/permissions.ts'

/** What admission is decided by, as it is known now. */
export interface Knowledge {
  readonly trustDomain: string
  readonly connectors: { get(id: string): { readonly value: Connector } | undefined }
  readonly groups: { get(id: string): unknown }
  isRevoked(serialNumber: string): boolean
}

export interface Applicant {
  /** PEM, as the server has verified it against the connectors' authority; the client's own first. */
  readonly chain: readonly string[]
  /** The client's choice. */
  readonly connectionName: string
  readonly address: string
}

export type RefusalReason =
  | 'certificate_missing'
  | 'certificate_invalid'
  | 'certificate_expired'
  | 'certificate_revoked'
  | 'certificate_not_listed'
  | 'connector_removed'
  | 'connector_disabled'
  | 'group_missing'
  | 'foreign_name'

export interface Admitted extends ConnectorIdentity {
  readonly kind: 'admitted'
  readonly expiresAtMs: number
}

export interface Refused {
  readonly kind: 'refused'
  readonly reason: RefusalReason
  /** As far as the certificate is ours and names one. */
  readonly connectorId: string | undefined
}

export function admit(applicant: Applicant, known: Knowledge, nowMs: number): Admitted | Refused {
  const [leaf] = applicant.chain
  if (leaf === undefined) return refused('certificate_missing')
  let certificate: X509Certificate
  let connectorId: string
  try {
    certificate = new X509Certificate(leaf)
    connectorId = connectorIn(certificate, known.trustDomain)
  } catch {
    return refused('certificate_invalid')
  }
  const notAfterMs = certificate.validToDate.getTime()
  if (!(nowMs < notAfterMs)) return refused('certificate_expired', connectorId)
  const groupId = known.connectors.get(connectorId)?.value.connectorGroupId ?? ''
  const reason = reasonAgainst({ connectorId, groupId, spki: pinOf(certificate) }, known)
  if (reason !== undefined) return refused(reason, connectorId)
  if (known.isRevoked(certificate.serialNumber)) return refused('certificate_revoked', connectorId)
  const memberId = memberNamed(applicant.connectionName)
  if (memberId === undefined || connectorIdOf(memberId) !== connectorId)
    return refused('foreign_name', connectorId)
  const expiresAtMs = Math.min(notAfterMs, nowMs + accessLifetimeMs)
  return { kind: 'admitted', connectorId, memberId, groupId, expiresAtMs }
}

export interface Standing {
  readonly connectorId: string
  /** For which it was let in. */
  readonly groupId: string
  /** Base64url SHA-256 of the certificate's key, where it is known. */
  readonly spki: string | undefined
}

/** Why a connection may not be there, or be made; undefined when it may. */
export function reasonAgainst(
  { connectorId, groupId, spki }: Standing,
  known: Knowledge,
): RefusalReason | undefined {
  const record = known.connectors.get(connectorId)?.value
  if (!record) return 'connector_removed'
  if (!record.isEnabled) return 'connector_disabled'
  // By the key: a certificate that was renewed with the same one stays good until its own end.
  if (spki !== undefined && !record.certificates.some(listed => listed.spki === spki))
    return 'certificate_not_listed'
  if (record.connectorGroupId !== groupId || !known.groups.get(groupId)) return 'group_missing'
  return undefined
}

const namePrefix = connectionName('connector', '')

function memberNamed(name: string): string | undefined {
  if (!name.startsWith(namePrefix)) return undefined
  const memberId = name.slice(namePrefix.length)
  return memberIdPattern.test(memberId) ? memberId : undefined
}

function refused(reason: RefusalReason, connectorId?: string): Refused {
  return { kind: 'refused', reason, connectorId }
}

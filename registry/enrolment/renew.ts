/**
 * The next certificate of a connector. On the bus the subject says who asks, for the bus lets nobody else use it.
 * Through the gateway its current certificate does, or one that expired at most 90 days ago: then an administrator has
 * to have allowed it.
 */

import type { KeyObject } from 'node:crypto'
import { pinOf } from '#infra/certificates.ts'
import { type Connector, connectorIdPattern } from '#infra/contracts/connector.ts'
import {
  type Issued,
  type RenewRequest,
  type SignedRequest,
  type Standing,
  signedRequestMs,
} from '#infra/contracts/enrolment.ts'
import { SallyportError } from '#infra/errors.ts'
import { readSigningRequest } from '#infra/pki.ts'
import { issueCertificate, withCertificate } from '../authority/issuing.ts'
import { type EnrolmentContext, requireGroup, requireGroupStill, standingOf } from './context.ts'
import { checkClock } from './enrol.ts'
import { type Asking, askingConnector } from './proven.ts'
import { recordConnector, recordingRefusal } from './record.ts'

/** On the bus, by a connector whose certificate is good. */
export async function renew(
  context: EnrolmentContext,
  { signingRequest }: RenewRequest,
  subject: string,
): Promise<Issued> {
  const connectorId = subject.slice(subject.lastIndexOf('.') + 1)
  const { publicKey } = await readSigningRequest(signingRequest)
  await context.records.sync()
  const known = connectorIdPattern.test(connectorId) && context.records.get(connectorId)?.value
  if (!known) throw new SallyportError('connector_removed', connectorId)
  if (!known.isEnabled) throw new SallyportError('connector_disabled', connectorId)
  return await issueNext(context, known, { publicKey })
}

export type SignedFromAddress = SignedRequest & { clientAddress: string }

/** Where a connector stands that cannot get on the bus, or the fault that says why it never will. */
export async function standing(
  context: EnrolmentContext,
  request: SignedFromAddress,
): Promise<Standing> {
  const { connectorId, record, isExpired } = await askingConnector(context, request.request)
  if (record) return { ...standingOf(context, record), mustRenew: isExpired }
  const consent = await context.consents.read(connectorId)
  if (!consent) throw new SallyportError('connector_removed', `there is no ${connectorId}`)
  const forgottenRecord = forgotten(connectorId, consent.value.connectorGroupId)
  return { ...standingOf(context, forgottenRecord), mustRenew: true }
}

/** Renewal by a connector that is not on the bus. */
export async function readmit(
  context: EnrolmentContext,
  { request, clientAddress }: SignedFromAddress,
): Promise<Issued> {
  const asking = await askingConnector(context, request)
  const { connectorId, statement } = asking
  const { connectorGroupId, machineName, version } = asking.record ?? {}
  const concerned = { connectorId, connectorGroupId, machineName, version, clientAddress }
  return await recordingRefusal(context, concerned, async () => {
    if (statement.purpose !== 'renew')
      throw new SallyportError('bad_request', 'the request is not for a renewal')
    checkClock(statement.clockMs)
    if (Math.abs(statement.clockMs - Date.now()) > signedRequestMs)
      throw new SallyportError('bad_request', 'the request was signed too long ago')
    const { publicKey } = await readSigningRequest(statement.signingRequest)
    const record = await admitted(context, asking, pinOf({ publicKey }))
    return await issueNext(context, record, { publicKey, clientAddress })
  })
}

/** The record to renew, which an administrator's consent may bring back. */
async function admitted(
  { consents, groups }: EnrolmentContext,
  { connectorId, record, isExpired }: Asking,
  spki: string,
): Promise<Connector> {
  // The answer to a renewal that was allowed may have been lost.
  if (record && (!isExpired || record.certificates.some(listed => listed.spki === spki)))
    return record
  const consent = await consents.read(connectorId)
  if (!consent) {
    throw record
      ? new SallyportError('certificate_expired', `${connectorId}: nobody has allowed its renewal`)
      : new SallyportError('connector_removed', `there is no connector ${connectorId}`)
  }
  // Between the consent and this the group may have been deleted: nobody was in it.
  if (!record) requireGroup({ groups }, consent.value.connectorGroupId, connectorId)
  const isOurs = await consents.remove(connectorId, consent.revision)
  if (!isOurs) throw new SallyportError('conflict', `${connectorId}: somebody else was faster`)
  return record ?? forgotten(connectorId, consent.value.connectorGroupId)
}

/** As it is written again for a connector that was away for so long that its record is gone. */
function forgotten(id: string, connectorGroupId: string): Connector {
  const now = new Date().toISOString()
  return {
    id,
    connectorGroupId,
    isEnabled: true,
    certificates: [],
    enrolledDateTime: now,
    movedDateTime: null,
    machineName: '',
    version: '',
    externalIp: null,
    status: 'inactive',
    lastSeenDateTime: now,
    lastStatus: null,
  }
}

async function issueNext(
  context: EnrolmentContext,
  record: Connector,
  { publicKey, clientAddress }: { publicKey: KeyObject; clientAddress?: string },
): Promise<Issued> {
  const { authority, connectors, renewals, waiting, connectorCertificateDays: days } = context
  renewals.admit(record.id)
  const { id: connectorId, connectorGroupId, machineName, version } = record
  const { chain, listed } = await issueCertificate(authority, { connectorId, publicKey, days })
  const isNew = record.certificates.length === 0
  await connectors.change(connectorId, {
    apply: known => {
      waiting.check()
      // Removed or disabled while this was under way, or another host has been enrolled under its id.
      const isSame = known ? known.enrolledDateTime === record.enrolledDateTime : isNew
      if (!isSame) throw new SallyportError('connector_removed', connectorId)
      if (known?.isEnabled === false) throw new SallyportError('connector_disabled', connectorId)
      const present = known ?? record
      const certificates = withCertificate(present.certificates, listed, Date.now())
      return { ...present, certificates }
    },
  })
  if (isNew) await requireGroupStill(context, record)
  waiting.check()
  recordConnector(context, 'renewed', {
    connectorId,
    connectorGroupId,
    machineName,
    version,
    clientAddress,
  })
  return { ...standingOf(context, record), certificate: chain }
}

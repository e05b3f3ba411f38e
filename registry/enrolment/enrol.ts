/**
 * A token for a certificate. The token is used up before a certificate exists, by compare-and-set: of two who come with
 * one token, one gets a certificate. The same connector with the same key may ask once more while the token is good,
 * for an answer that was lost on its way.
 */

import { randomBytes } from 'node:crypto'
import { pinOf } from '#infra/certificates.ts'
import { isSignedWithToken } from '#infra/connector-token.ts'
import type { Connector } from '#infra/contracts/connector.ts'
import {
  type EnrolmentToken,
  type EnrolRequest,
  type Issued,
  maxClockErrorMs,
  tokenMemoryMs,
} from '#infra/contracts/enrolment.ts'
import { SallyportError } from '#infra/errors.ts'
import { readSigningRequest, type SigningRequest } from '#infra/pki.ts'
import { issueCertificate, withCertificate } from '../authority/issuing.ts'
import type { Versioned } from '../store.ts'
import { type EnrolmentContext, requireGroup, requireGroupStill, standingOf } from './context.ts'
import { type Concerned, recordConnector, recordingRefusal } from './record.ts'

export type EnrolFromAddress = EnrolRequest & { clientAddress: string }

export async function enrol(context: EnrolmentContext, request: EnrolFromAddress): Promise<Issued> {
  const { connectorId, machineName, version, clientAddress } = request
  const concerned: Concerned = { connectorId, machineName, version, clientAddress }
  return await recordingRefusal(context, concerned, async () => {
    const signing = await readSigningRequest(request.signingRequest)
    const token = await provenToken(context, request, signing)
    concerned.connectorGroupId = token.value.connectorGroupId
    checkClock(request.clockMs)
    const id = await useUp(context, token, request, pinOf(signing))
    concerned.connectorId = id
    return await issue(context, { id, token: token.value, request, signing })
  })
}

/** The token whose key signed the request: nothing else is told of a token to who does not hold it. */
async function provenToken(
  { tokens }: EnrolmentContext,
  { tokenId, signature }: EnrolRequest,
  { der }: SigningRequest,
): Promise<Versioned<EnrolmentToken>> {
  const token = await tokens.read(tokenId)
  if (!token) throw new SallyportError('token_unknown', `token ${tokenId}`)
  if (isSignedWithToken(token.value.publicKey, der, signature)) return token
  throw new SallyportError('token_invalid', `token ${tokenId}: the signature is not of its key`)
}

export function checkClock(clockMs: number): void {
  const errorMs = clockMs - Date.now()
  if (Math.abs(errorMs) <= maxClockErrorMs) return
  throw new SallyportError('clock_wrong', `its clock differs by ${Math.round(errorMs / 1000)} s`)
}

/** The id that the connector gets. */
async function useUp(
  { tokens, records, groups, waiting }: EnrolmentContext,
  { value: token, revision }: Versioned<EnrolmentToken>,
  request: EnrolFromAddress,
  spki: string,
): Promise<string> {
  const { id, connectorGroupId, expiresDateTime, used } = token
  const isRepeated = used?.spki === spki
  if (used && !isRepeated) throw new SallyportError('token_used', `token ${id}`)
  const leftMs = Date.parse(expiresDateTime) - Date.now()
  if (leftMs <= 0) throw new SallyportError('token_expired', `token ${id}`)
  if (isRepeated) return used.connectorId
  requireGroup({ groups }, connectorGroupId, `token ${id}`)
  const connectorId = request.connectorId ?? inventedId(request.machineName)
  await records.sync()
  const known = records.get(connectorId)?.value
  if (known && !isUnproven(known))
    throw new SallyportError('connector_id_taken', `there is a connector ${connectorId}`)
  const use = { connectorId, spki, dateTime: new Date().toISOString() }
  const lifetimeMs = leftMs + tokenMemoryMs
  waiting.check()
  const isOurs = await tokens.write(id, { ...token, used: use }, { lifetimeMs, revision })
  if (!isOurs) throw new SallyportError('token_used', `token ${id}: somebody was faster`)
  return connectorId
}

/** From a time when the connectors of this bus shared a user: nobody has its id by a certificate. */
function isUnproven({ certificates, isEnabled }: Connector): boolean {
  return certificates.length === 0 && isEnabled
}

function inventedId(machineName: string): string {
  const host = machineName
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '')
  return `${host || 'connector'}-${randomBytes(4).toString('hex')}`
}

interface Issuing {
  id: string
  token: EnrolmentToken
  request: EnrolFromAddress
  signing: SigningRequest
}

async function issue(
  context: EnrolmentContext,
  { id, token, request, signing }: Issuing,
): Promise<Issued> {
  const { authority, connectors, waiting, connectorCertificateDays: days } = context
  const { publicKey } = signing
  const { chain, listed } = await issueCertificate(authority, { connectorId: id, publicKey, days })
  const { machineName, version, clientAddress } = request
  const now = new Date()
  const record: Connector = {
    id,
    connectorGroupId: token.connectorGroupId,
    isEnabled: true,
    certificates: [listed],
    enrolledDateTime: now.toISOString(),
    movedDateTime: null,
    machineName,
    version,
    externalIp: null,
    status: 'inactive',
    lastSeenDateTime: now.toISOString(),
    lastStatus: null,
  }
  let isNew = false
  await connectors.change(id, {
    apply: known => {
      waiting.check()
      const holder = known && !isUnproven(known) ? known : undefined
      isNew = holder === undefined
      if (!holder) return record
      // Repeated by the same connector; anybody else has taken the id in the last moment.
      if (!holder.certificates.some(({ spki }) => spki === listed.spki))
        throw new SallyportError('connector_id_taken', `there is a connector ${id} by now`)
      return {
        ...holder,
        certificates: withCertificate(holder.certificates, listed, now.getTime()),
      }
    },
  })
  if (isNew) await requireGroupStill(context, record)
  waiting.check()
  const { connectorGroupId } = token
  recordConnector(context, 'enrolled', {
    connectorId: id,
    connectorGroupId,
    machineName,
    version,
    clientAddress,
  })
  return { ...standingOf(context, record), certificate: chain }
}

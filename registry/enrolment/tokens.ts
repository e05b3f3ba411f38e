/** Making one-time tokens. Only their public halves stay here, until a day after their end. */

import { randomBytes } from 'node:crypto'
import { createTokenKey, encodeToken } from '#infra/connector-token.ts'
import { longestTokenMs, tokenMemoryMs } from '#infra/contracts/enrolment.ts'
import { invalid, Refusal } from '../refusal.ts'
import type { EnrolmentContext } from './context.ts'

export interface NewToken {
  connectorGroupId: string
  lifetimeMs: number
}

export interface MadeToken {
  readonly id: string
  /** The secret: shown once. */
  readonly token: string
  readonly connectorGroupId: string
  readonly expiresDateTime: string
}

/** Refuses a group that does not exist and a lifetime of more than an hour. */
export async function makeToken(
  { tokens, groups, authority, enrolmentUrl: url }: Omit<EnrolmentContext, 'waiting'>,
  { connectorGroupId, lifetimeMs }: NewToken,
): Promise<MadeToken> {
  if (url === undefined) {
    const fix = 'set SALLYPORT_REGISTRY_ENROLMENT_URL to the address of the portal'
    throw new Refusal('enrolment_unavailable', `where connectors enrol is not known: ${fix}`)
  }
  const group = groups.get(connectorGroupId)?.value
  if (!group || group.isClosing)
    throw invalid('connectorGroupId', `there is no connector group "${connectorGroupId}"`)
  if (lifetimeMs < 1_000 || lifetimeMs > longestTokenMs)
    throw invalid('lifetimeInSeconds', 'must be from 1 to 3600')
  const nowMs = Date.now()
  const exp = Math.floor((nowMs + lifetimeMs) / 1_000)
  const id = randomBytes(16).toString('base64url')
  const { seed, publicKey } = createTokenKey()
  const expiresDateTime = new Date(exp * 1_000).toISOString()
  const createdDateTime = new Date(nowMs).toISOString()
  const kept = { id, connectorGroupId, createdDateTime, expiresDateTime, publicKey, used: null }
  await tokens.write(id, kept, { lifetimeMs: lifetimeMs + tokenMemoryMs, revision: 0 })
  const content = { v: 1 as const, id, url, pin: authority.pin, group: connectorGroupId, exp }
  const token = encodeToken({ ...content, key: seed })
  return { id, token, connectorGroupId, expiresDateTime }
}

/**
 * Enrolment of this host: a key that never leaves it, a request for a certificate, signed with the token's key, and the
 * certificate, stored. A key that was made stays until it has a certificate, so that whoever is interrupted can go on
 * with the same token.
 */

import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeToken, signWithToken } from '#infra/connector-token.ts'
import { type EnrolRequest, Issued, type TokenContent } from '#infra/contracts/enrolment.ts'
import { asSallyportError, SallyportError } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import { createSigningRequest, readSigningRequest } from '#infra/pki.ts'
import { version } from '#infra/version.ts'
import { askDoor, type DoorOptions } from './door.ts'
import type { Identity, IdentityFolder } from './folder.ts'
import { checkIssued } from './issued.ts'
import { RegistryTime } from './registry-time.ts'

export interface EnrolOptions {
  token: string
  folder: IdentityFolder
  /** The id that it wishes for. */
  connectorId?: string | undefined
  log: Logger
  proxy?: DoorOptions['proxy']
  signal?: AbortSignal
  /** How long it is tried again when nobody answers. */
  patienceMs?: number
}

const usualPatienceMs = 60_000
const longestWaitMs = 10_000

/** @throws SallyportError that says why there is no certificate; what was stored before is as it was. */
export async function enrol(options: EnrolOptions): Promise<Identity> {
  const { folder, log, signal, proxy } = options
  const token = decodeToken(options.token)
  const key = await folder.nextKey()
  const signingRequest = await createSigningRequest(key)
  const { der } = await readSigningRequest(signingRequest)
  const request: EnrolRequest = {
    tokenId: token.id,
    signingRequest,
    signature: signWithToken(token.key, der),
    ...(options.connectorId !== undefined && { connectorId: options.connectorId }),
    clockMs: Date.now(),
    machineName: hostname().slice(0, 253),
    version,
  }
  const door = { url: token.url, ...(proxy && { proxy }), ...(signal && { signal }) }
  const askedAtMs = Date.now()
  const issued = await askPatiently(door, request, options)
  const time = new RegistryTime(log)
  time.measured(issued.time, askedAtMs)
  const expected = { key, pin: token.pin, enrolUrl: token.url, nowMs: time.now() }
  await folder.accept(checkIssued(issued, expected))
  return await stored(folder, token)
}

async function askPatiently(
  door: DoorOptions,
  request: EnrolRequest,
  { log, patienceMs = usualPatienceMs }: EnrolOptions,
): Promise<Issued> {
  const deadline = performance.now() + patienceMs
  for (let waitMs = 500; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
    try {
      const body = { ...request, clockMs: Date.now() }
      return await askDoor(door, 'enroll', { body, answer: Issued })
    } catch (error) {
      door.signal?.throwIfAborted()
      const { fault, message } = asSallyportError(error)
      if (!fault.retryable || performance.now() + waitMs > deadline) throw error
      log.warn(`not enrolled yet: ${message}; trying again`)
      await sleep(waitMs, undefined, door.signal ? { signal: door.signal } : {})
    }
  }
}

async function stored(folder: IdentityFolder, { group }: TokenContent): Promise<Identity> {
  const identity = await folder.read()
  if (!identity) throw new SallyportError('internal', `nothing was stored for group ${group}`)
  return identity
}

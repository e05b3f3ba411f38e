/**
 * Renews the certificate when two thirds of its time are over: with a new key, over the bus, where the connection says
 * who asks. The pair that is in use stays until the new one is stored whole, and the next connection uses that one. What
 * fails, a full disk above all or a folder that cannot be read, changes nothing, is said, and is tried again.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '#infra/bus.ts'
import { pinOf } from '#infra/certificates.ts'
import { Issued } from '#infra/contracts/enrolment.ts'
import type { Logger } from '#infra/log.ts'
import { createSigningRequest } from '#infra/pki.ts'
import { subjects } from '#infra/subjects.ts'
import type { Identity, IdentityFolder } from './folder.ts'
import { checkIssued } from './issued.ts'
import type { RegistryTime } from './registry-time.ts'

export interface RenewalOptions {
  folder: IdentityFolder
  /** The connection that the connector has now, if it has one. */
  bus: () => Bus | undefined
  time: RegistryTime
  log: Logger
  /** First wait after a failure. */
  retryMs?: number
}

const timeoutMs = 10_000
const usualRetryMs = 60_000
const longestRetryMs = 3_600_000
/** While the bus is away nothing can be renewed, and nothing is wrong with the renewal. */
const busPollMs = 1_000
/** Wall clocks may jump: the time is looked at so often at least. */
const longestSleepMs = 900_000

/** Keeps the certificate good until it is disposed. */
export function renewInTime(options: RenewalOptions): AsyncDisposable {
  const stopping = new AbortController()
  const done = run(options, stopping.signal).catch(error => {
    if (!stopping.signal.aborted) options.log.error({ error }, 'renewal of the certificate ended')
  })
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await done
    },
  }
}

async function run(options: RenewalOptions, signal: AbortSignal): Promise<void> {
  const { folder, bus, time, log, retryMs = usualRetryMs } = options
  let waitMs = retryMs
  const later = async (problem: string) => {
    log.error(`${problem}; trying again in ${Math.ceil(waitMs / 1_000)} s`)
    await sleep(waitMs * (0.5 + Math.random() / 2), undefined, { signal, ref: false })
    waitMs = Math.min(waitMs * 2, longestRetryMs)
  }
  for (;;) {
    const identity = await folder.read().catch((error: Error) => error)
    if (identity === undefined || identity instanceof Error) {
      await later(identity?.message ?? `${folder.path}: the identity of the connector is gone`)
      continue
    }
    const leftMs = dueAt(identity) - time.now()
    if (leftMs > 0) {
      await sleep(Math.min(leftMs, longestSleepMs), undefined, { signal, ref: false })
      continue
    }
    const connection = bus()
    if (!connection?.isConnected) {
      await sleep(busPollMs, undefined, { signal, ref: false })
      continue
    }
    try {
      await renew(connection, identity, options)
      waitMs = retryMs
    } catch (error) {
      await later(failure(error, identity))
    }
  }
}

/** Two thirds of its time; the same moment for every look at it, another one for each certificate. */
export function dueAt({ certificate }: Pick<Identity, 'certificate'>): number {
  const from = certificate.validFromDate.getTime()
  const lifetimeMs = certificate.validToDate.getTime() - from
  // Those that were enrolled together do not all come back at one moment: up to a fiftieth earlier.
  const spread = Number.parseInt(certificate.serialNumber.slice(-4), 16) / 0xffff
  return from + lifetimeMs * (2 / 3 - spread / 50)
}

async function renew(bus: Bus, identity: Identity, options: RenewalOptions): Promise<void> {
  const { folder, time, log } = options
  const { connectorId, enrolUrl, root } = identity
  const key = await folder.nextKey()
  const signingRequest = await createSigningRequest(key)
  const askedAtMs = Date.now()
  const issued = await bus.call(
    subjects.renewRequest(connectorId),
    { signingRequest },
    { reply: Issued, timeoutMs, unavailable: 'bus_unavailable' },
  )
  time.measured(issued.time, askedAtMs)
  const expected = { key, pin: pinOf(root), enrolUrl, connectorId, nowMs: time.now() }
  const next = checkIssued(issued, expected)
  await folder.accept(next)
  log.info({ until: next.chain[0]?.validTo }, 'the certificate was renewed')
}

function failure(error: unknown, { certificate }: Identity): string {
  const until = certificate.validToDate.toISOString()
  return `the certificate could not be renewed: ${reasonOf(error)}. The present one is kept and is good until ${until}`
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'the disk is full'
  if (code === 'protocol_error')
    return `the answer of the registry is not a certificate (${message})`
  return message
}

/**
 * Certificates that were taken back before their end: those of connectors that an administrator removed. They are
 * remembered until no administrator could allow their renewal any more, and stand in the revocation list.
 */

import type { Authority } from '#infra/authority.ts'
import type { Bus } from '#infra/bus.ts'
import type { Connector } from '#infra/contracts/connector.ts'
import { RevokedCertificate, renewalGraceMs } from '#infra/contracts/enrolment.ts'
import type { Logger } from '#infra/log.ts'
import { createRevocationList } from '#infra/revocation-list.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets } from '#infra/subjects.ts'
import { openExpiringEntries } from '../expiring-entries.ts'

export interface RevokedCertificates extends AsyncDisposable {
  isRevoked(serialNumber: string): boolean
  /** Whether an administrator has removed a connector of this id. */
  isOfRemoved(connectorId: string): boolean
  /** Takes back every certificate of a connector. */
  revoke(connector: Pick<Connector, 'id' | 'certificates'>): Promise<void>
  /** The revocation list as DER, signed by the authority of the connectors. */
  list(): Promise<Buffer>
}

export interface RevokedOptions {
  authority: Authority
  log: Logger
  signal?: AbortSignal
}

const dayMs = 86_400_000

/** A list is made anew at every change and after so long; it says that the next one comes within a day. */
const listAgeMs = 3_600_000

export async function openRevokedCertificates(
  bus: Bus,
  { authority, ...watching }: RevokedOptions,
): Promise<RevokedCertificates> {
  const options = { bucket: buckets.revokedCertificates, schema: RevokedCertificate, ...watching }
  const entries = await openExpiringEntries(bus, options)
  const snapshot = await watchBucket(bus, options)
  let made: { list: Promise<Buffer>; version: number; atMs: number } | undefined
  return {
    isRevoked: serialNumber => snapshot.entries.has(serialNumber.toUpperCase()),
    isOfRemoved: id => [...snapshot.entries.values()].some(entry => entry.connectorId === id),
    async revoke({ id, certificates }) {
      const nowMs = Date.now()
      for (const { serialNumber, notAfter } of certificates) {
        const key = serialNumber.toUpperCase()
        const lifetimeMs = Date.parse(notAfter) + renewalGraceMs + dayMs - nowMs
        const revokedDateTime = new Date(nowMs).toISOString()
        const value = { serialNumber: key, connectorId: id, notAfter, revokedDateTime }
        if (lifetimeMs > 0) await entries.write(key, value, { lifetimeMs })
      }
    },
    list() {
      const nowMs = Date.now()
      const { version } = snapshot
      if (made?.version !== version || nowMs - made.atMs > listAgeMs) {
        const revoked = [...snapshot.entries.values()].map(entry => ({
          serialNumber: entry.serialNumber,
          revokedAtMs: Date.parse(entry.revokedDateTime),
        }))
        const number = Math.floor(nowMs / 1_000)
        const list = createRevocationList(authority.connectors, {
          revoked,
          number,
          nowMs,
          nextMs: nowMs + dayMs,
        })
        made = { list, version, atMs: nowMs }
      }
      return made.list
    },
    [Symbol.asyncDispose]: () => snapshot[Symbol.asyncDispose](),
  }
}

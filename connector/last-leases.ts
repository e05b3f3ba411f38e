/**
 * How long a lease may be used after its end, for applications that are set to `lastLease`. A gateway only says that
 * policy is away, so nothing here rests on that: the application's own setting, as the registry signed it, and the lease
 * itself have to allow it, and this connector must know by itself that nothing has happened to either since the lease was
 * made. It knows what it has heard on this one connection; whatever is older, or was missed, ends as it would anyhow.
 */

import type { Bus } from '#infra/bus.ts'
import { type Application, maxLastLeaseMinutes } from '#infra/contracts/application.ts'
import {
  type LeaseClaims,
  leaseLifetimeMs,
  type Revocation,
  revocationKey,
} from '#infra/contracts/policy.ts'
import { clockToleranceMs, lastLeaseEndMs } from '#infra/lease.ts'
import type { Logger } from '#infra/log.ts'
import type { RevocationKind } from '#infra/subjects.ts'

export interface LastLeasesOptions {
  bus: Bus
  log: Logger
  /** `performance.now()` since when the application is as it is; undefined for one that is no longer the group's. */
  knownSince: (application: Application) => number | undefined
}

/** No lease can be used for longer after it was made, so what was revoked before need not be remembered. */
const rememberedMs = leaseLifetimeMs + maxLastLeaseMinutes * 60_000 + 2 * clockToleranceMs

/** Revocations that are remembered; with more of them everything ends that has ended. */
const maxRevocations = 50_000

export class LastLeases implements Disposable {
  readonly #options: LastLeasesOptions
  /** When each was heard of, the latest last. */
  readonly #revoked = new Map<string, number>()
  readonly #offStatus: () => void
  /** `performance.now()` since when every revocation is heard; undefined while none may be. */
  #hearingSince: number | undefined
  #connections = 0

  /** To be made once the revocations have been subscribed to. */
  constructor(options: LastLeasesOptions) {
    this.#options = options
    const { bus } = options
    this.#offStatus = bus.onStatus(status => {
      this.#hearingSince = undefined
      this.#connections++
      if (status === 'connected') this.#listen()
    })
    if (bus.isConnected) this.#listen()
  }

  /** The server has the subscription when it has answered. */
  #listen(): void {
    const connection = this.#connections
    const { bus, log } = this.#options
    bus.connection.flush().then(
      () => {
        if (connection === this.#connections) this.#hearingSince = performance.now()
      },
      error => log.warn({ reason: error.message }, 'last leases are not used: the bus is away'),
    )
  }

  heard({ kind, id }: Pick<Revocation, 'kind' | 'id'>): void {
    const now = performance.now()
    for (const [key, heardAt] of this.#revoked) {
      if (now - heardAt <= rememberedMs) break
      this.#revoked.delete(key)
    }
    if (this.#revoked.size >= maxRevocations) {
      this.#revoked.clear()
      this.#hearingSince &&= now
    }
    const key = keyOf(kind, id)
    this.#revoked.delete(key)
    this.#revoked.set(key, now)
  }

  /** In the time of `nowMs`: with `exp`, or later. */
  endsAtMs(claims: LeaseClaims, application: Application, nowMs: number): number {
    const { whenPolicyIsUnavailable, lastLeaseMinutes } = application.onPremisesPublishing
    const isLasting =
      whenPolicyIsUnavailable === 'lastLease' &&
      this.#wasMadeSinceThen(claims, application, nowMs) &&
      !this.#isRevoked(claims)
    return isLasting ? lastLeaseEndMs(claims, lastLeaseMinutes) : claims.exp * 1_000
  }

  /** Written so that what is not known refuses. The clock of policy may be ahead, which makes a lease look younger. */
  #wasMadeSinceThen({ iat }: LeaseClaims, application: Application, nowMs: number): boolean {
    const knownSince = this.#options.knownSince(application) ?? Number.POSITIVE_INFINITY
    const since = Math.max(knownSince, this.#hearingSince ?? Number.POSITIVE_INFINITY)
    return nowMs - iat * 1_000 + clockToleranceMs <= performance.now() - since
  }

  /** Also when the lease seems to be of later: clocks differ, and it was good for as long as it lived. */
  #isRevoked({ session, sub, app }: LeaseClaims): boolean {
    const isHeard = (kind: RevocationKind, id: string) => this.#revoked.has(keyOf(kind, id))
    return (
      isHeard('application', app) ||
      (sub !== '' && isHeard('user', sub)) ||
      (session !== null && isHeard('session', session))
    )
  }

  [Symbol.dispose](): void {
    this.#offStatus()
  }
}

function keyOf(kind: RevocationKind, id: string): string {
  return revocationKey(kind, kind === 'user' ? id.toLowerCase() : id)
}

/**
 * What outside systems have said, as decisions look it up: risks, facts and groups. A signal that has expired counts for
 * nothing, also while its entry is still there.
 */

import type { RiskLevel } from '#infra/contracts/conditional-access/conditions.ts'
import {
  type FactValue,
  type Signal,
  type SignalKind,
  type SignalReference,
  type SignalScope,
  signalKey,
} from '#infra/contracts/conditional-access/signals.ts'

/** What a fact may be about in one decision. */
export interface FactContext {
  readonly applicationId: string
  readonly userPrincipalName: string
  readonly deviceId: string | undefined
}

export class Signals {
  readonly #entries: ReadonlyMap<string, Signal>

  constructor(entries: ReadonlyMap<string, Signal>) {
    this.#entries = entries
  }

  /** Nobody having said anything is no risk. */
  risk(scope: 'user' | 'session', id: string, nowMs: number): RiskLevel {
    return this.#entries.size === 0 ? 'none' : this.riskAt(riskKey(scope, id), nowMs)
  }

  /** The same, for those who ask often and keep the key. */
  riskAt(key: string, nowMs: number): RiskLevel {
    const found = this.#entries.get(key)
    return found?.kind === 'risk' && isInForce(found, nowMs) ? found.level : 'none'
  }

  /** The groups of a user as the directory has them now; undefined leaves it to the ID token. */
  groups(userPrincipalName: string, nowMs: number): readonly string[] | undefined {
    return this.#find('groups', { scope: 'user', id: userPrincipalName }, nowMs)?.groups
  }

  /** The value of a fact; what is said of the device or the user counts more than what is said of everything. */
  fact(name: string, about: FactContext, nowMs: number): FactValue | undefined {
    if (this.#entries.size === 0) return undefined
    const { deviceId, userPrincipalName, applicationId } = about
    const places: [SignalScope, string | undefined][] = [
      ['device', deviceId],
      ['user', userPrincipalName],
      ['application', applicationId],
      ['everything', ''],
    ]
    for (const [scope, id] of places) {
      if (id === undefined) continue
      const found = this.#find('fact', { scope, id, name }, nowMs)
      if (found) return found.value
    }
    return undefined
  }

  /** What a system that watches devices says of one: its verdict counts more than the ID token's. */
  isDeviceCompliant(deviceId: string, nowMs: number): FactValue | undefined {
    return this.#find('fact', { scope: 'device', id: deviceId, name: 'compliant' }, nowMs)?.value
  }

  #find<Kind extends SignalKind>(
    kind: Kind,
    place: Omit<SignalReference, 'kind'>,
    nowMs: number,
  ): Extract<Signal, { kind: Kind }> | undefined {
    if (this.#entries.size === 0) return undefined
    const found = this.#entries.get(signalKey({ kind, ...place }))
    if (found?.kind !== kind) return undefined
    return isInForce(found, nowMs) ? (found as Extract<Signal, { kind: Kind }>) : undefined
  }
}

export function riskKey(scope: 'user' | 'session', id: string): string {
  return signalKey({ kind: 'risk', scope, id })
}

function isInForce({ expiresDateTime }: Signal, nowMs: number): boolean {
  return expiresDateTime === null || nowMs < Date.parse(expiresDateTime)
}
